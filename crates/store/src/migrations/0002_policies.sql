-- Data roles restrict what a user sees: a list of names, as JSON.
ALTER TABLE users ADD COLUMN data_roles TEXT NOT NULL DEFAULT '[]';

-- One row says that a place of an organization is guarded, and by which version. `identity` is a digest of both.
CREATE TABLE guarded_places (
    identity TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    place TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX guarded_places_of_organization ON guarded_places (org_id);

-- The author is a name, not a reference: what somebody wrote outlives them.
CREATE TABLE policies (
    identity TEXT NOT NULL REFERENCES guarded_places (identity) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    author TEXT NOT NULL,
    comment TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (identity, version)
);
