//! Story: a breakage. An agent commits what breaks the others' build; the watcher sees it, pauses the fleet, finds out which commit
//! it was, proves it, reverts it, checks again and lets the fleet go on; nobody's other work is touched. Real agents, the real
//! daemon, real git, real `cargo check` and a real JavaScript project; then what befalls the watcher itself, what is no break,
//! a person's word, and what agents are told before anything breaks, of what nobody has committed yet too.

#[path = "breakage/affected.rs"]
mod affected;
#[path = "breakage/author.rs"]
mod author;
#[path = "breakage/cost.rs"]
mod cost;
#[path = "breakage/drain.rs"]
mod drain;
#[path = "breakage/edits.rs"]
mod edits;
#[path = "breakage/hosts.rs"]
mod hosts;
#[path = "breakage/killed.rs"]
mod killed;
#[path = "breakage/merging.rs"]
mod merging;
#[path = "breakage/no_break.rs"]
mod no_break;
#[path = "breakage/person.rs"]
mod person;
#[path = "breakage/projects.rs"]
mod projects;
#[path = "breakage/repair.rs"]
mod repair;
#[path = "breakage/stage.rs"]
mod stage;
#[path = "breakage/succession.rs"]
mod succession;
#[path = "breakage/together.rs"]
mod together;
#[path = "breakage/told.rs"]
mod told;
