//! What the guard costs, without a database: each figure beside the least that could be done, in turn.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_guard::{GuardedPlan, Parameter, guard, guard_lifted, scan};
use ringfence_policy::{
    Catalog, ConnectionKind, OrgId, Permissions, Policy, Principal, Question, TenantId, UserId, View,
    view_like,
};
use serde_json::{Map, Value, json};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::arguments::Arguments;
use crate::lifted::{LiftedCache, Plan};

const KIND: ConnectionKind = ConnectionKind::Postgresql;
/// As many as the gateway keeps behind each lock.
const KEPT: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
/// Relations that a statement of the workload names.
const NAMED: usize = 17;

struct Known(GuardedPlan);

impl Plan for Known {
    fn lifted(&self) -> &[bool] {
        self.0.lifted()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let rounds: usize = arguments.number("rounds", 40)?;
    let world = World::of(30)?;
    let mut statements = Vec::new();
    for (name, sql) in statement_texts() {
        statements.push(world.statement(name, &sql, rounds)?);
    }
    let mut sizes = Vec::new();
    for relations in [10, 100, 1_000] {
        sizes.push(World::of(relations.max(NAMED))?.size(rounds)?);
    }
    Ok(json!({ "statements": statements, "sizes": sizes }))
}

/// The text that the database gets for one who has these attributes, and the values in it.
pub(crate) fn print(arguments: &Arguments) -> Result<Value, String> {
    let read =
        |name| std::fs::read_to_string(arguments.needed(name)?).map_err(|error| format!("--{name}: {error}"));
    let catalog: Catalog = serde_json::from_str(&read("catalog")?).map_err(|error| error.to_string())?;
    let policy =
        Policy::load("policy.yaml", &read("policy")?, KIND).map_err(|problems| format!("{problems:?}"))?;
    let attributes: Map<String, Value> =
        serde_json::from_str(arguments.needed("attributes")?).map_err(|error| error.to_string())?;
    let principal = Principal { attributes: Arc::new(attributes), ..principal(1)? };
    let plan = guard(arguments.needed("query")?, KIND, &seen(&policy, &catalog, &principal));
    let query = plan.and_then(|plan| plan.bind(&principal, &[])).map_err(|refusal| refusal.to_string())?;
    Ok(json!({ "sql": query.sql(), "values": query.parameters().iter().map(text).collect::<Vec<_>>() }))
}

/// As PostgreSQL reads it.
fn text(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Null => "NULL".to_owned(),
        Parameter::Text(text) => text.clone(),
        Parameter::Integer(number) => number.to_string(),
        Parameter::Float(number) => number.to_string(),
        Parameter::Bool(value) => value.to_string(),
        Parameter::List(items) => format!("{{{}}}", items.iter().map(text).collect::<Vec<_>>().join(",")),
    }
}

/// Three sizes, in characters: about 80, 650 with 4 relations, 1,750 with 17.
fn statement_texts() -> Vec<(&'static str, String)> {
    let point = "SELECT id, status, total FROM t0 WHERE id = 4711 AND status = 'open' LIMIT 20".to_owned();
    let report = "WITH recent AS (SELECT o.id, o.owner_id, o.status, o.total, o.created_at FROM t0 o WHERE o.created_at >= \
         '2025-01-01' AND o.status IN ('open', 'paid', 'sent')) SELECT u.note AS customer, count(r.id) AS orders, \
         sum(r.total) AS total, max(r.created_at) AS latest, count(DISTINCT l.status) AS kinds FROM recent r JOIN t1 u ON \
         u.id = r.owner_id LEFT JOIN t2 l ON l.owner_id = r.id AND l.total > 0 WHERE u.status = 'active' AND NOT EXISTS \
         (SELECT 1 FROM t3 b WHERE b.owner_id = u.id AND b.status = 'blocked') AND r.total BETWEEN 10 AND 100000 GROUP BY \
         u.note HAVING sum(r.total) > 100 ORDER BY total DESC, customer LIMIT 50 OFFSET 100"
        .to_owned();
    let items: Vec<String> =
        (0..NAMED).map(|n| format!("a{n}.status AS status_{n}, a{n}.total AS total_{n}")).collect();
    let joins: Vec<String> = (1..NAMED)
        .map(|n| format!("JOIN t{n} a{n} ON a{n}.id = a{}.owner_id AND a{n}.status = 'open'", n - 1))
        .collect();
    let wide = format!(
        "SELECT {} FROM t0 a0 {} WHERE a0.id = 7 ORDER BY a0.created_at DESC LIMIT 20",
        items.join(", "),
        joins.join(" ")
    );
    vec![("point", point), ("report", report), ("wide", wide)]
}

/// A connection with that many relations of ten columns, each with a policy that scopes it by tenant.
struct World {
    relations: usize,
    catalog: Catalog,
    policy: Policy,
    principal: Principal,
    view: View,
}

impl World {
    fn of(relations: usize) -> Result<Self, String> {
        let column = |name: &str, data_type: &str| json!({ "name": name, "data_type": data_type });
        let relation = |number: usize| {
            let mut columns = vec![
                column("id", "bigint"),
                column("tenant_id", "integer"),
                column("owner_id", "bigint"),
                column("status", "text"),
                column("total", "numeric"),
                column("created_at", "timestamp with time zone"),
                column("note", "text"),
            ];
            columns.extend((0..3).map(|n| column(&format!("extra_{n}"), "text")));
            json!({ "name": format!("t{number}"), "kind": "table", "columns": columns,
                "constraints": [{ "kind": "primary", "columns": ["id"] }] })
        };
        let all: Vec<Value> = (0..relations).map(relation).collect();
        let catalog = json!({ "database": "shop", "schemas": [{ "name": "public", "relations": all }] });
        let catalog: Catalog = serde_json::from_value(catalog).map_err(|error| error.to_string())?;
        let model = |number: usize| {
            format!(
                "  M{number}: {{ table: public.t{number}, scoping: {{ tenant_id: principal.attributes.tenant }} }}"
            )
        };
        let models = (0..relations).map(model).collect::<Vec<_>>().join("\n");
        let policy = Policy::load("policy.yaml", &format!("models:\n{models}"), KIND);
        let policy = policy.map_err(|problems| format!("{problems:?}"))?;
        let principal = principal(1)?;
        let view = seen(&policy, &catalog, &principal);
        Ok(Self { relations, catalog, policy, principal, view })
    }

    /// G1 and G2 for one statement.
    fn statement(&self, name: &str, sql: &str, rounds: usize) -> Result<Value, String> {
        let scanned = scan(sql, KIND).ok_or("a statement of the workload has no literals")?;
        guard(sql, KIND, &self.view).map_err(|refusal| format!("{name}: {refusal}"))?;
        let cache: LiftedCache<u64, Known> = LiftedCache::new(KEPT);
        let found = || {
            let make = |scanned: Option<&_>| match scanned {
                Some(scanned) => guard_lifted(scanned, KIND, &self.view).map(Known),
                None => guard(sql, KIND, &self.view).map(Known),
            };
            cache.find(&1, sql, || scan(sql, KIND), make)
        };
        let mut seen = Rounds::default();
        for _ in 0..rounds {
            seen.bare.push(each(&mut || {
                let parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).map(|all| all[0].to_string());
                drop(black_box(parsed));
            }));
            seen.missed.push(each(&mut || drop(black_box(guard_lifted(&scanned, KIND, &self.view)))));
            seen.found.push(each(&mut || {
                let bound = found().map(|found| {
                    (found.plan.0.bind_lifted(&self.principal, &[], &found.values), found.cached)
                });
                drop(black_box(bound));
            }));
        }
        Ok(json!({
            "name": name,
            "characters": sql.len(),
            "bare_us": micros(median(&mut seen.bare.clone())),
            "guard_us": micros(median(&mut seen.missed.clone())),
            "ratio": seen.ratio(),
            "cached_us": micros(median(&mut seen.found.clone())),
        }))
    }

    /// What grows with the number of relations, and what does not.
    fn size(&self, rounds: usize) -> Result<Value, String> {
        let [(_, point), ..] = &statement_texts()[..] else { return Err("no statements".to_owned()) };
        let scanned = scan(point, KIND).ok_or("the statement has no literals")?;
        let (mut compiled, mut shared, mut guarded) = (Vec::new(), Vec::new(), Vec::new());
        let other = principal(2)?;
        for _ in 0..rounds {
            shared.push(each(&mut || {
                let question = question(&self.policy, &self.catalog, &other);
                let seen = view_like(question, Some(&self.view));
                black_box(seen == self.view);
            }));
            compiled.push(each(&mut || {
                drop(black_box(seen(&self.policy, &self.catalog, &self.principal)));
            }));
            guarded.push(each(&mut || drop(black_box(guard_lifted(&scanned, KIND, &self.view)))));
        }
        Ok(json!({
            "relations": self.relations,
            "first_us": micros(median(&mut compiled)),
            "view_us": micros(median(&mut shared)),
            "guard_us": micros(median(&mut guarded)),
        }))
    }
}

fn seen(policy: &Policy, catalog: &Catalog, principal: &Principal) -> View {
    view_like(question(policy, catalog, principal), None)
}

fn question<'a>(policy: &'a Policy, catalog: &'a Catalog, principal: &'a Principal) -> Question<'a> {
    Question { policy, catalog, unfiltered: catalog, rules: &[], principal }
}

fn principal(tenant: u64) -> Result<Principal, String> {
    let invalid = |error: ringfence_policy::NameInvalid| error.to_string();
    let attributes = [("tenant".to_owned(), Value::from(tenant))].into_iter().collect();
    Ok(Principal {
        org: OrgId::new("bench").map_err(invalid)?,
        tenant: TenantId::new("bench").map_err(invalid)?,
        user: UserId::new("bench").map_err(invalid)?,
        name: "Bench".to_owned(),
        roles: Vec::new(),
        data_roles: Arc::default(),
        permissions: Permissions::default(),
        attributes: Arc::new(attributes),
        acted_by: None,
        application: None,
        agent: None,
        standing: None,
    })
}

#[derive(Default)]
struct Rounds {
    bare: Vec<Duration>,
    missed: Vec<Duration>,
    found: Vec<Duration>,
}

impl Rounds {
    /// The median of the rounds' ratios.
    fn ratio(&self) -> f64 {
        let ratios =
            self.missed.iter().zip(&self.bare).map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64());
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// How long one takes, of about two milliseconds of them.
fn each(run: &mut dyn FnMut()) -> Duration {
    let (began, mut count) = (Instant::now(), 0_u32);
    loop {
        run();
        count += 1;
        let took = began.elapsed();
        if took > Duration::from_millis(2) {
            return took / count;
        }
    }
}

fn median(all: &mut [Duration]) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn micros(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e8).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_as_known_is_known() {
        let world = World::of(NAMED).unwrap();
        let cache: LiftedCache<u64, Known> = LiftedCache::new(KEPT);
        for id in 1..4 {
            let sql = format!("SELECT id FROM t0 WHERE id = {id}");
            let make = |scanned: Option<&_>| guard_lifted(scanned.unwrap(), KIND, &world.view).map(Known);
            let found = cache.find(&1, &sql, || scan(&sql, KIND), make).unwrap();
            assert_eq!(found.cached, id > 1);
        }
        assert_eq!(cache.size().0, 1);
    }
}
