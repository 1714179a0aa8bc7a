DROP TRIGGER audit_is_never_removed;
CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
WHEN OLD.sequence > COALESCE((SELECT records FROM audit_cut WHERE id = 1), 0)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
