-- Public keys that applications sign their users' tokens with; nothing in here is secret. `public_key` is a JSON Web Key.
CREATE TABLE signing_keys (
    ordinal {serial},
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kid TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    public_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (user_id, kid)
);

-- Whose query it was when `user_id` is an application that acted for one of its users; empty for its own.
ALTER TABLE history ADD COLUMN behalf_tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN behalf_user TEXT NOT NULL DEFAULT '';
