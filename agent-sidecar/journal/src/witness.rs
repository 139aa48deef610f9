//! The chain's head, written down beside the log now and then: a log that was cut short by somebody ends before it. It is not
//! synced, so a crash may leave an older one or none, which witnesses less and never wrongly: only durable heads are written.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rr_core::id::hex;

use crate::folder::{HEAD_FILE, NEXT};
use crate::log::ChainHead;

pub(crate) fn write(dir: &Path, head: ChainHead) {
    let next = dir.join(format!("{HEAD_FILE}.{NEXT}"));
    let text = format!("{} {}\n", head.sequence, hex(&head.hash));
    let open = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next);
    let written = open.and_then(|mut file| file.write_all(text.as_bytes()));
    // On a full disk there is none: the log itself says that it cannot be written.
    if let Err(error) = written.and_then(|()| fs::rename(&next, dir.join(HEAD_FILE))) {
        tracing::debug!(%error, "the journal's head could not be written down");
    }
}

/// What was witnessed last, if anything that can be read.
pub(crate) fn read(dir: &Path) -> Option<ChainHead> {
    let text = fs::read_to_string(dir.join(HEAD_FILE)).ok()?;
    let (sequence, hash_text) = text.strip_suffix('\n')?.split_once(' ')?;
    let mut hash = [0; 32];
    (hash_text.len() == 64).then_some(())?;
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hash_text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(ChainHead { sequence: sequence.parse().ok()?, hash })
}
