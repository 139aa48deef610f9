//! Room on the stack for the grammar and the walk, which recurse once a nesting level: an overflow would end the whole process.
//! Everyday commands fit on the stack they are judged on; a deep one gets a larger one for as long as it takes.
//! It knows how many levels there can be, and nothing of what they are. Used by `walk`.

/// For a command without any nesting, with all wrappers there may be around it. Measured unoptimised: below 96 KiB.
const BASE_BYTES: usize = 256 * 1024;
/// For each level. Measured as above: 16 KiB for the worst of them (`{`, `(`, `if`).
const LEVEL_BYTES: usize = 32 * 1024;

/// Runs `run` where `levels` of nesting fit. Only touched pages cost memory.
pub(crate) fn with_room<R>(levels: usize, run: impl FnOnce() -> R) -> R {
    let needed = BASE_BYTES + levels * LEVEL_BYTES;
    stacker::maybe_grow(needed, needed, run)
}
