//! The rules of the house: plain data in, decision out. No clock, no I/O, no tokio; whoever needs one hands in what it
//! read. Start at `path` (what can be locked), then `lock` (who may hold it), `session` and `permit`.

pub mod time;
