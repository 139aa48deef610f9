//! `rrctl demo`: agents that are real processes, calling the real hook against a real daemon, in a throw-away repository.
//! Owns the scripted agent and the show around it; it knows the product from outside only (hook, socket, command line), as
//! an agent does. Next: `agent` is one agent, `play` is the evening, `broken` the one about a broken build.

pub(crate) mod agent;
pub(crate) mod broken;
mod cables;
mod cluster;
pub(crate) mod hook;
mod ledger;
pub(crate) mod link;
mod news;
mod pause;
mod place;
pub(crate) mod play;
mod roles;
mod rules;
pub(crate) mod script;
mod show;
pub(crate) mod stage;
pub(crate) mod steer;
mod storm;
mod tools;
pub(crate) mod undo;
