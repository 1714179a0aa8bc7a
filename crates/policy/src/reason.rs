//! Why a decision is what it is, and what the clauses of the law come to on one row.

use std::collections::BTreeMap;
use std::fmt;

use crate::expression::Expression;
use crate::placed::Place;
use crate::policy::Hierarchy;
use crate::principal::Principal;
use crate::resolve::resolve;

/// One thing that gave or took something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What it is about.
    pub subject: Subject,
    /// What came of it.
    pub effect: Effect,
    /// The rule, in the document's words.
    pub rule: String,
    /// Where the rule stands in the policy document, if it does.
    pub place: Option<Place>,
    /// The condition on rows, when the rule has one.
    pub clause: Option<Clause>,
}

/// A condition of the law, as it counts for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Which part of the law it belongs to.
    pub part: Part,
    /// As the document says it.
    pub written: Expression,
    /// What is left of it for the principal: with what depends on the principal alone decided.
    pub condition: Expression,
}

impl Clause {
    /// The condition that was `decided` with, where NULL and FALSE are one, as it is with the two apart.
    pub(crate) fn of(part: Part, written: &Expression, decided: &Expression, principal: &Principal) -> Self {
        let exact = resolve(written, principal).unwrap_or_else(|_| decided.clone());
        Self { part, written: written.clone(), condition: exact }
    }
}

/// Parts of the law that speak of rows, in the order of DESIGN section 3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A scope: all of them hold for a row of the base.
    Scope,
    /// A row policy that extends the base: one of them is enough.
    Extends,
    /// A row policy that lifts base and narrowing.
    Bypass,
    /// A row policy that narrows.
    Narrow,
    /// A restriction of a data role on this hierarchy: one of them is enough.
    Restriction(Hierarchy),
    /// A join that inherits.
    Inherited,
    /// An access rule.
    AccessRule,
    /// Which of the visible rows may be changed.
    Changes,
}

/// What a reason is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The relation as a whole.
    Relation,
    /// One column.
    Column(String),
    /// Its rows.
    Rows,
    /// Changes.
    Writes,
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is seen, or may be done.
    Gives,
    /// It is not seen, or may not be done.
    Takes,
    /// Something else is seen in its place.
    Masks,
    /// Fewer rows are seen.
    Narrows,
    /// More rows are seen.
    Extends,
    /// The scope does not count.
    Lifts,
    /// Nothing: it is for other roles, does not hold for the principal, or is lifted.
    Nothing,
}

/// TRUE, FALSE, or NULL for what can't be told.
pub type Truth = Option<bool>;

/// What the parts of the law come to on one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The scopes, or what extends them. `None` in here and in `narrow` when a bypass lifted it.
    pub base: Option<Truth>,
    /// The row policies that narrow.
    pub narrow: Option<Truth>,
    /// The restrictions of data roles.
    pub roles: Truth,
    /// The joins that inherit.
    pub inherited: Truth,
    /// The access rules.
    pub rule: Truth,
}

impl Verdict {
    /// Puts the values of the clauses together: those of a decision's reasons, in any order.
    pub fn of<'a>(reasons: impl IntoIterator<Item = (&'a Reason, Truth)>) -> Self {
        let (mut scopes, mut extends, mut narrow) = (Some(true), Some(false), Some(true));
        let (mut inherited, mut rule) = (Some(true), Some(true));
        let mut hierarchies: BTreeMap<&Hierarchy, Truth> = BTreeMap::new();
        let mut is_lifted = false;
        for (reason, value) in reasons {
            let Some(clause) = &reason.clause else { continue };
            match &clause.part {
                Part::Scope => scopes = and(scopes, value),
                Part::Extends => extends = or(extends, value),
                Part::Narrow => narrow = and(narrow, value),
                Part::Bypass => is_lifted |= reason.effect == Effect::Lifts,
                Part::Restriction(hierarchy) => {
                    let allowed = hierarchies.entry(hierarchy).or_insert(Some(false));
                    *allowed = or(*allowed, value);
                }
                Part::Inherited => inherited = and(inherited, value),
                Part::AccessRule => rule = and(rule, value),
                Part::Changes => {}
            }
        }
        Self {
            base: (!is_lifted).then_some(or(scopes, extends)),
            narrow: (!is_lifted).then_some(narrow),
            roles: hierarchies.into_values().fold(Some(true), and),
            inherited,
            rule,
        }
    }

    /// The parts by name, in the law's order; what was lifted is left out.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, Truth)> {
        let Self { base, narrow, roles, inherited, rule } = *self;
        let lifted = [("base", base), ("narrow", narrow)].into_iter();
        let lifted = lifted.filter_map(|(name, value)| Some((name, value?)));
        lifted.chain([("roles", roles), ("inherited", inherited), ("rule", rule)])
    }

    /// Whether the row is visible: nothing but TRUE shows it.
    pub fn is_visible(&self) -> bool {
        self.parts().all(|(_, value)| value == Some(true))
    }
}

/// SQL's AND.
fn and(one: Truth, other: Truth) -> Truth {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// SQL's OR.
fn or(one: Truth, other: Truth) -> Truth {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Relation => f.write_str("relation")?,
            Subject::Column(name) => write!(f, "column {name}")?,
            Subject::Rows => f.write_str("rows")?,
            Subject::Writes => f.write_str("writes")?,
        }
        let effect = match self.effect {
            Effect::Gives => "given by",
            Effect::Takes => "taken by",
            Effect::Masks => "masked by",
            Effect::Narrows => "narrowed by",
            Effect::Extends => "extended by",
            Effect::Lifts => "scope lifted by",
            Effect::Nothing => "not touched by",
        };
        write!(f, " {effect} {}", self.rule)?;
        match self.place {
            Some(place) if place.line > 0 => write!(f, " (line {})", place.line),
            Some(_) | None => Ok(()),
        }
    }
}
