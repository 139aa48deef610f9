//! From a folder to a running log: the file found, read back and trusted, or a new one made, or the reason why not.
//! A file that cannot be trusted is moved aside under a new name and never written again; a newer one is not touched.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::time::BootTime;

use super::disk::Disk;
use super::history::History;
use super::log::{LOG_FILE, Log, NEXT_FILE, extend_zeros, sync_dir};
use super::record::{self, Record};
use super::recover::{End, Walk, WalkError};
use super::reserve::{Reserve, create};
use super::shared::Memory;
use super::snapshot::{self, FILE_HEADER_LEN, FORMAT_VERSION, FileHeader};
use super::state::{FIRST_REVISION, State};
use super::{OpenError, Options};
use crate::contract::Revision;

/// A new log has room for the first batches.
const FIRST_ROOM: u64 = 64 << 10;
/// Nobody keeps more damaged logs than this.
const KEPT_MAX: u32 = 10_000;

pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) memory: Memory,
    pub(super) fresh: bool,
}

pub(super) fn make_dir(dir: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| OpenError::Io { what: "create folder", path: dir.to_owned(), source })
}

/// The caller owns the folder.
pub(super) fn open(dir: &Path, options: &Options, now: BootTime) -> Result<Opened, OpenError> {
    let path = dir.join(LOG_FILE);
    let failed = |what| move |source| OpenError::Io { what, path: dir.join(LOG_FILE), source };
    // Never in use: it becomes the log by being renamed.
    remove_if_there(&*options.disk, &dir.join(NEXT_FILE)).map_err(failed("remove left-over of"))?;
    let (log, memory, fresh) = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => match read(dir, &file, options) {
            Ok((found, memory)) => (settle(file, found, &*options.disk).map_err(failed("sync"))?, memory, false),
            Err(ReadError::Newer(found)) => {
                return Err(OpenError::Newer { found, known: FORMAT_VERSION });
            }
            Err(ReadError::Io(source)) => return Err(failed("read")(source)),
            Err(ReadError::Damaged(why)) => {
                let kept_at = keep_aside(dir).map_err(failed("keep aside"))?;
                let (log, memory) = start_fresh(dir, options, kept_at, why)?;
                (log, memory, true)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (log, memory) = match last_kept(dir) {
                Some(kept_at) => start_fresh(dir, options, kept_at, "found before, and not settled".into())?,
                None => first_log(dir, options).map_err(failed("create"))?,
            };
            (log, memory, true)
        }
        Err(source) => return Err(failed("open")(source)),
    };
    sync_dir(dir).map_err(failed("sync folder of"))?;
    let reserve = Reserve::open(dir, Arc::clone(&options.disk), now).map_err(failed("set space aside for"))?;
    let log = log.into_log(dir, options, reserve);
    Ok(Opened { log, memory, fresh })
}

/// Everything of a [`Log`] that its file tells.
struct FileState {
    file: File,
    identity: [u8; 16],
    at: u64,
    sequence: u64,
    allocated: u64,
    snapshot_end: u64,
}

impl FileState {
    fn into_log(self, dir: &Path, options: &Options, reserve: Reserve) -> Log {
        Log {
            disk: Arc::clone(&options.disk),
            dir: dir.to_owned(),
            file: self.file,
            identity: self.identity,
            at: self.at,
            sequence: self.sequence,
            allocated: self.allocated,
            snapshot_end: self.snapshot_end,
            growth_max: options.log_growth_max,
            reserve,
            compact_after: 0,
        }
    }
}

enum ReadError {
    Newer(u32),
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Found {
    identity: [u8; 16],
    file_len: u64,
    snapshot_end: u64,
    end: End,
}

fn read(dir: &Path, file: &File, options: &Options) -> Result<(Found, Memory), ReadError> {
    let file_len = file.metadata()?.len();
    let mut header = [0; FILE_HEADER_LEN];
    if file_len < FILE_HEADER_LEN as u64 {
        return Err(ReadError::Damaged("the file ends within its header".into()));
    }
    file.read_exact_at(&mut header, 0)?;
    let identity = match snapshot::read_file_header(&header) {
        FileHeader::Known { identity } => identity,
        FileHeader::Newer(found) => return Err(ReadError::Newer(found)),
        FileHeader::Broken(why) => return Err(ReadError::Damaged(why)),
    };
    let walk = Walk { file, file_len, salt: snapshot::salt(&identity) };
    let mut replay = Replay::new(options.history_changes_max);
    let walked = walk.run(FILE_HEADER_LEN as u64, |payload, end| replay.take(payload, end));
    let end = walked.map_err(|error| match error {
        WalkError::Damaged(why) => ReadError::Damaged(why),
        WalkError::Io(error) => ReadError::Io(error),
    })?;
    let Some(snapshot_end) = replay.snapshot_end else {
        return Err(ReadError::Damaged("the snapshot is not whole".into()));
    };
    if end.cut_short {
        tracing::warn!(at = end.at, dir = %dir.display(), "the last write of the log was cut short by a crash; it is dropped");
    }
    Ok((Found { identity, file_len, snapshot_end, end }, replay.memory))
}

/// The state as the records build it up.
struct Replay {
    memory: Memory,
    begun: bool,
    snapshot_end: Option<u64>,
}

impl Replay {
    fn new(history_changes_max: usize) -> Self {
        let history = History::new(FIRST_REVISION, history_changes_max);
        Self { memory: Memory { state: State::new(), history }, begun: false, snapshot_end: None }
    }

    fn take(&mut self, payload: &[u8], frame_end: u64) -> Result<(), String> {
        for record in record::decode_all(payload)? {
            self.check_place(&record)?;
            match record {
                Record::Head { known_from, .. } => {
                    self.begun = true;
                    self.memory.history.forget_below(known_from);
                }
                Record::Tail { keys, leases } => {
                    self.check_counts(keys, leases)?;
                    self.snapshot_end = Some(frame_end);
                }
                _ => {}
            }
            self.memory.take(record)?;
        }
        self.memory.history.trim();
        Ok(())
    }

    /// A snapshot has a head, a body and a tail, and what the log adds comes after.
    fn check_place(&self, record: &Record) -> Result<(), String> {
        let fits = match record {
            Record::Head { .. } => !self.begun,
            Record::Key(..) | Record::Tail { .. } => self.begun && self.snapshot_end.is_none(),
            Record::Grant { .. } => self.begun,
            Record::Commit { .. } | Record::End { .. } | Record::Compact { .. } => self.snapshot_end.is_some(),
        };
        if fits { Ok(()) } else { Err("a record is out of place".into()) }
    }

    fn check_counts(&self, keys: u64, leases: u64) -> Result<(), String> {
        let state = &self.memory.state;
        let found = (state.keys.len() as u64, state.leases.len() as u64);
        if found == (keys, leases) { Ok(()) } else { Err("the snapshot lacks keys or leases".into()) }
    }
}

/// Makes sure that what was just read is also durable: the last process may have died between writing and syncing, or
/// after a sync that failed (then its pages count as written although they are not: so they are written again).
fn settle(file: File, found: Found, disk: &dyn Disk) -> io::Result<FileState> {
    let Found { identity, file_len, snapshot_end, end } = found;
    if let Some((at, len)) = end.last {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at)?;
        disk.overwrite(&file, &bytes, at)?;
    }
    if end.cut_short {
        let zeros = vec![0; 64 << 10];
        let mut at = end.at;
        while at < file_len {
            let len = usize::try_from(file_len - at).unwrap_or(usize::MAX).min(zeros.len());
            disk.overwrite(&file, &zeros[..len], at)?;
            at += len as u64;
        }
    }
    disk.sync(&file)?;
    Ok(FileState { file, identity, at: end.at, sequence: end.sequence, allocated: file_len, snapshot_end })
}

fn start_fresh(dir: &Path, options: &Options, kept_at: PathBuf, why: String) -> Result<(FileState, Memory), OpenError> {
    if !options.accept_fresh {
        return Err(OpenError::Damaged { kept_at, why });
    }
    tracing::warn!(kept_at = %kept_at.display(), why, "the store is damaged; starting with an empty one, as was asked");
    let failed = |source| OpenError::Io { what: "create", path: dir.join(LOG_FILE), source };
    first_log(dir, options).map_err(failed)
}

fn first_log(dir: &Path, options: &Options) -> io::Result<(FileState, Memory)> {
    let mut identity = [0; 16];
    getrandom::fill(&mut identity).map_err(|error| io::Error::other(error.to_string()))?;
    let memory = Replay::new(options.history_changes_max).memory;
    let known_from: Revision = memory.history.known_from();
    let next = dir.join(NEXT_FILE);
    let file = create(&next)?;
    let end = snapshot::write(&file, &*options.disk, &identity, &memory.state, known_from)?;
    let allocated = extend_zeros(&*options.disk, &file, end.at, end.at + FIRST_ROOM)?;
    options.disk.sync(&file)?;
    options.disk.rename(&next, &dir.join(LOG_FILE))?;
    let log = FileState { file, identity, at: end.at, sequence: end.sequence, allocated, snapshot_end: end.at };
    Ok((log, memory))
}

fn kept_name(dir: &Path, n: u32) -> PathBuf {
    dir.join(format!("{LOG_FILE}.damaged-{n}"))
}

/// The damaged log that was kept last, if any.
fn last_kept(dir: &Path) -> Option<PathBuf> {
    (1..=KEPT_MAX).map(|n| kept_name(dir, n)).take_while(|path| path.exists()).last()
}

fn keep_aside(dir: &Path) -> io::Result<PathBuf> {
    let free = (1..=KEPT_MAX).map(|n| kept_name(dir, n)).find(|path| !path.exists());
    let kept_at = free.ok_or_else(|| io::Error::other(format!("{KEPT_MAX} damaged logs are kept already")))?;
    std::fs::rename(dir.join(LOG_FILE), &kept_at)?;
    sync_dir(dir)?;
    Ok(kept_at)
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
