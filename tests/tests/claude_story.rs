//! The story with the real Claude Code, headless on a scripted model, and the real product: `rrctl` as it was built beside
//! this test, its hooks put in place by `rrctl install`, its daemon started by the first hook that runs.
//!
//! Each file holds the claims of one part: `sharing` (who may write a file, and when), `beside` (sub-agents, background
//! commands), `stopping` (the pause), `ends` (agents and daemons that are killed), `guarding` (the hooks themselves).
//! `stage` is what they stand on.

#[path = "claude_story/beside.rs"]
mod beside;
#[path = "claude_story/ends.rs"]
mod ends;
#[path = "claude_story/guarding.rs"]
mod guarding;
#[path = "claude_story/sharing.rs"]
mod sharing;
#[path = "claude_story/stage.rs"]
mod stage;
#[path = "claude_story/stopping.rs"]
mod stopping;
