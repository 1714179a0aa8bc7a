-- Cubes on a place: each change of one is a version of its own, and the last one counts.
CREATE TABLE cubes (
    identity TEXT NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    PRIMARY KEY (identity, name, version)
);
