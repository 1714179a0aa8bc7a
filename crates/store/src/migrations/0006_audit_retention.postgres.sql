DROP TRIGGER audit_is_never_changed ON audit;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE FUNCTION audit_loses_what_was_cut() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF OLD.sequence <= (SELECT records FROM audit_cut WHERE id = 1) THEN RETURN OLD; END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_loses_what_was_cut();
