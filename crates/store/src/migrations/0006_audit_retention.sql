-- The beginning of the audit log that retention removed: how many records, and the MAC of the last of them.
CREATE TABLE audit_cut (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    records BIGINT NOT NULL,
    last_mac {blob} NOT NULL,
    mac {blob} NOT NULL
);
