//! Lints: what a policy that can be used may still get wrong, and what in it no longer fits the catalog.
//!
//! A warning never stops a policy. Each has a stable code, the place in the document, a sentence that says what can go
//! wrong, and what to do. [`columns`] looks at what the catalog holds and the policy leaves open, [`rules`] at rules that
//! do nothing; names and masks are looked up by [`crate::check`].

mod columns;
mod rules;
mod words;

use std::fmt;

pub use words::{folded, names_a_secret, names_a_tenant};

use crate::catalog::Catalog;
use crate::expression::RelationName;
use crate::policy::Policy;
use crate::problem::Problem;

/// A warning's stable code: programs may decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`name` and `meaning` say what each is")]
pub enum WarningCode {
    NameUnknown,
    TypeChanged,
    MaskImpossible,
    TenantColumnUnscoped,
    ScopeLifted,
    UniqueWithoutTenant,
    SecretInClear,
    RuleShadowed,
    RuleWithoutEffect,
    RuleEmpty,
    BudgetNotHeld,
    OtherConnection,
    AgentTrusted,
}

impl WarningCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::NameUnknown,
        Self::TypeChanged,
        Self::MaskImpossible,
        Self::TenantColumnUnscoped,
        Self::ScopeLifted,
        Self::UniqueWithoutTenant,
        Self::SecretInClear,
        Self::RuleShadowed,
        Self::RuleWithoutEffect,
        Self::RuleEmpty,
        Self::BudgetNotHeld,
        Self::OtherConnection,
        Self::AgentTrusted,
    ];

    /// As people and programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::TypeChanged => "TYPE_CHANGED",
            Self::MaskImpossible => "MASK_IMPOSSIBLE",
            Self::TenantColumnUnscoped => "TENANT_COLUMN_UNSCOPED",
            Self::ScopeLifted => "SCOPE_LIFTED",
            Self::UniqueWithoutTenant => "UNIQUE_WITHOUT_TENANT",
            Self::SecretInClear => "SECRET_IN_CLEAR",
            Self::RuleShadowed => "RULE_SHADOWED",
            Self::RuleWithoutEffect => "RULE_WITHOUT_EFFECT",
            Self::RuleEmpty => "RULE_EMPTY",
            Self::BudgetNotHeld => "BUDGET_NOT_HELD",
            Self::OtherConnection => "OTHER_CONNECTION",
            Self::AgentTrusted => "AGENT_TRUSTED",
        }
    }
}

impl fmt::Display for WarningCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something to look at in a policy that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What kind of thing.
    pub code: WarningCode,
    /// The relation that it is about.
    pub relation: Option<RelationName>,
    /// Where, what can go wrong, and what to do.
    pub problem: Problem,
}

impl Warning {
    /// A warning about no single relation.
    pub fn new(code: WarningCode, problem: Problem) -> Self {
        Self { code, relation: None, problem }
    }

    /// About that relation.
    #[must_use]
    pub fn about(self, relation: &RelationName) -> Self {
        Self { relation: Some(relation.clone()), ..self }
    }

    /// With what to do.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.problem.suggestion = Some(advice.into());
        self
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.problem, self.code)
    }
}

impl Policy {
    /// All there is to say about the policy, in the order of the document. Without a catalog only what the document alone
    /// shows. The catalog is the whole one, before content filters.
    pub fn warnings(&self, catalog: Option<&Catalog>) -> Vec<Warning> {
        let mut warnings = rules::lint(self);
        if let Some(catalog) = catalog {
            // Of tenants' schemas one stands for all.
            let tenancy = self.tenancy.as_ref().filter(|_| self.is_nobodys());
            let narrowed = tenancy.map(|tenancy| tenancy.to_check(catalog));
            let catalog = narrowed.as_ref().unwrap_or(catalog);
            warnings.extend(self.check(catalog));
            warnings.extend(columns::lint(self, catalog));
        }
        warnings.sort_by(|one, other| {
            let key = |warning: &Warning| (warning.problem.line, warning.problem.column, warning.code);
            key(one).cmp(&key(other)).then_with(|| one.problem.message.cmp(&other.problem.message))
        });
        warnings.dedup();
        warnings
    }
}
