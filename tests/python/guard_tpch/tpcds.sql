-- Questions of the kinds that TPC-DS asks, on the same tables: roll-ups, windows, set operations, several WITH.

-- roll-up with labels
SELECT coalesce(r_name, 'all') AS region, coalesce(n_name, 'all') AS nation, grouping(r_name, n_name) AS level,
       sum(o_totalprice) AS total
FROM orders JOIN customer ON c_custkey = o_custkey JOIN nation ON n_nationkey = c_nationkey
  JOIN region ON r_regionkey = n_regionkey
GROUP BY ROLLUP (r_name, n_name) ORDER BY level DESC, region, nation;

-- grouping sets
SELECT l_shipmode, l_returnflag, count(*) AS lines, grouping(l_shipmode) AS g FROM lineitem
GROUP BY GROUPING SETS ((l_shipmode, l_returnflag), (l_shipmode), ()) ORDER BY g, l_shipmode, l_returnflag;

-- cube
SELECT extract(year FROM o_orderdate) AS y, o_orderstatus, count(*) AS n FROM orders
GROUP BY CUBE (extract(year FROM o_orderdate), o_orderstatus) ORDER BY y, o_orderstatus;

-- share of the class
SELECT p_mfgr, p_brand, sum(l_extendedprice) AS revenue,
       sum(l_extendedprice) * 100.0 / sum(sum(l_extendedprice)) OVER (PARTITION BY p_mfgr) AS share
FROM lineitem JOIN part ON p_partkey = l_partkey WHERE l_shipdate BETWEEN date '1994-02-22' AND date '1996-03-24'
GROUP BY p_mfgr, p_brand ORDER BY p_mfgr, share DESC;

-- rank within a group
SELECT * FROM (SELECT c_mktsegment, c_name, sum(o_totalprice) AS spent,
                      rank() OVER (PARTITION BY c_mktsegment ORDER BY sum(o_totalprice) DESC) AS place
               FROM customer JOIN orders ON o_custkey = c_custkey GROUP BY c_mktsegment, c_name) AS ranked
WHERE place <= 3 ORDER BY c_mktsegment, place, c_name;

-- year over year
WITH yearly AS (
  SELECT o_custkey, extract(year FROM o_orderdate) AS y, sum(o_totalprice) AS total FROM orders GROUP BY o_custkey, y)
SELECT now.o_custkey, now.y, now.total, before.total AS total_before, now.total / nullif(before.total, 0) AS growth
FROM yearly AS now JOIN yearly AS before ON before.o_custkey = now.o_custkey AND before.y = now.y - 1
WHERE now.total > before.total ORDER BY growth DESC, now.o_custkey, now.y LIMIT 50;

-- returned more than usual
WITH returned AS (
  SELECT o_custkey AS customer, l_suppkey AS supplier, sum(l_extendedprice) AS total
  FROM lineitem JOIN orders ON o_orderkey = l_orderkey WHERE l_returnflag = 'R' GROUP BY o_custkey, l_suppkey)
SELECT c_name FROM returned AS one JOIN customer ON c_custkey = one.customer
WHERE one.total > (SELECT avg(total) * 1.2 FROM returned AS other WHERE other.supplier = one.supplier)
ORDER BY c_name LIMIT 100;

-- bought in all three years
SELECT count(*) AS loyal FROM (
  SELECT c_name, c_nationkey FROM customer JOIN orders ON o_custkey = c_custkey WHERE extract(year FROM o_orderdate) = 1994
  INTERSECT
  SELECT c_name, c_nationkey FROM customer JOIN orders ON o_custkey = c_custkey WHERE extract(year FROM o_orderdate) = 1995
  INTERSECT
  SELECT c_name, c_nationkey FROM customer JOIN orders ON o_custkey = c_custkey WHERE extract(year FROM o_orderdate) = 1996
) AS hot;

-- one year and not the next
(SELECT o_custkey FROM orders WHERE extract(year FROM o_orderdate) = 1993)
EXCEPT (SELECT o_custkey FROM orders WHERE extract(year FROM o_orderdate) = 1994) ORDER BY o_custkey;

-- several channels in one
WITH sold AS (
  SELECT 'sea' AS channel, l_suppkey AS supplier, sum(l_extendedprice) AS sales FROM lineitem
  WHERE l_shipmode IN ('SHIP', 'FOB') GROUP BY l_suppkey
  UNION ALL
  SELECT 'land', l_suppkey, sum(l_extendedprice) FROM lineitem WHERE l_shipmode IN ('RAIL', 'TRUCK') GROUP BY l_suppkey
  UNION ALL
  SELECT 'air', l_suppkey, sum(l_extendedprice) FROM lineitem WHERE l_shipmode LIKE 'AIR%' GROUP BY l_suppkey)
SELECT channel, s_name, sum(sales) AS sales FROM sold JOIN supplier ON s_suppkey = supplier
GROUP BY ROLLUP (channel, s_name) ORDER BY channel, s_name;

-- week by day
SELECT s_name, sum(CASE WHEN extract(isodow FROM l_shipdate) = 1 THEN l_extendedprice END) AS monday,
       sum(l_extendedprice) FILTER (WHERE extract(isodow FROM l_shipdate) = 2) AS tuesday,
       sum(l_extendedprice) FILTER (WHERE extract(isodow FROM l_shipdate) IN (6, 7)) AS weekend
FROM lineitem JOIN supplier ON s_suppkey = l_suppkey GROUP BY s_name ORDER BY s_name;

-- running total
SELECT o_orderkey, o_orderdate,
       sum(o_totalprice) OVER (PARTITION BY o_custkey ORDER BY o_orderdate, o_orderkey
                               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far,
       avg(o_totalprice) OVER w AS around, lag(o_orderkey) OVER (PARTITION BY o_custkey ORDER BY o_orderdate, o_orderkey)
FROM orders WINDOW w AS (PARTITION BY o_custkey ORDER BY o_orderdate, o_orderkey ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)
ORDER BY o_orderkey;

-- days to ship
SELECT l_shipmode, count(*) FILTER (WHERE l_receiptdate - l_shipdate <= 10) AS "10 days",
       count(*) FILTER (WHERE l_receiptdate - l_shipdate BETWEEN 11 AND 20) AS "20 days",
       count(*) FILTER (WHERE l_receiptdate - l_shipdate > 20) AS "more days"
FROM lineitem GROUP BY l_shipmode ORDER BY 1;

-- best and worst
SELECT best.place, b.s_name AS best, w.s_name AS worst
FROM (SELECT s_suppkey, rank() OVER (ORDER BY avg(l_discount) DESC, s_suppkey) AS place
      FROM supplier JOIN lineitem ON l_suppkey = s_suppkey GROUP BY s_suppkey) AS best
JOIN (SELECT s_suppkey, rank() OVER (ORDER BY avg(l_discount), s_suppkey) AS place
      FROM supplier JOIN lineitem ON l_suppkey = s_suppkey GROUP BY s_suppkey) AS worst USING (place)
JOIN supplier b ON b.s_suppkey = best.s_suppkey JOIN supplier w ON w.s_suppkey = worst.s_suppkey
WHERE place < 11 ORDER BY place;

-- parts never ordered together
SELECT p.p_partkey, count(q.l_orderkey) AS orders
FROM part p LEFT JOIN LATERAL (SELECT DISTINCT l_orderkey FROM lineitem WHERE l_partkey = p.p_partkey) AS q ON true
WHERE NOT EXISTS (SELECT 1 FROM lineitem a JOIN lineitem b USING (l_orderkey)
                  WHERE a.l_partkey = p.p_partkey AND b.l_partkey <> a.l_partkey AND b.l_quantity > 49)
GROUP BY p.p_partkey ORDER BY p.p_partkey;

-- chain of months
WITH RECURSIVE months (month) AS (
  SELECT date '1995-01-01' UNION ALL SELECT CAST(month + interval '1' month AS date) FROM months WHERE month < date '1995-12-01')
SELECT month, count(o_orderkey) AS orders, coalesce(sum(o_totalprice), 0) AS total
FROM months LEFT JOIN orders ON o_orderdate >= month AND o_orderdate < month + interval '1' month
GROUP BY month ORDER BY month;
