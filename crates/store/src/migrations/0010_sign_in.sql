-- Sign-in sessions. The cookie's secret is not kept, only its digest. `ends_at` is the earlier of the idle and the absolute end; a
-- session counts for the tenant that its user had when it was opened.
CREATE TABLE sessions (
    ordinal {serial},
    hash {blob} NOT NULL UNIQUE,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    org_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    -- What vouched for the user: `password`, `directory:NAME` or `oidc:NAME`.
    source TEXT NOT NULL,
    -- What an outside source calls the session and the user, so that it can end what rests on it.
    outside_id TEXT,
    outside_subject TEXT,
    opened_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    idle_ms BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (user_id, ordinal);
CREATE INDEX sessions_by_end ON sessions (ends_at);
CREATE INDEX sessions_by_source ON sessions (source, outside_id);

-- Passwords of technical users, as sealed hashes in PHC form. `stamp` names this password of this user: a new one has a new stamp.
CREATE TABLE basic_credentials (
    ordinal {serial},
    user_id TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    stamp {blob} NOT NULL UNIQUE,
    sealed {blob} NOT NULL,
    changed_at BIGINT NOT NULL
);
