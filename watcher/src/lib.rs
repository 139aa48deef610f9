//! The watcher: one acting leader in a fleet looks for what no single agent can see: sessions that wait for each other in a ring,
//! work that does not go together, branches that broke, and who broke them. It takes no part in any tool call; a fleet without a
//! watcher is only slower to notice.
//!
//! The way of a break: `scene` (all live work) -> `health` (a branch turns red) -> `response` (pause, search, revert, verify, resume)
//! with `workshop` (checks in worktrees of their own). Beside it `overlap`, `edits` for what nobody has committed yet and `together` for all of
//! it merged. Start at
//! [`app`], then `duty`.

mod affected;
mod allowed;
pub mod app;
mod duty;
mod edits;
mod grounds;
mod health;
mod line;
mod mixed;
mod overlap;
mod plan;
mod response;
mod room;
mod scene;
mod slots;
mod term;
mod together;
mod workshop;

pub use plan::{Judged, Kept};
