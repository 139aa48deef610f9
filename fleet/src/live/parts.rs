//! A change set made to fit into the store: its files in parts that are written in one transaction, and read only if all are
//! there. One that is too large loses details before it loses files, those of the largest files first; what is lost is never a
//! line that was touched.

use rr_core::live::{ChangeSet, FileChange, Lines, Onto};
use rr_store::KeyValue;
use serde::{Deserialize, Serialize};

use crate::FleetError;
use crate::records::encode;

/// All of one set. Fits into one transaction with room to spare, and thirty of them into the smallest store; a few thousand
/// files, where more than fifty count as a sweep and raise nothing.
pub const LIVE_BYTES_MAX: usize = 1 << 20;
/// Well below what a store takes as one value.
const PART_BYTES: usize = 256 << 10;
/// One file alone: a part can always take one more.
const FILE_BYTES_MAX: usize = 64 << 10;
/// What is not files: names, writers, paths that conflict with the target.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Of the paths that conflict with the target: that it does counts, and the first of them show how.
const STALE_BYTES_MAX: usize = 32 << 10;
/// Each part but the last is fuller than what one more file needs.
pub(super) const PARTS_MAX: usize = LIVE_BYTES_MAX / (PART_BYTES - FILE_BYTES_MAX) + 1;

/// `live/<repo>/<host>/<tree>`. Files that do not fit in here are in `parts` values beside it, of the same revision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LiveRecord {
    parts: usize,
    set: ChangeSet,
}

/// The values of a set: its head's, and its parts' in order.
pub(super) struct Parts {
    pub(super) head: Vec<u8>,
    pub(super) files: Vec<Vec<u8>>,
}

/// Writes a set down, shortened if it must be.
pub(super) fn split(set: &ChangeSet) -> Result<Parts, FleetError> {
    let mut set = set.clone();
    let mut files: Vec<Sized> = std::mem::take(&mut set.files).into_iter().map(Sized::of).collect();
    shorten_stale(&mut set.onto);
    set.left_out += fit(&mut files);
    let total: usize = files.iter().map(Sized::bytes).sum();
    if total <= FILE_BYTES_MAX {
        set.files = files.into_iter().map(|sized| sized.file).collect();
        return Ok(Parts { head: head(set, 0)?, files: vec![] });
    }
    let files = in_parts(files);
    Ok(Parts { head: head(set, files.len())?, files })
}

fn head(set: ChangeSet, parts: usize) -> Result<Vec<u8>, FleetError> {
    let head = encode(&LiveRecord { parts, set });
    let (bytes, max) = (head.len(), HEAD_BYTES_MAX + FILE_BYTES_MAX);
    if bytes > max { Err(FleetError::TooLong { what: "a work tree's description", bytes, max }) } else { Ok(head) }
}

/// Puts a set together again. `part` finds the values beside it.
pub(super) fn whole<'a>(
    kv: &KeyValue,
    record: LiveRecord,
    part: impl Fn(usize) -> Option<&'a [u8]>,
) -> Result<ChangeSet, FleetError> {
    let mut set = record.set;
    for n in 0..record.parts {
        let garbage = |why: String| FleetError::Garbage { key: kv.key.clone(), why };
        let part = part(n).ok_or_else(|| garbage(format!("part {n} of {} is missing", record.parts)))?;
        let files: Vec<FileChange> = serde_json::from_slice(part).map_err(|e| garbage(format!("part {n}: {e}")))?;
        set.files.extend(files);
    }
    Ok(set)
}

/// A file's change as it is written.
struct Sized {
    file: FileChange,
    text: Vec<u8>,
}

impl Sized {
    fn of(file: FileChange) -> Self {
        Self { text: encode(&file), file }
    }

    /// With the comma after it.
    fn bytes(&self) -> usize {
        self.text.len() + 1
    }

    /// Leaves out what helps to say more of it. Its lines become one range around them all: who touches any, is still seen.
    fn without_details(&mut self) {
        let file = &mut self.file;
        file.symbols = vec![];
        file.uses = vec![];
        file.ranges = around(&file.ranges).into_iter().collect();
        self.text = encode(file);
    }

    fn without_packages(&mut self) {
        self.file.packages = vec![];
        self.text = encode(&self.file);
    }
}

fn around(ranges: &[Lines]) -> Option<Lines> {
    let start = ranges.iter().map(|lines| lines.start).min()?;
    let end = ranges.iter().map(|lines| lines.start.saturating_add(lines.count)).max()?;
    Some(Lines { start, count: end - start })
}

/// Makes the files fit, and answers how many had to go.
fn fit(files: &mut Vec<Sized>) -> usize {
    let mut total: usize = files.iter().map(Sized::bytes).sum();
    let ways = [Sized::without_details as fn(&mut Sized), Sized::without_packages];
    for (step, shorten) in ways.into_iter().enumerate() {
        let mut largest: Vec<usize> = (0..files.len()).collect();
        largest.sort_by_key(|n| (std::cmp::Reverse(files[*n].bytes()), *n));
        for n in largest {
            let before = files[n].bytes();
            // Manifests keep what changed in them as long as they can: it is little, and most of what bots meet in.
            let alone = before > FILE_BYTES_MAX;
            if !alone && (total <= LIVE_BYTES_MAX || step > 0 && files[n].file.packages.is_empty()) {
                continue;
            }
            shorten(&mut files[n]);
            total = total - before + files[n].bytes();
        }
    }
    let before = files.len();
    let mut left = LIVE_BYTES_MAX;
    files.retain(|sized| {
        let fits = sized.bytes() <= FILE_BYTES_MAX && sized.bytes() <= left;
        left -= if fits { sized.bytes() } else { 0 };
        fits
    });
    before - files.len()
}

fn in_parts(files: Vec<Sized>) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = vec![];
    for sized in files {
        match parts.last_mut() {
            Some(part) if part.len() + sized.bytes() < PART_BYTES => part.push(b','),
            _ => parts.push(vec![b'[']),
        }
        if let Some(part) = parts.last_mut() {
            part.extend(sized.text);
        }
    }
    parts.iter_mut().for_each(|part| part.push(b']'));
    parts
}

fn shorten_stale(onto: &mut Onto) {
    if let Onto::Stale(paths) = onto {
        let mut left = STALE_BYTES_MAX;
        let fits = paths.iter().take_while(|path| {
            let bytes = encode(path).len() + 1;
            let fits = bytes <= left;
            left -= if fits { bytes } else { 0 };
            fits
        });
        let kept = fits.count().max(1);
        paths.truncate(kept);
    }
}
