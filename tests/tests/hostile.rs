//! Bad input and hostile surroundings, on the real daemon and the real hook: every denial by its text, and nothing written
//! where a write was attempted. One module for each side that trouble comes from; what they share is in `support`.

#[path = "hostile/support.rs"]
mod support;

#[path = "hostile/config.rs"]
mod config;
#[path = "hostile/crash.rs"]
mod crash;
#[path = "hostile/disk.rs"]
mod disk;
#[path = "hostile/hook.rs"]
mod hook;
#[path = "hostile/input.rs"]
mod input;
#[path = "hostile/paths.rs"]
mod paths;
#[path = "hostile/peers.rs"]
mod peers;
#[path = "hostile/rivals.rs"]
mod rivals;
#[path = "hostile/sizes.rs"]
mod sizes;
#[path = "hostile/stopped.rs"]
mod stopped;
#[path = "hostile/store.rs"]
mod store;
#[path = "hostile/tools.rs"]
mod tools;
