//! The policy of a repository: what a session may run and touch, decided from a parsed call. Pure: plain data in, a
//! judgement out; no file, clock or process is looked at, and no regular expression is run.
//! The path: [`Policy::compile`] once for each version of `railroad.yaml`, then [`Policy::judge`] for each call, and
//! [`Scopes::decide`] for what a call would change. It refuses to know locks, queues and how a refusal is told.

mod call;
mod compile;
mod contradictions;
mod defaults;
mod judge;
mod lists;
mod paths;
mod pattern;
mod scopes;
mod secrets;
mod seen;
mod slots;
mod sql;

pub use call::{Call, Hit, Judgement, Origin};
pub use compile::{Compiled, Policy, Rule, RuleKind};
pub use contradictions::{Contradiction, Wrong};
pub use paths::Foreseen;
pub use scopes::{Facts, ScopeVerdict, Scopes, Touch, TouchKind, Why};
pub use slots::{NeededSlot, Slots};
