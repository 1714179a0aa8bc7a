-- {serial} and {blob} stand for what each database calls them. `ordinal` keeps the order of creation.

CREATE TABLE sealing (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    epoch BIGINT NOT NULL,
    check_value {blob} NOT NULL,
    audit_key {blob} NOT NULL
);

CREATE TABLE organizations (
    ordinal {serial},
    id TEXT NOT NULL UNIQUE,
    name TEXT,
    variables TEXT
);

CREATE TABLE tenants (
    ordinal {serial},
    id TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT,
    variables TEXT,
    -- So that a user's tenant and organization can be checked as a pair.
    UNIQUE (id, org_id)
);
CREATE INDEX tenants_of_organization ON tenants (org_id, ordinal);

CREATE TABLE users (
    ordinal {serial},
    id TEXT NOT NULL UNIQUE,
    tenant_id TEXT NOT NULL,
    org_id TEXT NOT NULL,
    name TEXT,
    variables TEXT,
    roles TEXT NOT NULL,
    FOREIGN KEY (tenant_id, org_id) REFERENCES tenants (id, org_id)
);
CREATE INDEX users_of_tenant ON users (tenant_id, ordinal);
CREATE INDEX users_of_organization ON users (org_id, ordinal);

CREATE TABLE access_keys (
    ordinal {serial},
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash {blob} NOT NULL UNIQUE,
    sealed {blob} NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (user_id, name)
);

CREATE TABLE user_config (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (user_id, name)
);

-- `audience` is a digest of the target: whoever knows a principal can compute every audience it belongs to.
CREATE TABLE parameters (
    audience TEXT NOT NULL,
    name TEXT NOT NULL,
    org_id TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    tenant_id TEXT REFERENCES tenants (id) ON DELETE CASCADE,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    connection TEXT,
    value TEXT NOT NULL,
    PRIMARY KEY (audience, name)
);
CREATE INDEX parameters_of_organization ON parameters (org_id) WHERE org_id IS NOT NULL;
CREATE INDEX parameters_of_tenant ON parameters (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX parameters_of_user ON parameters (user_id) WHERE user_id IS NOT NULL;

-- `identity` is a digest of organization, key and target, which together may be longer than an index entry.
CREATE TABLE sources (
    id {serial},
    identity TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    key TEXT NOT NULL,
    target TEXT NOT NULL,
    content_filters TEXT NOT NULL,
    pattern_filters TEXT NOT NULL,
    status TEXT NOT NULL,
    schemas TEXT NOT NULL,
    diagnostics TEXT,
    generation BIGINT NOT NULL,
    lease_node TEXT,
    lease_until BIGINT
);
CREATE INDEX sources_unfinished ON sources (id) WHERE status IN ('not-started', 'indexing');
CREATE INDEX sources_of_organization ON sources (org_id);

CREATE TABLE catalogs (
    source_id BIGINT PRIMARY KEY REFERENCES sources (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    document {blob} NOT NULL
);

CREATE TABLE annotations (
    source_id BIGINT PRIMARY KEY REFERENCES sources (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    document TEXT NOT NULL
);

CREATE TABLE connections (
    ordinal {serial},
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    spec TEXT NOT NULL,
    password {blob},
    source_id BIGINT NOT NULL REFERENCES sources (id),
    proof TEXT NOT NULL,
    proof_reason TEXT,
    UNIQUE (user_id, key)
);
CREATE INDEX connections_of_source ON connections (source_id);

CREATE TABLE default_connections (
    user_id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    FOREIGN KEY (user_id, key) REFERENCES connections (user_id, key) ON DELETE CASCADE
);

-- `question` is a digest of the ask, which may be longer than an index entry.
CREATE TABLE likes (
    ordinal {serial},
    uuid TEXT NOT NULL,
    owner_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    org_id TEXT NOT NULL,
    connection TEXT NOT NULL,
    question TEXT NOT NULL,
    ask TEXT NOT NULL,
    query TEXT NOT NULL,
    rewrite_question BIGINT NOT NULL,
    detailed_steps TEXT,
    created_at BIGINT NOT NULL,
    audience TEXT,
    audience_org TEXT REFERENCES organizations (id),
    audience_tenant TEXT REFERENCES tenants (id),
    audience_user TEXT REFERENCES users (id),
    audience_connection TEXT,
    UNIQUE (owner_id, connection, question)
);
CREATE INDEX likes_of_audience ON likes (audience, org_id, connection) WHERE audience IS NOT NULL;
CREATE INDEX likes_of_audience_org ON likes (audience_org) WHERE audience_org IS NOT NULL;
CREATE INDEX likes_of_audience_tenant ON likes (audience_tenant) WHERE audience_tenant IS NOT NULL;
CREATE INDEX likes_of_audience_user ON likes (audience_user) WHERE audience_user IS NOT NULL;

CREATE TABLE history (
    ordinal {serial},
    id TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    connection TEXT NOT NULL,
    query TEXT NOT NULL,
    ran_at BIGINT NOT NULL
);
CREATE INDEX history_of_connection ON history (user_id, connection, ran_at, ordinal);

-- The columns beside `record` repeat parts of it for searching; verification compares them.
CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    record TEXT NOT NULL,
    mac {blob} NOT NULL,
    at_ms BIGINT NOT NULL,
    trace_id TEXT NOT NULL,
    door TEXT NOT NULL,
    action TEXT NOT NULL,
    user_id TEXT,
    tenant_id TEXT,
    org_id TEXT,
    connection TEXT,
    decision TEXT NOT NULL
);
CREATE INDEX audit_of_trace ON audit (trace_id);
CREATE INDEX audit_of_user ON audit (user_id, sequence);
CREATE INDEX audit_of_organization ON audit (org_id, sequence);
CREATE INDEX audit_of_time ON audit (at_ms);

CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    records BIGINT NOT NULL,
    last_mac {blob} NOT NULL,
    mac {blob} NOT NULL
);
