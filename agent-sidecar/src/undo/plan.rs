//! A rollback's plan on the disk, from before the first file is touched until the journal says what came of it: whoever starts after a
//! crash finishes it, or takes back what was done of it. A plan is the entry that the journal is to have when it is done. It plans
//! nothing and knows no session at work.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rr_core::rollback::{Place, Write};
use rr_git::{Applied, ApplyError, Contents as _, Vault, VaultError};
use rr_journal::{Entry, Event as Fact, FileChange, Filter, Journal, JournalError, Kind};
use rr_runtime::clock::unix_ms;
use rr_runtime::errors::chain;

const PLAN: &str = "plan";
/// Of a file that is not whole yet.
const NEXT: &str = "next";

/// The folder of plans.
pub(crate) struct Plans {
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Unfinished {
    #[error("write the rest of it")]
    Apply(#[from] ApplyError),
    #[error("look at what it wrote")]
    Look(#[from] VaultError),
    #[error("write down what came of it")]
    Journal(#[from] JournalError),
}

impl Plans {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.dir.clone()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.{PLAN}"))
    }

    /// Keeps the plan of the rollback of that number. When it returns, it would survive the death of the machine.
    pub(super) fn keep(&self, number: u64, entry: &Entry) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let (path, next) = (self.path(number), self.dir.join(format!("{number}.{NEXT}")));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&rr_journal::encode(entry))?;
        file.sync_all()?;
        fs::rename(next, path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// What came of it is in the journal, or nothing came of it. One that stays is looked at again by the next start.
    pub(super) fn forget(&self, number: u64) {
        if let Err(error) = fs::remove_file(self.path(number)) {
            tracing::warn!(number, %error, "remove the plan of a rollback that is over");
        }
    }

    fn left(&self) -> Vec<(u64, Entry)> {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let plan = |path: PathBuf| {
            let is_plan = path.extension().is_some_and(|end| end == PLAN);
            let number = path.file_stem().filter(|_| is_plan)?.to_str()?.parse().ok()?;
            match fs::read(&path).map(|bytes| rr_journal::decode(&bytes)) {
                Ok(Ok(entry)) => Some((number, entry)),
                other => {
                    tracing::error!(plan = %path.display(), ?other, "the plan of a rollback that was cut off cannot be read");
                    None
                }
            }
        };
        let mut all: Vec<(u64, Entry)> = names.filter_map(plan).collect();
        all.sort_by_key(|(number, _)| *number);
        all
    }

    /// Ends what an earlier life left half done, before anybody may write: finished, or all of it taken back. Answers the calls that
    /// are over by that. Blocks.
    pub(crate) fn finish(&self, vault: &Vault, journal: &Journal) -> HashSet<String> {
        let mut over = HashSet::new();
        for (number, entry) in self.left() {
            match finish(vault, journal, number, &entry) {
                Ok(()) => {
                    self.forget(number);
                    over.extend(entry.call);
                }
                Err(error) => tracing::error!(
                    number,
                    error = &error as &dyn std::error::Error,
                    "a rollback that was cut off stays as it is until the next start"
                ),
            }
        }
        over
    }
}

fn finish(vault: &Vault, journal: &Journal, number: u64, entry: &Entry) -> Result<(), Unfinished> {
    let Fact::RolledBack { of, undone, changes, undoes } = &entry.event else { return Ok(()) };
    if is_over(journal, entry) {
        return Ok(());
    }
    let writes: Vec<Write> = changes.iter().filter(|c| c.before != c.after).map(write).collect();
    let (event, how) = match rr_git::apply(vault, number, &writes) {
        Ok(applied) => {
            tracing::warn!(number, files = writes.len(), "a rollback that was cut off is finished");
            let changes = changes.iter().map(|change| with_outcome(change, &applied)).collect();
            (
                Fact::RolledBack { of: of.clone(), undone: undone.clone(), changes, undoes: *undoes },
                "finished after a crash",
            )
        }
        Err(error) => {
            take_back(vault, number, &writes)?;
            tracing::warn!(number, why = chain(&error), "a rollback that was cut off is taken back");
            (Fact::Done { ok: false, changes: Vec::new() }, "taken back after a crash")
        }
    };
    let ended = Fact::SessionEnded { how: how.into() };
    let entries = vec![
        Entry { at_unix_ms: unix_ms(), event, ..entry.clone() },
        Entry { at_unix_ms: unix_ms(), call: None, event: ended, ..entry.clone() },
    ];
    journal.append_blocking(entries)?;
    Ok(())
}

/// Whether the journal has the end of it: only its plan was still there.
fn is_over(journal: &Journal, entry: &Entry) -> bool {
    let session = entry.session.as_ref().map(ToString::to_string);
    let filter = Filter { session, kinds: Some(vec![Kind::RolledBack, Kind::Done]), ..Filter::default() };
    journal.reader().query(&filter).flatten().any(|(_, found)| found.call == entry.call)
}

fn write(change: &FileChange) -> Write {
    let place = Place { root: change.root.clone(), path: change.path.as_path().to_owned() };
    Write { place, expects: change.before, becomes: change.after, undoes: Vec::new() }
}

/// A folder may have stayed because somebody has files in it.
fn with_outcome(change: &FileChange, applied: &[Applied]) -> FileChange {
    let outcome = applied.iter().find(|a| a.place == write(change).place && a.before == change.before);
    FileChange { after: outcome.map_or(change.after, |a| a.after), ..change.clone() }
}

/// Puts back what was written before it was cut off. Each write keeps its place in the list, by which what it left lying about is named.
fn take_back(vault: &Vault, number: u64, writes: &[Write]) -> Result<(), Unfinished> {
    let mut back = Vec::new();
    for write in writes {
        let stands = vault.stands(&write.place)?;
        let becomes = if stands == write.becomes { write.expects } else { stands };
        back.push(Write { expects: stands, becomes, ..write.clone() });
    }
    rr_git::apply(vault, number, &back)?;
    Ok(())
}

#[cfg(test)]
#[path = "../../../git/tests/disks/mod.rs"]
mod disks;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use rr_core::id::SessionId;
    use rr_core::path::RepoPath;
    use rr_git::disk::RealDisk;

    use super::disks::{End, Failing};
    use super::*;

    const NUMBER: u64 = 7;
    const FILES: usize = 6;

    /// A work tree; its vault serves all of a test's, since making one takes longest.
    struct Room<'v>(tempfile::TempDir, &'v Path);

    impl<'v> Room<'v> {
        fn new(vault: &'v Path) -> Self {
            let room = Self(tempfile::tempdir().expect("a folder"), vault);
            fs::create_dir(room.0.path().join("tree")).expect("made");
            room
        }

        fn file(&self, n: usize) -> PathBuf {
            self.0.path().join(format!("tree/{n}.txt"))
        }

        fn vault(&self, disk: Arc<dyn rr_git::disk::Disk>) -> Vault {
            Vault::open(self.1, disk).expect("opened")
        }

        fn journal(&self) -> Journal {
            let disk = Arc::new(rr_journal::RealDisk);
            Journal::open(&self.0.path().join("journal"), &rr_journal::Options::default(), disk).expect("opened").0
        }

        fn plans(&self) -> Plans {
            Plans::new(self.0.path().join("plans"))
        }

        /// Files that are to become what they were, one that is to go and one that is to come back.
        fn planned(&self, vault: &Vault) -> Entry {
            let keep = |n| vault.keep(&self.file(n)).expect("kept");
            (1..FILES).for_each(|n| fs::write(self.file(n), format!("{n} before")).expect("written"));
            let before: Vec<_> = (0..FILES).map(keep).collect();
            fs::remove_file(self.file(1)).expect("removed");
            for n in [0, 2, 3, 4, 5] {
                fs::write(self.file(n), format!("{n} after")).expect("written");
            }
            let change = |n: usize| FileChange {
                root: self.0.path().join("tree"),
                path: RepoPath::parse(format!("{n}.txt").as_bytes()).expect("legal"),
                before: keep(n),
                after: before[n],
                foreseen: true,
            };
            let event = Fact::RolledBack {
                of: SessionId::from_random([1; 16]),
                undone: vec![3],
                changes: (0..FILES).map(change).collect(),
                undoes: None,
            };
            let session = Some(SessionId::from_random([2; 16]));
            Entry { at_unix_ms: 1, session, agent_id: None, call: Some("rollback-1".into()), revision: 0, event }
        }

        /// What stands there, and that nothing lies about.
        fn seen(&self) -> Vec<Option<String>> {
            for entry in fs::read_dir(self.0.path().join("tree")).expect("look").flatten() {
                assert!(!entry.file_name().to_string_lossy().starts_with(".railroad"), "{:?}", entry.path());
            }
            (0..FILES).map(|n| fs::read_to_string(self.file(n)).ok()).collect()
        }
    }

    fn before() -> Vec<Option<String>> {
        (0..FILES).map(|n| (n > 0).then(|| format!("{n} before"))).collect()
    }

    fn after() -> Vec<Option<String>> {
        (0..FILES).map(|n| (n != 1).then(|| format!("{n} after"))).collect()
    }

    fn ends(journal: &Journal) -> Vec<Fact> {
        let filter = Filter { kinds: Some(vec![Kind::RolledBack, Kind::Done]), ..Filter::default() };
        journal.reader().query(&filter).map(|found| found.expect("whole").1.event).collect()
    }

    /// Cuts a rollback off after so many steps of the disk: whether it was.
    fn cut_off(room: &Room<'_>, steps: usize) -> bool {
        let disk = Arc::new(Failing::after(usize::MAX, End::Gone));
        let vault = room.vault(Arc::clone(&disk) as Arc<_>);
        let entry = room.planned(&vault);
        room.plans().keep(NUMBER, &entry).expect("kept");
        let Fact::RolledBack { changes, .. } = &entry.event else { panic!("a rollback") };
        let writes: Vec<Write> = changes.iter().map(write).collect();
        disk.run_out_after(steps);
        rr_git::apply(&vault, NUMBER, &writes).is_err()
    }

    #[test]
    fn a_rollback_cut_off_at_any_step_is_finished_by_the_next_start_and_written_down_once() {
        let store = tempfile::tempdir().expect("a folder");
        for steps in 0..400 {
            let room = Room::new(store.path());
            let was_cut = cut_off(&room, steps);
            let (vault, journal) = (room.vault(Arc::new(RealDisk)), room.journal());
            let over = room.plans().finish(&vault, &journal);
            assert_eq!(room.seen(), before(), "after {steps} steps");
            assert!(over.contains("rollback-1") && matches!(ends(&journal)[..], [Fact::RolledBack { .. }]));
            assert!(room.plans().left().is_empty());
            if !was_cut {
                assert!(steps > 20, "{steps}");
                return;
            }
        }
        panic!("it never came to its end");
    }

    #[test]
    fn what_somebody_changed_meanwhile_has_all_of_it_taken_back_at_any_step() {
        let store = tempfile::tempdir().expect("a folder");
        for steps in 0..400 {
            let room = Room::new(store.path());
            let was_cut = cut_off(&room, steps);
            fs::write(room.file(4), "somebody's").expect("written");
            let (vault, journal) = (room.vault(Arc::new(RealDisk)), room.journal());
            room.plans().finish(&vault, &journal);
            let mut expected = after();
            expected[4] = Some("somebody's".into());
            assert_eq!(room.seen(), expected, "after {steps} steps");
            assert!(matches!(&ends(&journal)[..], [Fact::Done { ok: false, changes }] if changes.is_empty()));
            if !was_cut {
                return;
            }
        }
        panic!("it never came to its end");
    }

    #[test]
    fn what_the_journal_knows_the_end_of_is_not_done_again() {
        let store = tempfile::tempdir().expect("a folder");
        let room = Room::new(store.path());
        let (vault, journal) = (room.vault(Arc::new(RealDisk)), room.journal());
        let entry = room.planned(&vault);
        room.plans().keep(NUMBER, &entry).expect("kept");
        journal.append_blocking(vec![entry]).expect("kept");
        room.plans().finish(&vault, &journal);
        assert_eq!(room.seen(), after(), "whoever has written since is left alone");
        assert!(room.plans().left().is_empty() && ends(&journal).len() == 1);
    }
}
