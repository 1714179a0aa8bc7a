-- Access rules: a filter or a block on one table of a place (a data source, however connections to it are spelt), for an
-- organization, a tenant, a user, or anybody where they are NULL. `place` is a digest. `owner` is the organization again, or
-- empty for a rule of all of them: ids are its own. `scope` is a digest of whom the rule is for and of its table.
CREATE TABLE access_rules (
    ordinal {serial},
    place TEXT NOT NULL,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    schema_name TEXT NOT NULL,
    table_name TEXT NOT NULL,
    org_id TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    tenant_id TEXT REFERENCES tenants (id) ON DELETE CASCADE,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    -- NULL blocks the table.
    expression TEXT,
    -- A name, not a reference: what somebody wrote outlives them.
    author TEXT NOT NULL,
    author_rank BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (place, owner, id),
    UNIQUE (place, scope)
);
CREATE INDEX access_rules_of_organization ON access_rules (org_id);
CREATE INDEX access_rules_of_tenant ON access_rules (tenant_id);
CREATE INDEX access_rules_of_user ON access_rules (user_id);
