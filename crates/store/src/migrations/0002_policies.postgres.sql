-- Versions are added and never changed; they go with their organization.
CREATE FUNCTION policies_are_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'versions of policies are never changed'; END $$;
CREATE TRIGGER policies_are_never_changed BEFORE UPDATE ON policies
FOR EACH ROW EXECUTE FUNCTION policies_are_append_only();
