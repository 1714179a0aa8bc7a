-- Requests that carry a key, so that a repeated one does nothing twice. What came of one is kept without the rows themselves.
CREATE TABLE repeats (
    identity TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    outcome TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX repeats_by_age ON repeats (created_at);
