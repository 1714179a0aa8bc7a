-- What administrators restrict data roles to at run time, beside the policy of the place: by role, as JSON. `version` counts
-- changes from 1, and stays when there are no restrictions any more.
CREATE TABLE restrictions (
    identity TEXT PRIMARY KEY REFERENCES guarded_places (identity) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    author TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);
