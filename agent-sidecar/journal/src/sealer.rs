//! The thread that brings ended segments into their last form, and forgets the oldest when there are too many. Nobody waits
//! for it: until it is done, and whenever it fails, the logs are read as they were written.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use crate::codec;
use crate::committer::Shared;
use crate::disk::Disk;
use crate::entry::{Entry, Event};
use crate::folder::{self, Form, NEXT, SegmentName};
use crate::journal::Options;
use crate::queue::Job;
use crate::scan::{self, Depth};
use crate::sealed;

/// So often it looks whether calls still pour in.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// More entries than this between two looks: some thousand calls a second, of which each waits for the processor.
const POURING_ENTRIES: u64 = 500;
/// Ended segments that wait at most: a query reads them whole.
const WAITING_MAX: usize = 16;

pub(crate) struct Sealer {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
}

/// What became of an ended segment.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    Sealed,
    /// There was nothing in it.
    Removed,
    /// It is damaged: it stays as it is, and what can be read of it stays readable.
    Left,
}

impl Sealer {
    /// Until the committer is gone. Each word is the segment that is written now.
    pub(crate) fn run(&self, words: &Receiver<SegmentName>) {
        while let Ok(active) = words.recv() {
            let active = self.wait_for_calm(words, active);
            if let Err(error) = self.seal_before(&active) {
                tracing::warn!(%error, "a segment of the journal could not be compressed; it is tried again later");
            }
            if let Err(error) = self.forget() {
                tracing::warn!(%error, "old segments of the journal could not be removed; it is tried again later");
            }
        }
    }

    /// Compressing can wait, calls cannot: not while they pour in, unless too much of it waits already. Answers which segment is
    /// written by then.
    fn wait_for_calm(&self, words: &Receiver<SegmentName>, mut active: SegmentName) -> SegmentName {
        let mut seen = self.shared.head().sequence;
        while self.waiting(&active) <= WAITING_MAX {
            match words.recv_timeout(LOOK_EVERY) {
                Ok(newer) => active = newer,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.shared.head().sequence;
                    if now - seen <= POURING_ENTRIES {
                        break;
                    }
                    seen = now;
                }
            }
        }
        active
    }

    fn waiting(&self, active: &SegmentName) -> usize {
        let names = folder::segments(&self.dir).unwrap_or_default();
        names.iter().filter(|name| name.form == Form::Log && *name < active).count()
    }

    fn seal_before(&self, active: &SegmentName) -> io::Result<()> {
        let names = folder::segments(&self.dir)?;
        let nexts = names.iter().skip(1);
        for (name, next) in names.iter().zip(nexts).take_while(|(name, _)| *name < active) {
            if name.form == Form::Log && self.seal(name, next.first)? == Became::Left {
                tracing::warn!(segment = %name.path(&self.dir).display(), "a damaged segment of the journal stays as it is");
            }
        }
        Ok(())
    }

    fn seal(&self, name: &SegmentName, end: u64) -> io::Result<Became> {
        let log = name.path(&self.dir);
        let mut scan = scan::scan(&fs::read(&log)?, Depth::Chain);
        // What was written and never kept: the next segment counts.
        scan.batches.retain(|batch| batch.first < end);
        let Some(begin) = scan.begin.filter(|_| scan.found.is_empty()) else {
            return Ok(if scan.batches.is_empty() { self.remove_empty(name, end)? } else { Became::Left });
        };
        if scan.batches.is_empty() {
            return self.remove_empty(name, end);
        }
        let Ok(sealed) = sealed::seal(&begin, &scan.batches) else { return Ok(Became::Left) };
        self.write(name, &sealed.bytes)?;
        if sealed::verify(&self.dir, &name.sealed(), |_, _| {}).is_err() {
            self.disk.remove(&name.sealed().path(&self.dir))?;
            return Err(io::Error::other("what was compressed does not read back"));
        }
        tracing::debug!(entries = sealed.entries, bytes = sealed.bytes.len(), "a segment of the journal is compressed");
        self.disk.remove(&log)?;
        Ok(Became::Sealed)
    }

    /// A segment that was given up before it held anything. One that should hold entries is evidence.
    fn remove_empty(&self, name: &SegmentName, end: u64) -> io::Result<Became> {
        if name.first != end {
            return Ok(Became::Left);
        }
        self.disk.remove(&name.path(&self.dir))?;
        Ok(Became::Removed)
    }

    /// The name appears when all of it is durable.
    fn write(&self, name: &SegmentName, bytes: &[u8]) -> io::Result<()> {
        let path = name.sealed().path(&self.dir);
        let next = path.with_extension(format!("sealed.{NEXT}"));
        let written = self.disk.create(&next).and_then(|file| {
            self.disk.write(&file, &next, bytes, 0)?;
            self.disk.sync(&file, &next)?;
            self.disk.rename(&next, &path)?;
            self.disk.sync_folder(&self.dir)
        });
        if written.is_err() {
            // Else the next try would find its name taken.
            drop(self.disk.remove(&next));
        }
        written
    }

    /// Removes the oldest sealed segments, as far as age and size ask for it. First it is written down that they went.
    fn forget(&self) -> io::Result<()> {
        let names = folder::segments(&self.dir)?;
        let sealed: Vec<&SegmentName> = names.iter().take_while(|name| name.form == Form::Sealed).collect();
        let mut sizes = Vec::new();
        for name in &sealed {
            let seen = fs::metadata(name.path(&self.dir))?;
            sizes.push((seen.len(), seen.modified()?.elapsed().unwrap_or(Duration::ZERO)));
        }
        let goes = going(&sizes, &self.options);
        // Something always stays behind them: the segment that is written.
        let (Some(next), true) = (names.get(goes), goes > 0) else { return Ok(()) };
        self.announce(next.first)?;
        for name in &sealed[..goes] {
            self.disk.remove(&name.path(&self.dir))?;
        }
        Ok(())
    }

    fn announce(&self, before: u64) -> io::Result<()> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let event = Event::Forgotten { before };
        let entry = Entry { at_unix_ms, session: None, agent_id: None, call: None, revision: 0, event };
        let mut bytes = Vec::new();
        codec::put_bytes(&mut bytes, &codec::encode(&entry));
        let (reply, answer) = oneshot::channel();
        let job = Job { entries: vec![entry], bytes, reply: Some(reply), answer_early: false };
        self.shared.queue.push(job).map_err(io::Error::other)?;
        match answer.blocking_recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(io::Error::other(error)),
            // It is being closed.
            Err(_) => Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// How many of the oldest go: those past their time, and as many as there are too many bytes.
fn going(sizes: &[(u64, Duration)], options: &Options) -> usize {
    let too_old = sizes.iter().take_while(|(_, age)| *age > options.keep_for).count();
    let mut left: u64 = sizes.iter().map(|(len, _)| len).sum();
    let mut too_many = 0;
    while left > options.keep_bytes && too_many < sizes.len() {
        left -= sizes[too_many].0;
        too_many += 1;
    }
    too_old.max(too_many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_by_age_or_by_size_and_never_out_of_order() {
        let hour = |n: u64| Duration::from_secs(n * 3_600);
        let options = |keep_bytes, hours| Options { keep_bytes, keep_for: hour(hours), ..Options::default() };
        let sizes = [(10, hour(9)), (10, hour(2)), (10, hour(5)), (10, hour(1))];
        assert_eq!(going(&sizes, &options(100, 100)), 0);
        assert_eq!(going(&sizes, &options(100, 8)), 1);
        assert_eq!(going(&sizes, &options(100, 3)), 1, "one that is younger stands before the old one");
        assert_eq!(going(&sizes, &options(25, 100)), 2);
        assert_eq!(going(&sizes, &options(0, 100)), 4);
        assert_eq!(going(&[], &options(0, 0)), 0);
    }
}
