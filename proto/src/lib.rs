//! The wire: what `railroad/v1/*.proto` says, as Rust types, and the words that stand for the rules' own values in it.
//! It knows `rr_core` and no service: what a fleet looks like is turned into these types by the coordinator, and into
//! tables by `rrctl`.

mod packed;
mod version;
mod watch;
mod words;

pub use packed::{Unreadable, pack, unpack};
pub use version::{VERSION, VERSION_KEY, speaks_with, too_far_apart};
pub use watch::{PATHS_MAX, live_tree, state_word, verdict_word};
pub use words::{Followed, mode_word};

/// The path of every method of the wire. Generated.
pub const METHODS: &[&str] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Version 1 of the wire. Generated.
#[allow(clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("railroad.v1");
}
