//! A clone with one work tree a side, seen as the product sees it: looks, change sets with symbols, the index's questions
//! answered in the mirror. Beside it the truth: git's own merge of the same trees, made without the product.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rr_core::id::{CommitId, HostId, ObjectId, RepoId};
use rr_core::live::{ChangeSet, FileChange, Rest, Target, TreeKey};
use rr_core::overlap::{Answer, Index, Question, Standing, is_sweep};
use rr_git::{Look, Looked, Merged, Mirror, Worktree};
use rr_symbols::Parses;

use crate::world::{EXEC, LINK, Tree};

const TEXT_BYTES_MAX: usize = 1 << 20;
const HOSTS: usize = 3;

pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let done = git_output(folder, args, &[], b"");
    assert!(done.status.success(), "git {args:?} in {}: {}", folder.display(), String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

pub(crate) fn git_output(folder: &Path, args: &[&str], env: &[(&str, &OsStr)], input: &[u8]) -> Output {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=bench", "-c", "user.email=bench@example.org"]).args(args);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").envs(env.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("git starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let done = child.wait_with_output().expect("git ends");
    writer.join().expect("the writer ends");
    done
}

pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = what();
    (done, start.elapsed())
}

pub(crate) fn bench_folder() -> tempfile::TempDir {
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(base).expect("make a folder")
}

/// How a side's work lies in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    Committed,
    Staged,
    Untracked,
}

impl Lies {
    pub(crate) fn of(nr: usize) -> Self {
        [Self::Committed, Self::Staged, Self::Untracked][nr % 3]
    }
}

pub(crate) struct Side {
    pub(crate) tree: Worktree,
    pub(crate) key: TreeKey,
    pub(crate) look: Option<Look>,
    pub(crate) set: Option<ChangeSet>,
    pub(crate) parses: bool,
}

pub(crate) struct Stage {
    room: tempfile::TempDir,
    pub(crate) clone: PathBuf,
    pub(crate) mirror: Mirror,
    pub(crate) target: Target,
    pub(crate) sides: Vec<Side>,
    pub(crate) merges: usize,
}

pub(crate) fn key(nr: usize) -> TreeKey {
    let host = HostId::parse(&format!("{:032x}", nr % HOSTS)).expect("an id");
    TreeKey { host, tree: format!("t{nr:03}") }
}

pub(crate) fn pairs(count: usize) -> Vec<(usize, usize)> {
    (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect()
}

/// Makes one tree of files another on disk.
pub(crate) fn write_out(root: &Path, before: &Tree, after: &Tree) {
    for path in before.keys().filter(|path| after.get(*path) != before.get(*path)) {
        let file = root.join(path);
        drop(std::fs::remove_file(&file));
        for folder in file.ancestors().skip(1).take_while(|folder| *folder != root) {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    for (path, (mode, content)) in after.iter().filter(|(path, entry)| before.get(*path) != Some(entry)) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().expect("below the root")).expect("make a folder");
        if *mode == LINK {
            symlink(OsStr::new(std::str::from_utf8(content).expect("text")), &file).expect("link");
            continue;
        }
        std::fs::write(&file, content).expect("write");
        let bits = if *mode == EXEC { 0o755 } else { 0o644 };
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(bits)).expect("set its mode");
    }
}

/// Leaves what stands in a work tree as it is to lie.
pub(crate) fn leave(root: &Path, lies: Lies) {
    match lies {
        Lies::Committed => {
            git(root, &["add", "-A"]);
            git(root, &["commit", "-q", "--allow-empty", "-m", "work"]);
        }
        Lies::Staged => drop(git(root, &["add", "-A"])),
        Lies::Untracked => {}
    }
}

impl Stage {
    /// A clone at this base, without sides.
    pub(crate) fn of(base: &Tree) -> Self {
        let room = bench_folder();
        let clone = room.path().join("clone");
        std::fs::create_dir(&clone).expect("make a folder");
        git(&clone, &["init", "-q", "-b", "main"]);
        write_out(&clone, &Tree::new(), base);
        leave(&clone, Lies::Committed);
        let commit = git(&clone, &["rev-parse", "HEAD"]);
        Self::at(room, clone, &commit)
    }

    pub(crate) fn at(room: tempfile::TempDir, clone: PathBuf, commit: &str) -> Self {
        let tree = Worktree::discover(&clone).expect("readable").expect("a work tree");
        let mirror = Mirror::open(&room.path().join("mirror.git"), &tree).expect("open the mirror");
        mirror.borrow_from(&tree).expect("borrow");
        let target = Target { branch: "main".to_owned(), commit: CommitId::parse(commit).expect("a commit") };
        Self { room, clone, mirror, target, sides: vec![], merges: 0 }
    }

    pub(crate) fn add_side(&mut self) -> PathBuf {
        let nr = self.sides.len();
        let root = self.room.path().join(format!("side{nr}"));
        let (path, base) = (root.to_str().expect("text"), self.target.commit.as_str());
        git(&self.clone, &["worktree", "add", "-q", "--detach", path, base]);
        let tree = Worktree::discover(&root).expect("readable").expect("a work tree");
        self.sides.push(Side { tree, key: key(nr), look: None, set: None, parses: true });
        root
    }

    pub(crate) fn folder(&self) -> &Path {
        self.room.path()
    }

    /// One look at a side and what it changes, as a sidecar makes it. Whether it was as before.
    pub(crate) fn see(&mut self, nr: usize, rest: Rest) -> bool {
        let (mirror, target) = (self.mirror.clone(), self.target.clone());
        let side = &mut self.sides[nr];
        let look = match mirror.look(&side.tree, side.look.as_ref()).expect("look") {
            Looked::Same => return true,
            Looked::Changed(look) => look,
            Looked::Restless(why) => panic!("nobody writes there: {why}"),
        };
        let changes = mirror.changes(&look, Some(&target)).expect("told");
        let mut parses = true;
        let files = changes.files.into_iter().map(|file| read(&mirror, file, &mut parses)).collect();
        let head = look.head.as_ref().map(|head| mirror.prefix(head).expect("its tree"));
        side.set = Some(ChangeSet {
            repo: RepoId::parse("00000000000000aa").expect("an id"),
            root: side.tree.root.display().to_string(),
            branch: format!("side{nr}"),
            head: look.head.clone(),
            target: Some(target),
            tree: look.tree.clone(),
            committed: head.as_ref() == Some(&look.tree),
            onto: changes.onto,
            rest,
            writers: vec![],
            remote: None,
            files,
            left_out: changes.left_out,
        });
        (side.look, side.parses) = (Some(look), parses);
        false
    }

    /// Whoever writes there is done.
    pub(crate) fn rests(&mut self, nr: usize) {
        if let Some(set) = &mut self.sides[nr].set {
            set.rest = Rest::Settled;
        }
    }

    pub(crate) fn put(&self, index: &mut Index, nr: usize) {
        let side = &self.sides[nr];
        index.put(side.key.clone(), side.set.clone());
        let sweep = side.set.as_ref().is_some_and(is_sweep);
        index.stand(&side.key, if sweep { Standing::Aside } else { Standing::Live });
    }

    /// Answers every merge that is asked for; checks are left open.
    pub(crate) fn answer_merges(&mut self, index: &mut Index) {
        let base = self.mirror.prefix(&self.target.commit).expect("its tree");
        loop {
            let asked: Vec<_> =
                index.questions().into_iter().filter(|q| !matches!(q, Question::Check { .. })).collect();
            if asked.is_empty() {
                return;
            }
            for question in asked {
                self.merges += 1;
                let answer = match self.mirror.answer(&question, Some(&base)).expect("git merges") {
                    Merged::Clean(_) => Answer::Clean,
                    Merged::Conflict { paths, excerpt } => Answer::Conflict { paths, excerpt },
                    Merged::Missing(ids) => panic!("all is here: {ids:?}"),
                };
                index.answer(&question, answer);
            }
        }
    }

    pub(crate) fn number(&self, key: &TreeKey) -> usize {
        self.sides.iter().position(|side| side.key == *key).expect("a side")
    }

    /// The tree of a side as `git add -A` sees it, as a commit on the base: nothing of the product is in it.
    pub(crate) fn true_commit(&self, nr: usize) -> String {
        let side = &self.sides[nr].tree;
        let index = self.room.path().join(format!("index{nr}"));
        drop(std::fs::copy(side.git_dir.join("index"), &index));
        let env = [("GIT_INDEX_FILE", index.as_os_str())];
        assert!(git_output(&side.root, &["add", "-A"], &env, b"").status.success());
        let tree = git_output(&side.root, &["write-tree"], &env, b"").stdout;
        let tree = String::from_utf8_lossy(&tree).trim().to_owned();
        git(&side.root, &["commit-tree", &tree, "-p", self.target.commit.as_str(), "-m", "side"])
    }

    /// What git conflicts on: for each pair its paths.
    pub(crate) fn truth(&self) -> BTreeMap<(usize, usize), BTreeSet<String>> {
        let commits: Vec<String> = (0..self.sides.len()).map(|nr| self.true_commit(nr)).collect();
        let conflict = |(a, b): (usize, usize)| {
            let paths = self.git_merges(&commits[a], &commits[b])?;
            Some(((a, b), paths))
        };
        pairs(commits.len()).into_iter().filter_map(conflict).collect()
    }

    /// None: clean.
    pub(crate) fn git_merges(&self, ours: &str, theirs: &str) -> Option<BTreeSet<String>> {
        let source = format!("--attr-source={ours}");
        let base = format!("--merge-base={}", self.target.commit);
        let args = [&source, "merge-tree", "--write-tree", "--no-messages", "--name-only", "-z", &base, ours, theirs];
        let done = git_output(&self.clone, &args, &[], b"");
        match done.status.code() {
            Some(0) => None,
            Some(1) => Some(names(&done.stdout)),
            _ => panic!("git cannot merge: {}", String::from_utf8_lossy(&done.stderr)),
        }
    }

    /// The tree of two that merge.
    pub(crate) fn merged_tree(&self, ours: &str, theirs: &str) -> Option<ObjectId> {
        let base = format!("--merge-base={}", self.target.commit);
        let done = git_output(&self.clone, &["merge-tree", "--write-tree", &base, ours, theirs], &[], b"");
        let tree = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        done.status.success().then(|| ObjectId::parse(&tree).expect("a tree"))
    }
}

fn names(out: &[u8]) -> BTreeSet<String> {
    let words = out.split(|byte| *byte == 0).skip(1).filter(|word| !word.is_empty());
    // Git puts a file that is in the way of a folder beside it.
    words.map(|word| String::from_utf8_lossy(word).split('~').next().unwrap_or_default().to_owned()).collect()
}

fn read(mirror: &Mirror, file: FileChange, parses: &mut bool) -> FileChange {
    if file.binary {
        return file;
    }
    let bytes = |entry: Option<&rr_core::live::Entry>| {
        entry.and_then(|entry| mirror.bytes(&entry.id, TEXT_BYTES_MAX).expect("readable"))
    };
    let (old, new) = (bytes(file.from.as_ref()), bytes(file.to.as_ref()));
    let compared = rr_symbols::compare(&file.path, old.as_deref(), new.as_deref(), &file.ranges);
    *parses &= compared.parses != Parses::WorseThanBefore;
    let (symbols, uses, packages) = (compared.symbols, compared.uses, compared.packages);
    FileChange { symbols, uses, packages, layout_only: compared.layout_only, ..file }
}
