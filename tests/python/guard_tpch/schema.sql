-- The tables of TPC-H, each with the tenant that a row belongs to. Keys are the owner's: no tenant's repeats another's.
CREATE TABLE region (
  tenant_id int NOT NULL, r_regionkey int PRIMARY KEY, r_name text NOT NULL, r_comment text
);
CREATE TABLE nation (
  tenant_id int NOT NULL, n_nationkey int PRIMARY KEY, n_name text NOT NULL,
  n_regionkey int NOT NULL REFERENCES region, n_comment text
);
CREATE TABLE supplier (
  tenant_id int NOT NULL, s_suppkey int PRIMARY KEY, s_name text NOT NULL, s_address text NOT NULL,
  s_nationkey int NOT NULL REFERENCES nation, s_phone text NOT NULL, s_acctbal numeric(15, 2) NOT NULL, s_comment text
);
CREATE TABLE customer (
  tenant_id int NOT NULL, c_custkey int PRIMARY KEY, c_name text NOT NULL, c_address text NOT NULL,
  c_nationkey int NOT NULL REFERENCES nation, c_phone text NOT NULL, c_acctbal numeric(15, 2) NOT NULL,
  c_mktsegment text NOT NULL, c_comment text
);
CREATE TABLE part (
  tenant_id int NOT NULL, p_partkey int PRIMARY KEY, p_name text NOT NULL, p_mfgr text NOT NULL, p_brand text NOT NULL,
  p_type text NOT NULL, p_size int NOT NULL, p_container text NOT NULL, p_retailprice numeric(15, 2) NOT NULL, p_comment text
);
CREATE TABLE partsupp (
  tenant_id int NOT NULL, ps_partkey int NOT NULL REFERENCES part, ps_suppkey int NOT NULL REFERENCES supplier,
  ps_availqty int NOT NULL, ps_supplycost numeric(15, 2) NOT NULL, ps_comment text, PRIMARY KEY (ps_partkey, ps_suppkey)
);
CREATE TABLE orders (
  tenant_id int NOT NULL, o_orderkey int PRIMARY KEY, o_custkey int NOT NULL REFERENCES customer,
  o_orderstatus text NOT NULL, o_totalprice numeric(15, 2) NOT NULL, o_orderdate date NOT NULL,
  o_orderpriority text NOT NULL, o_clerk text NOT NULL, o_shippriority int NOT NULL, o_comment text
);
CREATE TABLE lineitem (
  tenant_id int NOT NULL, l_orderkey int NOT NULL REFERENCES orders, l_partkey int NOT NULL REFERENCES part,
  l_suppkey int NOT NULL REFERENCES supplier, l_linenumber int NOT NULL, l_quantity numeric(15, 2) NOT NULL,
  l_extendedprice numeric(15, 2) NOT NULL, l_discount numeric(15, 2) NOT NULL, l_tax numeric(15, 2) NOT NULL,
  l_returnflag text NOT NULL, l_linestatus text NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
  l_receiptdate date NOT NULL, l_shipinstruct text NOT NULL, l_shipmode text NOT NULL, l_comment text,
  PRIMARY KEY (l_orderkey, l_linenumber)
);
