//! Holds tenants' schemas or databases against the template: what each lacks, has otherwise, and has beyond it.

use std::collections::BTreeMap;

use ringfence_engine::operator::OperatorSession;
use serde::Serialize;

use super::{Estate, Homeless, Member, cell, literals};
use crate::Refused;

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Comparison {
    /// What the others are held against.
    pub template: String,
    /// Schemas that are like the template.
    pub alike: usize,
    /// Those that are not.
    pub unlike: Vec<Unlike>,
    /// Tenants without a schema, and why.
    pub without: Vec<(String, String)>,
}

/// A schema that is not like the template.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Unlike {
    pub tenant: String,
    pub schema: String,
    /// What the template has and it does not: it is behind.
    pub lacks: Vec<String>,
    pub differs: Vec<String>,
    /// What it has and the template does not.
    pub beyond: Vec<String>,
}

/// Things of a schema: their kind and name, and what they are.
type Things = BTreeMap<(String, String), String>;

/// Everything that makes up schemas. Names in it are qualified, because the search path is the catalog's alone, and lose
/// their own schema here, so that two schemas can be compared.
const THINGS: &str = "
WITH it AS (SELECT n.oid, n.nspname::text AS name, quote_ident(n.nspname) || '.' AS prefix FROM pg_namespace n WHERE n.nspname = ANY ($)),
     things AS (
  SELECT it.name, it.prefix, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
         WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind, c.relname::text AS thing,
         CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) ELSE '' END AS what
  FROM pg_class c JOIN it ON it.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL
  SELECT it.name, it.prefix, 'column', c.relname || '.' || a.attname,
         format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
         || COALESCE(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') || a.attidentity::text || a.attgenerated::text
  FROM pg_class c JOIN it ON it.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT it.name, it.prefix, 'constraint', c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN it ON it.oid = c.relnamespace
  UNION ALL
  SELECT it.name, it.prefix, 'index', c.relname::text, pg_get_indexdef(c.oid)
  FROM pg_class c JOIN it ON it.oid = c.relnamespace WHERE c.relkind IN ('i', 'I')
  UNION ALL
  SELECT it.name, it.prefix, 'trigger', c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN it ON it.oid = c.relnamespace WHERE NOT t.tgisinternal
  UNION ALL
  SELECT it.name, it.prefix, 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.prosrc
  FROM pg_proc p JOIN it ON it.oid = p.pronamespace
  UNION ALL
  SELECT it.name, it.prefix, 'type', t.typname::text,
         (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
  FROM pg_type t JOIN it ON it.oid = t.typnamespace WHERE t.typtype = 'e')
SELECT name, kind, replace(thing, prefix, ''), replace(what, prefix, '') FROM things";

impl Estate<'_> {
    /// Compares what every tenant has with the template of the policy, or with another schema or database.
    pub async fn compare(&self, template: Option<&str>) -> Result<Comparison, Refused> {
        let template = match template {
            Some(name) => Some(self.member_named(None, name.to_owned())?),
            None => self.template()?,
        };
        let template = template.ok_or_else(|| {
            Refused::invalid("the policy's `tenancy` names no `template`: name a schema to compare with")
        })?;
        let session = self.open().await?;
        let there = self.names_there(&session).await?;
        if !there.contains(template.name()) {
            return Err(Refused::invalid(format!("there is no {} to compare with", template.name())));
        }
        let (members, homeless) = self.members().await?;
        let mut found = Comparison { template: template.name().to_owned(), ..Comparison::default() };
        found.without =
            homeless.into_iter().map(|Homeless { tenant, why }| (tenant.to_string(), why)).collect();
        // Schemas of one database are read at once, those of other databases one after the other.
        let here = members.iter().chain([&template]).filter(|member| member.database.is_none());
        let known = things(&session, here.map(|member| member.schema.as_str())).await?;
        let model = self.things_of(&template, &known).await?;
        for member in members.into_iter().filter(|member| member.name() != template.name()) {
            let tenant = member.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
            if !there.contains(member.name()) {
                let what = if member.database.is_some() { "database" } else { "schema" };
                found.without.push((tenant, format!("there is no {what} {}", member.name())));
                continue;
            }
            let unlike = differences(&model, &self.things_of(&member, &known).await?);
            if unlike.lacks.is_empty() && unlike.differs.is_empty() && unlike.beyond.is_empty() {
                found.alike += 1;
            } else {
                found.unlike.push(Unlike { tenant, schema: member.name().to_owned(), ..unlike });
            }
        }
        Ok(found)
    }

    async fn things_of(&self, member: &Member, known: &BTreeMap<String, Things>) -> Result<Things, Refused> {
        if member.database.is_none() {
            return Ok(known.get(&member.schema).cloned().unwrap_or_default());
        }
        let session = self.open_to(member).await?;
        let mut things = things(&session, std::iter::once(member.schema.as_str())).await?;
        Ok(things.remove(&member.schema).unwrap_or_default())
    }
}

async fn things<'s>(
    session: &OperatorSession,
    schemas: impl Iterator<Item = &'s str>,
) -> Result<BTreeMap<String, Things>, Refused> {
    session.run("BEGIN READ ONLY; SET LOCAL search_path = pg_catalog").await?;
    let mut things: BTreeMap<String, Things> = BTreeMap::new();
    for row in session.rows(&THINGS.replace('$', &literals(schemas))).await? {
        let of_schema = things.entry(cell(&row, 0)).or_default();
        of_schema.insert((cell(&row, 1), cell(&row, 2)), cell(&row, 3));
    }
    session.run("COMMIT").await?;
    Ok(things)
}

fn differences(model: &Things, own: &Things) -> Unlike {
    let mut unlike = Unlike::default();
    for ((kind, name), what) in model {
        match own.get(&(kind.clone(), name.clone())) {
            None => unlike.lacks.push(format!("{kind} {name}")),
            Some(other) if other != what => {
                unlike.differs.push(format!("{kind} {name}: {other} instead of {what}"));
            }
            Some(_) => {}
        }
    }
    let beyond = own.keys().filter(|key| !model.contains_key(*key));
    unlike.beyond = beyond.map(|(kind, name)| format!("{kind} {name}")).collect();
    unlike
}
