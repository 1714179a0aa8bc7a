-- When somebody suspended the tenant, in milliseconds since 1970: from then on none of its principals gets in.
ALTER TABLE tenants ADD COLUMN suspended_at BIGINT;
