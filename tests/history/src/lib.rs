//! For tests only: what clients did and what the store went through, recorded, and judged against a sequential model. The
//! judge knows the promises (lock-protocol §9) and the layout of keys, and shares no rule with the code it judges: it takes
//! keys and values apart by itself. What a store answered unclearly is looked up in its history, never guessed.
//!
//! A test makes a [`Recorder`], lets it follow a store, drives [`Sidecar`]s or other clients through recorded calls, and
//! hands the [`History`] to [`check`]; where nobody's answers were recorded, the changes alone to [`check_revisions`]. The walk goes: `record` (what is kept) → `replay` (every revision) → `facts` (what
//! came of each key) → `account` (every answer) → `entitled` (every call let through) → `watched` (every watch).

mod account;
mod check;
mod client;
mod dice;
mod entitled;
mod facts;
mod halt;
mod key;
mod record;
mod replay;
mod scope;
mod sidecar;
mod watched;
mod world;

pub use check::{Report, Rule, Violation, check, check_revisions};
pub use client::{Client, Registration};
pub use dice::Dice;
pub use halt::Halt;
pub use record::{Call, Deed, History, Lock, Outcome, Pass, Recorder, Seen, Watched};
pub use sidecar::{Behaviour, Sidecar};
