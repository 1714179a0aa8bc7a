CREATE TABLE tenants (id text PRIMARY KEY, name text NOT NULL);
CREATE TABLE customers (id integer PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants (id), name text NOT NULL, email text, ssn text);
CREATE TABLE orders (id integer PRIMARY KEY, tenant_id text NOT NULL, billed_to text NOT NULL, customer_id integer NOT NULL REFERENCES customers (id), status text NOT NULL, total integer NOT NULL, card text, internal_note text);
CREATE TABLE products (id integer PRIMARY KEY, tenant_id text NOT NULL, name text NOT NULL, price integer NOT NULL, is_public integer NOT NULL DEFAULT 0);
CREATE TABLE order_items (id integer PRIMARY KEY, order_id integer NOT NULL REFERENCES orders (id), product_id integer NOT NULL REFERENCES products (id), quantity integer NOT NULL);
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);
CREATE TABLE shops (id integer PRIMARY KEY, tenant_id text NOT NULL, city text NOT NULL, revenue integer NOT NULL);
CREATE TABLE staff (id integer PRIMARY KEY, tenant_id text NOT NULL, name text NOT NULL, salary integer NOT NULL, password_hash text NOT NULL);
CREATE TABLE api_tokens (id integer PRIMARY KEY, tenant_id text NOT NULL, token text NOT NULL);
CREATE TABLE visits (id integer PRIMARY KEY, tenant_id text NOT NULL, day text NOT NULL);
CREATE TABLE notices (id integer PRIMARY KEY, tenant_id text NOT NULL, author text NOT NULL, body text NOT NULL, is_public integer NOT NULL);
CREATE VIEW order_board AS SELECT id, status, total FROM orders;
CREATE VIEW payments AS SELECT id AS payment, tenant_id, card AS paid_with FROM orders;

INSERT INTO tenants VALUES ('t1', 'Arbor and Sons'), ('t2', 'Brine Traders'), ('t3', 'Cinder Group');
INSERT INTO customers VALUES
  (1, 't1', 'Ada Lovelace', 'ada@arbor.example', '521-44-0001'), (2, 't1', 'Alan Turing', 'alan@arbor.example', '521-44-0002'),
  (3, 't2', 'Barbara Liskov', 'barbara@brine.example', '521-44-0003'), (4, 't2', 'Brian Kernighan', NULL, '521-44-0004'),
  (5, 't3', 'Clara Shannon', 'clara@cinder.example', '521-44-0005');
INSERT INTO orders VALUES
  (11, 't1', 't2', 1, 'new', 120, '4111111111110011', 'asked twice about delivery'), (12, 't1', 't1', 2, 'draft', 80, '4111111111110012', NULL),
  (13, 't1', 't3', 1, 'done', 40, NULL, NULL), (14, 't2', 't1', 3, 'new', 500, '4222222222220014', 'late payer since spring'),
  (15, 't2', 't2', 4, 'done', 310, '4222222222220015', NULL), (16, 't3', 't3', 5, 'new', 75, '4333333333330016', NULL);
INSERT INTO products VALUES
  (21, 't1', 'Oak desk', 300, 0), (22, 't1', 'Ash shelf', 90, 1), (23, 't2', 'Salt barrel', 45, 0), (24, 't2', 'Pickle jar', 7, 1),
  (25, 't3', 'Coal stove', 410, 0);
INSERT INTO order_items VALUES (31, 11, 21, 1), (32, 12, 22, 4), (33, 14, 23, 2), (34, 15, 24, 12), (35, 16, 25, 1), (36, 13, 22, 2);
INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France'), ('NL', 'Netherlands');
INSERT INTO shops VALUES (41, 't1', 'Paris', 1000), (42, 't1', 'Lyon', 700), (43, 't2', 'Paris', 650), (44, 't2', 'Berlin', 900), (45, 't3', 'Lyon', 120);
INSERT INTO staff VALUES
  (51, 't1', 'Ann Archer', 51000, 'argon2:aa11bb22cc33'), (52, 't1', 'Art Abbott', 48000, 'argon2:aa11bb22cc34'),
  (53, 't2', 'Bea Brook', 61000, 'argon2:dd11bb22cc35'), (54, 't3', 'Cy Cole', 39000, 'argon2:ee11bb22cc36');
INSERT INTO api_tokens VALUES (61, 't1', 'tok-arbor-8f2a91'), (62, 't2', 'tok-brine-17c0de'), (63, 't3', 'tok-cinder-55aa01');
INSERT INTO visits VALUES (71, 't1', '2026-01-01'), (72, 't1', '2026-01-02'), (73, 't2', '2026-01-01'), (74, 't3', '2026-01-03');
INSERT INTO notices VALUES (81, 't1', 'ann', 'Closed on Monday', 1), (82, 't1', 'ann', 'Keys are at the desk', 0), (83, 't2', 'abe', 'New hours from May', 1),
  (84, 't2', 'abe', 'Ask Bea for the code', 0), (85, 't3', 'cyd', 'Fire drill on Friday', 1);
