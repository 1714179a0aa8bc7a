//! What an examined connection comes to.

use ringfence_engine::Examined;
use ringfence_gateway::doctor::{ConnectionExam, Guardedness};

use super::{Finding, State};

/// PostgreSQL's oldest version that its makers still mend, and the one from which nobody may create in `public` unasked.
const OLDEST: i32 = 140_000;
const CLOSED_PUBLIC: i32 = 150_000;
/// Clocks further apart make audit records hard to read beside the database's log.
const CLOCK_MS: u64 = 5_000;

pub(super) fn findings(exam: &ConnectionExam) -> Vec<Finding> {
    let is_guarded = exam.state != Guardedness::Open;
    let mut all = vec![state(exam)];
    match &exam.backend {
        None => {}
        Some(Err(message)) => {
            all.push(Finding::new(
                State::Bad,
                "UNREACHABLE",
                format!("the database does not answer: {message}"),
            ));
        }
        Some(Ok(backend)) => all.extend(of_backend(backend, is_guarded, exam.writes)),
    }
    for relation in &exam.suspended {
        let message = format!("access to {relation} is suspended: the database changed under its policy");
        all.push(
            Finding::new(State::Bad, "POLICY_DRIFT", message)
                .advise("ringfence policy get says why; put the policy again"),
        );
    }
    if !exam.warnings.is_empty() {
        let mut codes: Vec<&str> = exam.warnings.iter().map(|warning| warning.code.name()).collect();
        codes.sort_unstable();
        codes.dedup();
        let message = format!("the policy has {} warnings: {}", exam.warnings.len(), codes.join(", "));
        all.push(
            Finding::new(State::Warning, "POLICY_WARNINGS", message)
                .advise("ringfence policy check --connection tells each"),
        );
    }
    for finding in &mut all {
        finding.connection = Some(exam.key.to_string());
    }
    all
}

fn state(exam: &ConnectionExam) -> Finding {
    match &exam.state {
        Guardedness::Unusable => {
            Finding::new(State::Bad, "POLICY_UNUSABLE", "its policy can't be used: nothing runs")
                .advise("put a policy that can be used")
        }
        Guardedness::Open => Finding::new(
            State::Warning,
            "OPEN",
            "it is open: whoever has it does what the database's user may do",
        )
        .advise("put a policy on it (ringfence policy apply)"),
        Guardedness::Guarded(version) if !exam.is_proven => Finding::new(
            State::Warning,
            "NOT_INDEXED",
            format!("version {version} of its policy is in force, and its credentials were not seen to work"),
        ),
        Guardedness::Guarded(version) => {
            Finding::new(State::Good, "GUARDED", format!("version {version} of its policy is in force"))
        }
    }
}

/// On a guarded connection the database's user is the second wall: what it may not do, no mistake of ours can.
fn of_backend(backend: &Examined, is_guarded: bool, policy_writes: bool) -> Vec<Finding> {
    let grave = if is_guarded { State::Bad } else { State::Warning };
    let role = quoted(&backend.role);
    let mut all = Vec::new();
    if backend.is_superuser {
        let message = format!(
            "its user {} is a superuser: it may do anything, files and programs included",
            backend.role
        );
        all.push(Finding::new(grave, "SUPERUSER", message).advise(least(backend, policy_writes)));
    }
    if backend.bypasses_row_security && !backend.is_superuser {
        let message = format!("row-level security does not bind its user {}", backend.role);
        all.push(
            Finding::new(grave, "BYPASSES_RLS", message).advise(format!("ALTER ROLE {role} NOBYPASSRLS;")),
        );
    }
    if backend.makes_roles && !backend.is_superuser {
        let message = format!("its user {} may make roles or databases", backend.role);
        all.push(
            Finding::new(State::Warning, "MAKES_ROLES", message)
                .advise(format!("ALTER ROLE {role} NOCREATEROLE NOCREATEDB;")),
        );
    }
    if backend.owned > 0 && !backend.is_superuser {
        let message = format!(
            "its user {} owns {} relations ({}): it may drop and change them",
            backend.role,
            backend.owned,
            some(&backend.owns)
        );
        all.push(Finding::new(State::Warning, "OWNER", message).advise(least(backend, policy_writes)));
    }
    if !backend.dangerous_roles.is_empty() {
        let message =
            format!("its user {} is a member of {}", backend.role, backend.dangerous_roles.join(", "));
        let revoke = format!("REVOKE {} FROM {role};", backend.dangerous_roles.join(", "));
        all.push(Finding::new(grave, "DANGEROUS_ROLE", message).advise(revoke));
    }
    if !backend.dangerous_functions.is_empty() && !backend.is_superuser {
        let message = format!("its user may call {}", backend.dangerous_functions.join(", "));
        let advice =
            "REVOKE EXECUTE ON FUNCTION ... FROM PUBLIC; the guard refuses them, an open connection does not";
        all.push(Finding::new(State::Warning, "DANGEROUS_FUNCTIONS", message).advise(advice));
    }
    if !backend.creates_in.is_empty() && !backend.is_superuser {
        let message = format!("its user may make tables and functions in {}", backend.creates_in.join(", "));
        let from = if backend.version_number < CLOSED_PUBLIC { "PUBLIC" } else { role.as_str() };
        let revokes = backend
            .creates_in
            .iter()
            .map(|schema| format!("REVOKE CREATE ON SCHEMA {} FROM {from};", quoted(schema)));
        all.push(
            Finding::new(State::Warning, "CREATES", message).advise(revokes.collect::<Vec<_>>().join("\n")),
        );
    }
    if is_guarded && !policy_writes && !backend.writes.is_empty() && !backend.is_superuser {
        let message = format!(
            "the policy lets nobody change anything, and its user may change {}",
            some(&backend.writes)
        );
        let advice =
            format!("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA ... FROM {role};");
        all.push(Finding::new(State::Warning, "WRITES", message).advise(advice));
    }
    all.extend(of_server(backend));
    if all.is_empty() {
        all.push(Finding::new(
            State::Good,
            "LEAST_PRIVILEGED",
            format!("its user {} may do little beside", backend.role),
        ));
    }
    all
}

/// What is said of the server, whoever signs in.
fn of_server(backend: &Examined) -> Vec<Finding> {
    let mut all = Vec::new();
    if backend.version_number < OLDEST {
        let message = format!("the server is no longer mended by its makers: {}", backend.version);
        all.push(Finding::new(State::Warning, "OLD_SERVER", message).advise("upgrade it"));
    }
    if backend.clock_ahead_ms.unsigned_abs() > CLOCK_MS {
        let message = format!(
            "the clocks of this machine and the database are {} ms apart",
            backend.clock_ahead_ms.unsigned_abs()
        );
        all.push(
            Finding::new(State::Warning, "CLOCK", message).advise("let both follow the same time servers"),
        );
    }
    all
}

/// A user of its own, with what the policy can use and nothing else.
fn least(backend: &Examined, policy_writes: bool) -> String {
    let rights = if policy_writes { "SELECT, INSERT, UPDATE, DELETE" } else { "SELECT" };
    let schemas: std::collections::BTreeSet<&str> =
        backend.owns.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let schemas = if schemas.is_empty() { ["public"].into() } else { schemas };
    let mut lines = vec![
        "connect as a user of its own (docs/least-privilege.md):".to_owned(),
        "CREATE ROLE ringfence_app LOGIN PASSWORD '...' NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;".to_owned(),
    ];
    for schema in schemas {
        let schema = quoted(schema);
        lines.push(format!("GRANT USAGE ON SCHEMA {schema} TO ringfence_app;"));
        lines.push(format!("GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO ringfence_app;"));
        if policy_writes {
            lines.push(format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO ringfence_app;"));
        }
    }
    lines.join("\n")
}

fn some(names: &[String]) -> String {
    const FEW: usize = 3;
    let shown = names.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > FEW { format!("{shown}, ...") } else { shown }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn little() -> Examined {
        Examined {
            role: "app".to_owned(),
            version: "PostgreSQL 15".to_owned(),
            version_number: 150_004,
            ..Examined::default()
        }
    }

    fn codes(backend: &Examined, is_guarded: bool, policy_writes: bool) -> Vec<(&'static str, State)> {
        of_backend(backend, is_guarded, policy_writes)
            .iter()
            .map(|finding| (finding.code, finding.state))
            .collect()
    }

    #[test]
    fn what_the_databases_user_may_do_is_told() {
        let names = || vec!["public.orders".to_owned()];
        assert_eq!(codes(&little(), true, false), [("LEAST_PRIVILEGED", State::Good)]);
        for (backend, guarded, open) in [
            (Examined { is_superuser: true, ..little() }, ("SUPERUSER", State::Bad), State::Warning),
            (
                Examined { bypasses_row_security: true, ..little() },
                ("BYPASSES_RLS", State::Bad),
                State::Warning,
            ),
            (Examined { makes_roles: true, ..little() }, ("MAKES_ROLES", State::Warning), State::Warning),
            (Examined { owned: 1, owns: names(), ..little() }, ("OWNER", State::Warning), State::Warning),
            (
                Examined { dangerous_roles: vec!["pg_read_server_files".to_owned()], ..little() },
                ("DANGEROUS_ROLE", State::Bad),
                State::Warning,
            ),
            (
                Examined { dangerous_functions: vec!["lo_export".to_owned()], ..little() },
                ("DANGEROUS_FUNCTIONS", State::Warning),
                State::Warning,
            ),
            (
                Examined { creates_in: vec!["public".to_owned()], ..little() },
                ("CREATES", State::Warning),
                State::Warning,
            ),
            (
                Examined { version_number: 120_000, ..little() },
                ("OLD_SERVER", State::Warning),
                State::Warning,
            ),
            (Examined { clock_ahead_ms: -60_000, ..little() }, ("CLOCK", State::Warning), State::Warning),
        ] {
            assert_eq!(codes(&backend, true, false), [guarded]);
            assert_eq!(codes(&backend, false, false), [(guarded.0, open)]);
        }
        let writer = Examined { writes: names(), ..little() };
        assert_eq!(codes(&writer, true, false), [("WRITES", State::Warning)]);
        assert_eq!(codes(&writer, true, true), [("LEAST_PRIVILEGED", State::Good)]);
        assert_eq!(codes(&writer, false, false), [("LEAST_PRIVILEGED", State::Good)]);
    }

    #[test]
    fn the_advice_can_be_run() {
        let owner = Examined { owned: 1, owns: vec!["sales.orders".to_owned()], ..little() };
        let findings = of_backend(&owner, true, true);
        let advice = findings[0].advice.as_deref().unwrap();
        assert!(
            advice.contains(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"sales\" TO ringfence_app;"
            ),
            "{advice}"
        );
        let old = Examined { creates_in: vec!["public".to_owned()], version_number: 140_001, ..little() };
        assert_eq!(
            of_backend(&old, true, true)[0].advice.as_deref(),
            Some("REVOKE CREATE ON SCHEMA \"public\" FROM PUBLIC;")
        );
    }
}
