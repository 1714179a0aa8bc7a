//! Attributes of the principal that are read from the connection: one query of one column each.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Compiler, names};
use crate::document::{DerivedAttribute, Document};
use crate::expression::{Expression, PrincipalPath, SubQuery};
use crate::parse::{RESERVED_ATTRIBUTE, parse_query};
use crate::placed::{Place, Placed};
use crate::policy::QueriedAttribute;

/// How long the answer of an attribute's query holds when the document does not say.
const DEFAULT_TTL: Duration = Duration::from_mins(1);
/// And the longest: who lost a membership must not keep it until the gateway is restarted.
const LONGEST_TTL: Duration = Duration::from_hours(24);
/// Each is a query of its own before a principal's first statement.
const MOST: usize = 32;

impl Compiler<'_> {
    pub(super) fn attributes(&mut self, document: &Document) -> BTreeMap<String, QueriedAttribute> {
        let mut attributes = BTreeMap::new();
        let entries = &document.attributes.0;
        if let Some((name, _)) = entries.get(MOST) {
            self.problem(name.place, format!("at most {MOST} attributes can be read from the connection"));
        }
        for (name, Placed { value, place }) in entries {
            if name.value == RESERVED_ATTRIBUTE {
                self.problem(name.place, "attributes of this name are the server's own");
            }
            if attributes.contains_key(&name.value) {
                self.problem(name.place, format!("the attribute `{}` is said twice", name.value));
            }
            let ttl = self.ttl(value, *place);
            let Some(query) = self.attribute_query(value, *place) else { continue };
            self.refuse_derived(document, &query, *place);
            let attribute = QueriedAttribute { query, shape: value.shape, ttl, place: *place };
            attributes.insert(name.value.clone(), attribute);
        }
        attributes
    }

    fn ttl(&mut self, attribute: &DerivedAttribute, place: Place) -> Duration {
        match attribute.ttl.as_deref().map(names::duration) {
            None => DEFAULT_TTL,
            Some(Some(ttl)) if ttl <= LONGEST_TTL => ttl,
            Some(Some(_)) => {
                self.problem(place, "an attribute is kept for a day at most");
                DEFAULT_TTL
            }
            Some(None) => {
                self.problem(place, "a time is a number and its unit: ms, s, m or h");
                DEFAULT_TTL
            }
        }
    }

    fn attribute_query(&mut self, attribute: &DerivedAttribute, place: Place) -> Option<SubQuery> {
        let mut text = attribute.query.clone();
        if text.place == Place::default() {
            // The query stands alone, so that its place is the entry's.
            text.place = place;
        }
        let (text, place) = self.of_kind(&text)?;
        let parsed = parse_query(text, self.scope(None));
        self.parsed(parsed, text, place)
    }

    /// They are read all at once, so that none may wait for another.
    fn refuse_derived(&mut self, document: &Document, query: &SubQuery, place: Place) {
        let derived = |path: &PrincipalPath| match path {
            PrincipalPath::Attribute(parts) => {
                let first = parts.first()?;
                document
                    .attributes
                    .0
                    .iter()
                    .find(|(name, _)| name.value == *first)
                    .map(|(name, _)| &name.value)
            }
            PrincipalPath::OrgId
            | PrincipalPath::TenantId
            | PrincipalPath::UserId
            | PrincipalPath::Roles
            | PrincipalPath::Permissions
            | PrincipalPath::Agent
            // Access rules alone have them.
            | PrincipalPath::Variable(_) => None,
        };
        let mut found = None;
        query.for_each_part(&mut |part| match part {
            Expression::Principal(value) => found = found.or(derived(&value.path)),
            Expression::InPrincipal { path, .. } => found = found.or(derived(path)),
            _ => {}
        });
        if let Some(name) = found {
            let message = format!(
                "`principal.attributes.{name}` is read from the connection itself: an attribute can't be read by another"
            );
            self.problem(place, message);
        }
    }
}
