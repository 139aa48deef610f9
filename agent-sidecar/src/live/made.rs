//! From a look at a work tree to its change set: git says what changed, the symbols' crate what that means. It keeps the last
//! look of its tree, so that an unchanged tree costs one pass over its files' times.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rr_core::id::SessionId;
use rr_core::live::{ChangeSet, FileChange, Rest, Resting, Seen, Target, TreeKey};
use rr_git::{Look, Looked, Mirror, MirrorError, Sent};
use rr_journal::Reader;
use rr_symbols::Parses;

use super::makers::{Makers, Touched};
use super::recall::written;
use crate::repos::Repo;

/// A larger file is compared by its lines only.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Names newly used that one file tells of.
const USES_MAX: usize = 200;

/// Makes the change sets of one work tree.
pub(super) struct Maker {
    mirror: Mirror,
    key: TreeKey,
    last: Mutex<Option<Last>>,
    makers: Mutex<Makers>,
}

struct Last {
    look: Look,
    target: Option<Target>,
    set: ChangeSet,
    parses: bool,
    resting: Resting,
    folders: BTreeSet<PathBuf>,
}

/// What is known of calls in a work tree when it is looked at.
pub(super) struct Calls {
    /// One that may change something is under way.
    pub busy: bool,
    /// One has ended since the look before.
    pub over: bool,
    /// What calls have changed since the look before.
    pub changed: Touched,
    /// What was written down of calls.
    pub journal: Reader,
}

pub(super) struct Made {
    pub set: ChangeSet,
    /// It is in flux: another look shows whether it has come to rest.
    pub again: bool,
    /// Folders of the work tree that git knows, to be watched.
    pub folders: BTreeSet<PathBuf>,
}

impl Maker {
    pub(super) fn open(mirrors: &Path, repo: &Repo, key: TreeKey) -> Result<Self, MirrorError> {
        let mirror = Mirror::open(&mirrors.join(format!("{}.git", repo.id)), &repo.tree)?;
        mirror.borrow_from(&repo.tree)?;
        Ok(Self { mirror, key, last: Mutex::default(), makers: Mutex::default() })
    }

    /// Puts what stands there where other machines can fetch it. Whether it is there.
    pub(super) fn send(&self, remote: &str) -> Result<bool, MirrorError> {
        match self.mirror.send(remote, &self.key)? {
            Sent::There { .. } | Sent::Known => Ok(true),
            Sent::NotKept => Ok(false),
            Sent::Refused(why) | Sent::Unreachable(why) => {
                tracing::info!(why, "other machines cannot be shown this work tree's contents");
                Ok(false)
            }
        }
    }

    /// Nobody works there any more.
    pub(super) fn forget(&self) {
        if let Err(error) = self.mirror.forget(&self.key) {
            tracing::debug!(error = &error as &dyn std::error::Error, "let go of a work tree's last look");
        }
    }

    /// `None`: it would not hold still, and was never seen.
    pub(super) fn look(
        &self,
        repo: &Repo,
        branch: Option<&str>,
        calls: Calls,
        writers: Vec<SessionId>,
    ) -> Result<Option<Made>, MirrorError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
        makers.hear(calls.changed);
        let (target, remote) = self.mirror.target(&repo.tree, branch)?.unzip();
        let remote = remote.flatten();
        let looked = self.mirror.look(&repo.tree, last.as_ref().map(|l| &l.look))?;
        let (look, same) = match (looked, last.as_ref()) {
            (Looked::Same, Some(last)) => (last.look.clone(), true),
            (Looked::Changed(look), _) => {
                // Under a name, so that nothing lets go of it while others compare it.
                self.mirror.keep(&self.key, &look)?;
                (look, false)
            }
            (Looked::Same | Looked::Restless(_), None) => return Ok(None),
            (Looked::Restless(_), Some(last)) => {
                return Ok(Some(Made { set: last.set.clone(), again: true, folders: last.folders.clone() }));
            }
        };
        let is_first = last.is_none();
        let mut resting = last.as_ref().map(|l| l.resting).unwrap_or_default();
        let (mut set, parses, folders) = match last.take() {
            Some(last) if same && last.target == target => (last.set, last.parses, last.folders),
            before => self.made(repo, &look, target.as_ref(), before)?,
        };
        set.rest = resting.step(Seen { parses, same, busy: calls.busy, call_over: calls.over });
        (set.writers, set.remote) = (writers, remote);
        if is_first {
            makers.recall(&set.files, written(&calls.journal, &repo.tree.root, &set.files));
        }
        // What a call does that is under way is not said yet: it may be in the middle of what nobody has said.
        if calls.busy && !makers.explain(&set.files) {
            set.rest = Rest::InFlux;
        }
        if !calls.busy || set.rest == Rest::Settled {
            makers.see(&set.files);
        }
        makers.sign(&mut set.files);
        let again = set.rest == Rest::InFlux && !same;
        let made = Made { set: set.clone(), again, folders: folders.clone() };
        *last = Some(Last { look, target, set, parses, resting, folders });
        Ok(Some(made))
    }

    fn made(
        &self,
        repo: &Repo,
        look: &Look,
        target: Option<&Target>,
        before: Option<Last>,
    ) -> Result<(ChangeSet, bool, BTreeSet<PathBuf>), MirrorError> {
        let changes = self.mirror.changes(look, target)?;
        let known = before.map(|last| last.set.files).unwrap_or_default();
        let mut parses = true;
        let files =
            changes.files.into_iter().map(|file| self.read(file, &known, &mut parses)).collect::<Result<_, _>>()?;
        let base = look.head.as_ref().map(|head| self.mirror.prefix(head)).transpose()?;
        let committed = base.as_ref() == Some(&look.tree);
        let mut folders: BTreeSet<PathBuf> =
            self.mirror.folders(&look.tree)?.iter().map(|f| repo.tree.root.join(f)).collect();
        // Where each commit leaves a line.
        folders.insert(repo.tree.git_dir.join("logs"));
        let set = ChangeSet {
            repo: repo.id.clone(),
            root: repo.tree.root.display().to_string(),
            branch: look.branch.clone(),
            head: look.head.clone(),
            target: target.cloned(),
            tree: look.tree.clone(),
            committed,
            onto: changes.onto,
            rest: Rest::InFlux,
            writers: vec![],
            remote: None,
            files,
            left_out: changes.left_out,
        };
        Ok((set, parses, folders))
    }

    /// What a change means for others.
    fn read(&self, file: FileChange, known: &[FileChange], parses: &mut bool) -> Result<FileChange, MirrorError> {
        let same = |k: &&FileChange| k.path == file.path && k.from == file.from && k.to == file.to;
        if let Some(known) = known.iter().find(same) {
            return Ok(known.clone());
        }
        if file.binary {
            return Ok(file);
        }
        let bytes = |entry: Option<&rr_core::live::Entry>| match entry {
            Some(entry) => self.mirror.bytes(&entry.id, TEXT_BYTES_MAX),
            None => Ok(None),
        };
        let (old, new) = (bytes(file.from.as_ref())?, bytes(file.to.as_ref())?);
        let mut compared = rr_symbols::compare(&file.path, old.as_deref(), new.as_deref(), &file.ranges);
        *parses &= compared.parses != Parses::WorseThanBefore;
        compared.uses.truncate(USES_MAX);
        Ok(FileChange {
            symbols: compared.symbols,
            uses: compared.uses,
            packages: compared.packages,
            layout_only: compared.layout_only,
            ..file
        })
    }
}
