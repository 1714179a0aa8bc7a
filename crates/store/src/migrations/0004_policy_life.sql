-- What a version rests on in the database, as JSON, when it was known; and whether the version takes the policy away.
ALTER TABLE policies ADD COLUMN footprint TEXT;
ALTER TABLE policies ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;
