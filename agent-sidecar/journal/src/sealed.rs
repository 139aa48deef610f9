//! A segment that is no longer written, in its last form: entries in compressed blocks, names that repeat in a table, and an
//! index (which paths, sessions and times are where). What it was before can be made of it again byte for byte, so that the
//! chain can still be checked. Next: `write` makes one, `read` opens one, `find` asks one.

mod find;
mod index;
mod names;
mod read;
mod write;

pub(crate) use find::find;
pub(crate) use read::{summary, verify};
pub(crate) use write::seal;

/// At the very end of each, so that a file that was cut short is known by it.
const MAGIC: &[u8; 8] = b"RRsealed";
const VERSION: u64 = 1;
/// Before compression. A query unpacks one for each find: smaller ones are unpacked sooner, larger ones shrink more.
const BLOCK_BYTES: usize = 48 << 10;
/// No part of a file that this crate wrote is longer unpacked: what says so is damaged.
const PART_BYTES_MAX: usize = 256 << 20;
/// 4 bytes of length, 4 of sum, the magic.
const TAIL_LEN: usize = 16;
