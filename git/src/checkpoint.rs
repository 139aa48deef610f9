//! A whole work tree at one moment, as a commit of the vault: untracked files in, ignored ones out (G23). The git program makes it
//! with an index of its own; the user's index, HEAD, refs and objects stay as they are. When it returns, the vault has every
//! object of it, whatever becomes of the work repository. When to make one is not its business.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rr_core::content::Content;
use rr_core::id::SessionId;

use crate::command::{Input, git, git_with};
use crate::disk::Folder;
use crate::vault::{Vault, VaultError};
use crate::worktree::Worktree;

const REFS: &str = "refs/railroad/checkpoints";
/// In a line of a checkpoint's message of which there is nothing to say.
const NOTHING: &[u8] = b"-";
/// Nobody's: a checkpoint of the machine's own accord has no author.
const AUTHOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "Railroad"),
    ("GIT_AUTHOR_EMAIL", "railroad@localhost"),
    ("GIT_COMMITTER_NAME", "Railroad"),
    ("GIT_COMMITTER_EMAIL", "railroad@localhost"),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub session: SessionId,
    /// Counts up within the session.
    pub number: u64,
    /// The commit in the vault.
    pub commit: String,
    pub at_unix_s: u64,
    pub root: PathBuf,
    /// The work tree's own commit at that time; none before its first.
    pub head: Option<String>,
    pub why: String,
}

impl Vault {
    /// Keeps the whole work tree.
    ///
    /// # Errors
    /// If git fails, or if the work repository names its objects by another hash than the vault.
    pub fn checkpoint(&self, tree: &Worktree, session: &SessionId, why: &str) -> Result<Checkpoint, VaultError> {
        self.borrow_from(tree)?;
        let scratch = Scratch::new(self.dir(), tree)?;
        let objects = self.dir().canonicalize().unwrap_or_else(|_| self.dir().to_owned()).join("objects");
        let lent = quoted(&tree.common_dir.join("objects"));
        let env: [(&str, &OsStr); 3] = [
            ("GIT_INDEX_FILE", scratch.index.as_os_str()),
            ("GIT_OBJECT_DIRECTORY", objects.as_os_str()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", &lent),
        ];
        let ask = |args: &[&str]| git_with(&tree.root, args, &Input { env: &env, ..Input::default() });
        ask(&["-c", "core.fsmonitor=false", "-c", "advice.addEmbeddedRepo=false", "add", "--all"])?;
        let made = line(&ask(&["write-tree"])?);
        let commit = self.commit_tree(tree, &made, why)?;
        self.take_in(&commit, &lent)?;
        let name = format!("{REFS}/{session}/{}", self.last_number(session)? + 1);
        self.own_git(&["update-ref", &name, &commit, ""], None, &[])?;
        let found = self.checkpoints(Some(session))?.into_iter().find(|c| c.commit == commit);
        found.ok_or_else(|| git2::Error::from_str("a checkpoint was made and is not there").into())
    }

    /// The highest that a checkpoint of this session has, whether or not it can be read.
    fn last_number(&self, session: &SessionId) -> Result<u64, VaultError> {
        let names = self.own_git(&["for-each-ref", "--format=%(refname)", &format!("{REFS}/{session}")], None, &[])?;
        let numbers =
            names.split(|b| *b == b'\n').filter_map(|name| std::str::from_utf8(name).ok()?.rsplit('/').next());
        Ok(numbers.filter_map(|number| number.parse().ok()).max().unwrap_or(0))
    }

    fn commit_tree(&self, tree: &Worktree, made: &str, why: &str) -> Result<String, VaultError> {
        let head = git(&tree.root, ["rev-parse", "--verify", "--quiet", "HEAD"]).map(|said| line(&said)).ok();
        // No parents: a checkpoint would keep the whole history, and the one before it, for ever.
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        // Git leaves empty lines at the begin of a message out.
        let mut message = if why.is_empty() { NOTHING.to_vec() } else { why.into_bytes() };
        message.extend_from_slice(b"\n\n");
        message.extend_from_slice(head.as_deref().map_or(NOTHING, str::as_bytes));
        message.push(b'\n');
        message.extend_from_slice(tree.root.as_os_str().as_bytes());
        let lent = quoted(&tree.common_dir.join("objects"));
        let mut env: Vec<(&str, &OsStr)> = AUTHOR.iter().map(|(k, v)| (*k, v.as_ref())).collect();
        env.push(("GIT_ALTERNATE_OBJECT_DIRECTORIES", &lent));
        Ok(line(&self.own_git(&["-c", "i18n.commitEncoding=binary", "commit-tree", made], Some(&message), &env)?))
    }

    /// Packs what the work repository has of it into the vault, except for what earlier checkpoints brought.
    fn take_in(&self, commit: &str, lent: &OsStr) -> Result<(), VaultError> {
        let earlier = self.own_git(&["for-each-ref", "--format=^%(objectname)", REFS], None, &[])?;
        let wanted = [commit.as_bytes(), b"\n", &earlier].concat();
        let env = [("GIT_ALTERNATE_OBJECT_DIRECTORIES", lent)];
        self.own_git(
            &["pack-objects", "-q", "--revs", "--delta-base-offset", "objects/pack/pack"],
            Some(&wanted),
            &env,
        )?;
        let packs = self.dir().join("objects/pack");
        let synced = Folder::open(&packs).and_then(|folder| self.disk().sync_folder(&folder));
        synced.map_err(|source| VaultError::Disk { doing: "sync", path: packs, source })?;
        self.look_again()
    }

    /// The checkpoints of a session, or of all, the oldest first.
    ///
    /// # Errors
    /// If git fails.
    pub fn checkpoints(&self, session: Option<&SessionId>) -> Result<Vec<Checkpoint>, VaultError> {
        let below = session.map_or_else(|| REFS.to_owned(), |s| format!("{REFS}/{s}"));
        let format = "--format=%(refname)%00%(objectname)%00%(committerdate:unix)%00%(contents)%00%00";
        let said = self.own_git(&["-c", "i18n.logOutputEncoding=binary", "for-each-ref", format, &below], None, &[])?;
        let mut found: Vec<Checkpoint> = split(&said, b"\0\0\n").filter_map(read).collect();
        found.sort_by(|a, b| (a.at_unix_s, &a.session, a.number).cmp(&(b.at_unix_s, &b.session, b.number)));
        Ok(found)
    }

    /// What a checkpoint holds, by paths below its root. Modes are git's: executable or not.
    ///
    /// # Errors
    /// If git fails.
    pub fn checkpoint_files(&self, commit: &str) -> Result<Vec<(PathBuf, Content)>, VaultError> {
        let said = self.own_git(&["ls-tree", "-r", "-z", commit], None, &[])?;
        Ok(said.split(|b| *b == 0).filter_map(listed).collect())
    }

    /// Lets go of a checkpoint; what only it held goes at the next tidying.
    ///
    /// # Errors
    /// If git fails.
    pub fn forget_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), VaultError> {
        let name = format!("{REFS}/{}/{}", checkpoint.session, checkpoint.number);
        self.own_git(&["update-ref", "-d", &name, &checkpoint.commit], None, &[])?;
        Ok(())
    }
}

/// An index for one use.
struct Scratch {
    index: PathBuf,
}

impl Scratch {
    /// A copy of the work tree's own: what is unchanged need not be read again.
    fn new(vault: &Path, tree: &Worktree) -> Result<Self, VaultError> {
        let mut bits = [0; 8];
        let _ = getrandom::fill(&mut bits);
        let folder = vault.canonicalize().unwrap_or_else(|_| vault.to_owned());
        let index = folder.join(format!("index-{}", rr_core::id::hex(&bits)));
        match std::fs::copy(tree.git_dir.join("index"), &index) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(VaultError::Disk { doing: "copy the index of", path: tree.root.clone(), source: e })
            }
            _ => Ok(Self { index }),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.index);
        let _ = std::fs::remove_file(self.index.with_extension("lock"));
    }
}

/// One entry of a list of folders: git splits it at colons, unless it is quoted.
fn quoted(folder: &Path) -> OsString {
    let mut text = vec![b'"'];
    for byte in folder.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    OsString::from_vec(text)
}

fn line(said: &[u8]) -> String {
    String::from_utf8_lossy(said).trim().to_owned()
}

fn split<'a>(bytes: &'a [u8], end: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let at = rest.windows(end.len()).position(|part| part == end)?;
        let part = &rest[..at];
        rest = &rest[at + end.len()..];
        Some(part)
    })
}

/// One ref as [`Vault::checkpoints`] asks for it.
fn read(record: &[u8]) -> Option<Checkpoint> {
    let mut fields = record.splitn(4, |b| *b == 0);
    let (name, commit, at, message) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let mut name = std::str::from_utf8(name).ok()?.rsplitn(3, '/');
    let (number, session) = (name.next()?.parse().ok()?, SessionId::parse(name.next()?).ok()?);
    let mut lines = message.splitn(4, |b| *b == b'\n');
    let (why, _, head, root) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    let root = root.strip_suffix(b"\n").unwrap_or(root);
    Some(Checkpoint {
        session,
        number,
        commit: line(commit),
        at_unix_s: line(at).parse().ok()?,
        root: PathBuf::from(OsString::from_vec(root.to_vec())),
        head: (head != NOTHING).then(|| line(head)),
        why: if why == NOTHING { String::new() } else { line(why) },
    })
}

/// One entry of `ls-tree -r -z`.
fn listed(entry: &[u8]) -> Option<(PathBuf, Content)> {
    let tab = entry.iter().position(|b| *b == b'\t')?;
    let mut fields = entry[..tab].split(|b| *b == b' ');
    let (mode, _, object) = (fields.next()?, fields.next()?, fields.next()?);
    let blob = std::str::from_utf8(object).ok()?.parse().ok()?;
    let content = match mode {
        b"100644" => Content::File { blob, mode: 0o644 },
        b"100755" => Content::File { blob, mode: 0o755 },
        b"120000" => Content::Link { blob },
        // Another repository's commit.
        _ => Content::Folder,
    };
    Some((PathBuf::from(OsStr::from_bytes(&entry[tab + 1..])), content))
}
