-- Operations that wait for somebody's approval. `account` is whose they are in the store; `requester` is who asked, which differs
-- where an application asks for a user of its own; `presenter` is who presented the credentials. What was asked for, as whom, and
-- what came of it are sealed.
CREATE TABLE approvals (
    ordinal {serial},
    id TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    account TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    requester TEXT NOT NULL,
    presenter TEXT NOT NULL,
    principal {blob} NOT NULL,
    place TEXT NOT NULL,
    connection_key TEXT NOT NULL,
    model TEXT NOT NULL,
    action TEXT NOT NULL,
    operation {blob} NOT NULL,
    reason TEXT,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    decided_at BIGINT,
    executed_at BIGINT,
    -- Names, not references: what somebody decided outlives them.
    approver TEXT,
    approver_presenter TEXT,
    decision_reason TEXT,
    -- The public code, where it did not come to its end.
    failure TEXT,
    outcome {blob},
    -- The one run of it, and until when it is known to go on.
    runner TEXT,
    runs_until BIGINT,
    -- As JSON; once more below, to be searched.
    approver_roles TEXT NOT NULL
);
CREATE INDEX approvals_of_organization ON approvals (org_id, state, ordinal);
CREATE INDEX approvals_of_tenant ON approvals (tenant_id);
CREATE INDEX approvals_of_account ON approvals (account, requester, ordinal);
CREATE INDEX approvals_by_state ON approvals (state);
-- Who may decide, by role.
CREATE TABLE approval_roles (
    approval TEXT NOT NULL REFERENCES approvals (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (approval, role)
);
