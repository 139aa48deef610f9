//! The journal of one machine: every call of every session and what it changed, in one order, durable before a call may
//! change anything, chained so that nothing can be taken out unseen. Start at [`entry`] (what is kept), then [`Journal`] (how it is
//! written) and [`Reader`] (how it is read). It knows no store, no repository and no agent; file contents are somewhere else
//! ([`Contents`]).

mod batch;
mod clean;
mod codec;
mod committer;
mod contents;
mod disk;
pub mod entry;
mod error;
mod folder;
mod follow;
mod gaps;
mod journal;
pub mod json;
mod log;
mod open_calls;
mod query;
mod queue;
mod reader;
mod recover;
mod redact;
mod scan;
mod sealed;
mod sealer;
mod text;
mod verify;
mod witness;

pub use codec::{NotAnEntry, decode, encode};
pub use contents::Contents;
pub use disk::{Disk, RealDisk};
pub use entry::{ApprovalStep, Does, Entry, Event, FileChange, Kept, Kind, LockStep, Spot, Verdict};
pub use error::JournalError;
pub use follow::Follow;
pub use gaps::Gaps;
pub use journal::{APPEND_BYTES_MAX, Journal, Options, Recovered};
pub use log::ChainHead;
pub use open_calls::{Came, OpenCall};
pub use query::Query;
pub use reader::{Damage, Filter, Order, Reader};
pub use redact::{REDACTED, redact};
pub use scan::Wrong;
pub use text::{TEXT_BYTES_MAX, Text};
pub use verify::Checked;
