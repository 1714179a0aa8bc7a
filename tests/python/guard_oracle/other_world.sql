-- How the world of the same principal differs: only in what it does not see. {user} is the principal's id.
-- In a section `for NAME` stands what only that principal does not see.
-- for everybody
UPDATE users SET password_hash = 'other-' || id, ssn = 'other-' || right(ssn, 4);
UPDATE users SET email = 'w' || id || '@elsewhere.test', full_name = 'Other ' || id, salary = salary * 2 + 1, role = 'member',
  tags = '{other}', profile = '{"theme": "7"}', is_active = NOT is_active, manager_id = NULL WHERE tenant_id IN (2, 3, 5);
UPDATE tenants SET api_key = 'other', settings = jsonb_set(settings, '{secret}', '"other"');
UPDATE tenants SET name = 'Other', slug = 'other-' || id, plan = 'free', settings = '{}' WHERE id IN (2, 3, 5);
UPDATE memberships SET level = level + 7, team = 'other' || team WHERE tenant_id IN (2, 3, 5);
UPDATE products SET cost_price = 1, internal_notes = 'other' WHERE tenant_id IN (2, 3, 5);
UPDATE products SET name = 'Other', price = 3, sku = 'other-' || id WHERE tenant_id IN (2, 3, 5) AND NOT is_public;
DELETE FROM shipments WHERE order_id IN (SELECT id FROM orders WHERE tenant_id = 3);
DELETE FROM order_items WHERE order_id IN (SELECT id FROM orders WHERE tenant_id = 3);
DELETE FROM "Order Notes" WHERE tenant_id = 3;
DELETE FROM orders WHERE tenant_id = 3;
UPDATE orders SET order_no = 'other-' || id, status = 'pending', note = '12', discount = 0.5, placed_at = placed_at + interval '40 days'
  WHERE tenant_id IN (2, 5);
UPDATE order_items SET note = 'x', quantity = quantity + 1 WHERE order_id IN (SELECT id FROM orders WHERE tenant_id IN (2, 5));
UPDATE shipments SET tracking_no = 'LEAK_none', weight_kg = 0 WHERE order_id IN (SELECT id FROM orders WHERE tenant_id IN (2, 5));
INSERT INTO orders (id, tenant_id, user_id, order_no) SELECT 60000 + n, 2, 101, 'more-' || n FROM generate_series(1, 20) n;
INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price, note) SELECT 60000 + n, 1, 1, 1, 1, 'no number' FROM generate_series(1, 20) n;
DELETE FROM documents WHERE tenant_id = 5;
UPDATE documents SET title = '1', body = 'other', state = 'published', word_count = 0 WHERE tenant_id IN (2, 3);
DELETE FROM document_shares s WHERE NOT EXISTS (SELECT FROM documents d WHERE d.id = s.document_id);
DELETE FROM events WHERE tenant_id = 3;
UPDATE events SET kind = 'other', payload = '{"n": "none"}', duration_ms = 0 WHERE tenant_id IN (2, 5);
UPDATE invoices SET amount = 0, customer = 'Other', paid = NOT paid WHERE tenant_id IN (2, 3, 5);
DELETE FROM invoice_lines WHERE tenant_id IN (3, 5);
UPDATE coupons SET percent = 0, code = 'OTHER' || code WHERE tenant_id IN (2, 3, 5);
UPDATE "Order Notes" SET "Note Text" = '1' WHERE tenant_id IN (2, 5);
DELETE FROM audit_log WHERE tenant_id IN (2, 3);
UPDATE api_tokens SET token = 'other', tenant_id = 1;
UPDATE "Users" SET secret = 'other';
DELETE FROM app_settings;
UPDATE legacy.users SET email = 'other';
DELETE FROM billing.cards;
UPDATE documents SET title = 'other', body = '17', word_count = 1 WHERE state = 'draft' AND owner_id <> {user};
-- for a_admin
UPDATE users SET full_name = 'Other', email = 'd' || id WHERE tenant_id = 4;
DELETE FROM coupons WHERE tenant_id = 4;
UPDATE products SET cost_price = 5, internal_notes = 'other' WHERE tenant_id = 4;
-- for a_member
UPDATE users SET email = left(email, 1) || 'other' || id || '@' || split_part(email, '@', 2), salary = 5,
  profile = profile || '{"home_phone": "other"}' WHERE tenant_id = 1 AND id <> 2;
UPDATE products SET cost_price = 7;
UPDATE events SET payload = payload || '{"ip": "other"}' WHERE payload ? 'ip';
UPDATE orders SET note = 'other', status = 'paid', order_no = 'z-' || id WHERE tenant_id = 1 AND user_id <> 2;
UPDATE order_items SET note = 'none' WHERE order_id IN (SELECT id FROM orders WHERE tenant_id = 1 AND user_id <> 2);
DELETE FROM shipments WHERE order_id IN (SELECT id FROM orders WHERE tenant_id = 1 AND user_id <> 2);
UPDATE invoices SET amount = 0;
DELETE FROM invoice_lines;
DELETE FROM audit_log;
-- for a_analyst
UPDATE users SET salary = trunc(salary, -4) + 4321, profile = profile || '{"home_phone": "other"}', avatar = NULL WHERE tenant_id = 1;
UPDATE orders SET shipping_address = shipping_address || '{"zip": "other"}' WHERE shipping_address ? 'zip';
UPDATE events SET payload = payload || '{"ip": "other"}' WHERE payload ? 'ip';
UPDATE products SET internal_notes = 'other';
DELETE FROM audit_log;
-- for a_group
UPDATE users SET manager_id = NULL WHERE tenant_id = 5;
-- for the order of rows
DO $$ DECLARE name text; index text; BEGIN
  FOR name, index IN SELECT i.indrelid::regclass, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid WHERE i.indisprimary AND t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
  LOOP EXECUTE format('CLUSTER %s USING %I', name, index); END LOOP;
END $$
