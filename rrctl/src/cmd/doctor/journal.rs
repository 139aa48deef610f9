//! The journal: whether each byte of it is what was written, how large it is, and whether it can be written.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rr_journal::{Checked, Reader};
use rr_runtime::dirs::Dirs;

use super::Row;

const CHECK: &str = "journal";
/// Damaged places that are named; the others are counted.
const PLACES_MAX: usize = 3;
const OTHERS: u32 = 0o077;
/// With less room than this the next segment may not fit.
const FREE_BYTES_MIN: u64 = 64 << 20;

pub(super) fn journal(dirs: &Dirs) -> Vec<Row> {
    let folder = dirs.journal_dir();
    if !folder.exists() {
        return vec![Row::ok(CHECK, "none yet: the first start makes it")];
    }
    let checked = Reader::open(&folder).verify();
    vec![chain(&checked, &folder), writable(&folder)]
}

fn chain(checked: &Checked, folder: &Path) -> Row {
    let (first, last) = (checked.first, checked.head.sequence);
    let size = checked.bytes >> 20;
    let found =
        format!("entries {first} to {last} in {} files, {size} MiB, each continues the one before", checked.segments);
    if checked.damage.is_empty() {
        return Row::ok(CHECK, found);
    }
    let mut places: Vec<String> = checked.damage.iter().take(PLACES_MAX).map(ToString::to_string).collect();
    if checked.damage.len() > PLACES_MAX {
        places.push(format!("{} more", checked.damage.len() - PLACES_MAX));
    }
    let todo = format!(
        "the rest stays readable; keep a copy of {} if it matters who changed it; what was sealed can be put back from a backup",
        folder.display()
    );
    Row::fail(CHECK, places.join("; "), todo)
}

fn writable(folder: &Path) -> Row {
    const CHECK: &str = "journal room";
    let mode = fs::metadata(folder).map_or(0, |seen| seen.mode() & 0o7777);
    let probe = folder.join(format!("doctor-{}.next", std::process::id()));
    let written = fs::write(&probe, b"x");
    // It is ours, whatever came of it.
    let _ = fs::remove_file(&probe);
    let free = rustix::fs::statvfs(folder).map_or(u64::MAX, |seen| seen.f_bavail.saturating_mul(seen.f_frsize));
    match written {
        Err(error) => Row::fail(
            CHECK,
            format!("{}: {error}", folder.display()),
            "make it writable: until then every call that changes something is refused",
        ),
        Ok(()) if mode & OTHERS != 0 => {
            let todo = format!("chmod 700 {}", folder.display());
            Row::warn(CHECK, format!("{} has mode {mode:04o}: others can look into it", folder.display()), todo)
        }
        Ok(()) if free < FREE_BYTES_MIN => Row::warn(
            CHECK,
            format!("{} MiB free", free >> 20),
            "make room: when it is full, changing calls are refused",
        ),
        Ok(()) => Row::ok(CHECK, format!("{} ({mode:04o}) can be written", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rr_journal::{Entry, Event, Journal, Options, RealDisk};

    use super::super::State;
    use super::*;

    #[test]
    fn a_whole_journal_is_fine_and_a_changed_byte_is_a_finding() {
        let temp = tempfile::tempdir().expect("folder");
        let dirs = Dirs { state: temp.path().join("state"), runtime: temp.path().join("run") };
        assert_eq!(journal(&dirs)[0].state, State::Ok);
        let (open, _) = Journal::open(&dirs.journal_dir(), &Options::default(), Arc::new(RealDisk)).expect("opened");
        let event = Event::Told { text: "hello".into() };
        let entry = Entry { at_unix_ms: 1, session: None, agent_id: None, call: None, revision: 0, event };
        open.append_blocking(vec![entry.clone()]).expect("kept");
        open.append_blocking(vec![entry]).expect("kept");
        drop(open);
        let rows = journal(&dirs);
        assert!(rows.iter().all(|row| row.state == State::Ok), "{rows:?}");
        assert!(rows[0].found.starts_with("entries 1 to 2"), "{}", rows[0].found);
        let log = fs::read_dir(dirs.journal_dir()).expect("there").flatten().map(|entry| entry.path());
        let log = log.into_iter().find(|path| path.extension().is_some_and(|end| end == "log")).expect("a log");
        let mut bytes = fs::read(&log).expect("read");
        let at = bytes.windows(4).position(|four| four == b"RRjb").expect("a batch");
        bytes[at + 70] ^= 1;
        fs::write(&log, bytes).expect("written");
        assert_eq!(journal(&dirs)[0].state, State::Fail);
    }
}
