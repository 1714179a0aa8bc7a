-- Users of outside sources: OpenID providers, directories. A disabled user stays, and is refused wherever it comes from.
ALTER TABLE users ADD COLUMN disabled BIGINT NOT NULL DEFAULT 0;

-- Who a source's subject is here, and what of the user's is the source's: `users` holds what was granted by hand, so that
-- either can go without the other. A user has one source at most. `as_of` is when the source said so, in milliseconds.
CREATE TABLE user_links (
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    roles TEXT NOT NULL,
    data_roles TEXT NOT NULL,
    variables TEXT NOT NULL,
    as_of BIGINT NOT NULL,
    PRIMARY KEY (source, subject)
);

-- What a role of a source means here.
CREATE TABLE role_mapping (
    source TEXT NOT NULL,
    outside_role TEXT NOT NULL,
    roles TEXT NOT NULL,
    data_roles TEXT NOT NULL,
    PRIMARY KEY (source, outside_role)
);
