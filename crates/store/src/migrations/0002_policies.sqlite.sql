-- Versions are added and never changed; they go with their organization.
CREATE TRIGGER policies_are_never_changed BEFORE UPDATE ON policies
BEGIN SELECT RAISE(ABORT, 'versions of policies are never changed'); END;
