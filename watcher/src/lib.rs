//! The watcher: one acting leader in a fleet looks for what no single agent can see. So far that is rings of sessions that
//! wait for each other (H33). It takes no part in any tool call; a fleet without a watcher is only slower to untie itself.
//! Start at [`app`].

pub mod app;
mod room;
mod term;
