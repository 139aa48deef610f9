//! A policy made ready for judging, once for each version of the file. It knows the lists and the default set, and no call.
//! Next: `judge`.

use rr_core::policy::{Defaults, Effect, PolicySource};

use crate::call::Origin;
use crate::contradictions::{Contradiction, find};
use crate::defaults;
use crate::lists::List;

/// A policy, ready to judge. Made once, shared, never changed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(crate) effect: Effect,
    pub(crate) defaults: Defaults,
    pub(crate) blocklist: List,
    pub(crate) approve: List,
    pub(crate) allow: List,
}

/// What compiling yields: the policy, and entries that contradict one another. The strictest wins either way.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub policy: Policy,
    pub contradictions: Vec<Contradiction>,
}

/// A rule in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub kind: RuleKind,
    pub origin: Origin,
    pub because: String,
    pub instead: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    Block,
    Approve,
    Allow,
}

impl Policy {
    #[must_use]
    pub fn compile(source: &PolicySource) -> Compiled {
        let policy = Self {
            effect: source.effect,
            defaults: source.defaults,
            blocklist: List::new(&source.blocklist),
            approve: List::new(&source.approve),
            allow: List::new(&source.allow),
        };
        let contradictions = find(&policy);
        Compiled { policy, contradictions }
    }

    /// Every rule in force, the team's first.
    pub fn rules(&self) -> impl Iterator<Item = Rule> + use<'_> {
        let lists =
            [(RuleKind::Block, &self.blocklist), (RuleKind::Approve, &self.approve), (RuleKind::Allow, &self.allow)];
        let listed = lists.into_iter().flat_map(|(kind, list)| {
            list.entries().iter().map(move |listed| Rule {
                name: listed.shown(),
                kind,
                origin: Origin::Line(listed.entry.line),
                because: because(kind, listed.entry.because.as_deref()),
                instead: None,
            })
        });
        let built_in = defaults::all().iter().filter(|_| self.defaults == Defaults::On).map(|rule| Rule {
            name: rule.name.to_owned(),
            kind: RuleKind::Block,
            origin: Origin::DefaultSet,
            because: rule.because.to_owned(),
            instead: Some(rule.instead.to_owned()),
        });
        listed.chain(built_in)
    }
}

/// The reason that is given where the entry has none.
pub(crate) fn because(kind: RuleKind, given: Option<&str>) -> String {
    given.map_or_else(
        || match kind {
            RuleKind::Block => "the team's blocklist refuses it".to_owned(),
            RuleKind::Approve => "the team wants a person to decide".to_owned(),
            RuleKind::Allow => "the team allows it".to_owned(),
        },
        str::to_owned,
    )
}
