//! The gate beside the agents: a hook asks before and after every tool call, and the answer comes from here. It talks to the store
//! itself (D1), keeps leases for its agents, and watches their processes.
//!
//! The way of a call: `socket` (who may speak) -> `hosts` (the agent's format) -> `service` -> `gate` -> `locking` -> `hosts` ->
//! `socket`; after it `aftermath`. Beside calls: `keeper`, `pause`, `view`. Start at [`app::run`].

mod aftermath;
pub mod app;
mod asked;
mod bypass;
mod call;
mod earlier;
mod effects;
mod elsewhere;
mod ends;
mod following;
mod gate;
mod guard;
mod guarded;
mod history;
mod holds;
mod hosts;
mod json;
mod judged;
mod keeper;
mod live;
mod locking;
mod memory;
mod messages;
mod pause;
mod people;
mod processes;
mod proposed;
mod publish;
mod record;
mod repair;
mod repos;
mod service;
mod slots;
mod snapshots;
mod socket;
mod table;
mod turns;
mod undo;
mod upkeep;
mod versions;
mod view;
