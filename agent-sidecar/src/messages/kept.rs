//! The journal and the snapshots: what could not be kept or written down, and so may not run.

use super::{ERROR_CHARS_MAX, cut, quote};

pub(crate) fn not_written_down(why: &str) -> String {
    format!(
        "Railroad's journal cannot be written ({}), so no change is let through: nobody could say later what was done, or take it \
         back. Reading is possible, and it is tried again at your next call. A person looks with `rrctl doctor`.",
        cut(why, ERROR_CHARS_MAX)
    )
}

pub(crate) fn read_not_written_down() -> String {
    "Railroad's journal cannot be written now. This command only reads, so it was let through; one that changes anything will not be."
        .to_owned()
}

pub(crate) fn not_kept(why: &str) -> String {
    format!(
        "Railroad could not keep what stands there now ({}), so no change is let through: it could not be taken back. It is tried again \
         at your next call; a person looks with `rrctl doctor`.",
        cut(why, ERROR_CHARS_MAX)
    )
}

/// A call was under way when the sidecar died, and its agent never said how it ended (H31).
pub(crate) fn end_unknown(call: &str) -> String {
    format!(
        "Railroad's sidecar ended while call {} was under way: whether that came to its end is not known. What the files it named hold \
         now is written down as its work, and `rrctl rollback` can take it back.",
        quote(call)
    )
}

/// What a call of an earlier life left in a file, and what another session has changed there since.
pub(crate) fn mixed_with(path: &str, session: &str) -> String {
    format!(
        "Session {session} has changed {path} since that call, and what the call itself left there is not known: it is counted as \
         nobody's, and a rollback leaves it. What stood there before is in `rrctl log --path`."
    )
}
