//! The real git: commits a world, tells what each side changed with the merge's own diff, and merges. It is both the truth that the
//! index is judged by and the one who answers its questions; merges it was asked for are counted.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use rr_core::id::{CommitId, HostId, ObjectId, RepoId};
use rr_core::live::{ChangeSet, Entry, FileChange, GitPath, Lines, Onto, Rest, Target, TreeKey};
use rr_core::overlap::{Answer, Base, Index, Question};

use crate::world::{Tree, World};

const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

pub(crate) struct Git {
    folder: tempfile::TempDir,
    pub(crate) base: String,
    /// As they were committed last.
    looked_at: Vec<Tree>,
    commits: Vec<String>,
    trees: Vec<String>,
    pub(crate) merges: Cell<usize>,
}

pub(crate) fn key(nr: usize) -> TreeKey {
    let host = HostId::parse(&format!("{:032x}", nr % 3)).expect("an id");
    TreeKey { host, tree: format!("t{nr:02}") }
}

impl Git {
    pub(crate) fn of(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut git = Self {
            folder,
            base: String::new(),
            looked_at: vec![],
            commits: vec![],
            trees: vec![],
            merges: Cell::new(0),
        };
        git.run(&["init", "-q"], b"");
        git.base = git.import(&Tree::new(), &world.base, None);
        git.look(world);
        git
    }

    /// Commits what the sides have made of the base by now.
    pub(crate) fn look(&mut self, world: &World) {
        let base = self.base.clone();
        for (nr, side) in world.sides.iter().enumerate() {
            match self.looked_at.get(nr).filter(|before| *before == side) {
                Some(_) => {}
                None if nr < self.commits.len() => self.commits[nr] = self.import(&world.base, side, Some(&base)),
                None => self.commits.push(self.import(&world.base, side, Some(&base))),
            }
        }
        self.looked_at.clone_from(&world.sides);
        let asked: String = self.commits.iter().map(|commit| format!("{commit}^{{tree}}\n")).collect();
        let told = self.run(&["cat-file", "--batch-check=%(objectname)"], asked.as_bytes());
        self.trees = text(&told).lines().map(str::to_owned).collect();
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.quotePath=false"])
            .args(args)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("git starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let done = child.wait_with_output().expect("git ends");
        writer.join().expect("the writer ends").expect("git reads all of it");
        assert!(done.status.success(), "git {args:?}");
        done.stdout
    }

    fn import(&self, before: &Tree, after: &Tree, parent: Option<&str>) -> String {
        let mut stream = b"commit refs/heads/made\nmark :1\ncommitter a <a@example.org> 0 +0000\ndata 0\n".to_vec();
        if let Some(parent) = parent {
            stream.extend(format!("from {parent}\n").bytes());
        }
        for path in before.keys().filter(|path| !after.contains_key(*path)) {
            stream.extend(format!("D {path}\n").bytes());
        }
        for (path, (mode, content)) in after.iter().filter(|(path, entry)| before.get(*path) != Some(entry)) {
            stream.extend(format!("M {mode:o} inline {path}\ndata {}\n", content.len()).bytes());
            stream.extend(content);
            stream.push(b'\n');
        }
        stream.extend(b"get-mark :1\n");
        let out = self.run(&["fast-import", "--quiet", "--force", "--cat-blob-fd=1"], &stream);
        text(&out).trim().to_owned()
    }

    /// The change set of one side, as a sidecar would make it.
    pub(crate) fn change_set(&self, nr: usize) -> ChangeSet {
        let (commit, tree) = (&self.commits[nr], ObjectId::parse(&self.trees[nr]).expect("a tree"));
        let raw = self.run(&["diff-tree", "-r", "-z", "--raw", "-M", "--no-abbrev", &self.base, commit], b"");
        let mut files = raw_changes(text(&raw));
        let patch =
            ["diff-tree", "-r", "-p", "-U0", "--no-renames", "--diff-algorithm=histogram", "--no-indent-heuristic"];
        let patch = self.run(&[&patch[..], &[&self.base, commit]].concat(), b"");
        add_lines(&mut files, &String::from_utf8_lossy(&patch));
        let target = CommitId::parse(&self.base).expect("a commit");
        ChangeSet {
            repo: RepoId::parse("00000000000000aa").expect("an id"),
            root: format!("tree {nr}"),
            branch: format!("side{nr}"),
            head: Some(CommitId::parse(commit).expect("a commit")),
            target: Some(Target { branch: "main".to_owned(), commit: target }),
            tree: tree.clone(),
            committed: nr.is_multiple_of(2),
            onto: Onto::Clean(tree),
            rest: Rest::Settled,
            writers: vec![],
            remote: None,
            files: files.into_values().collect(),
            left_out: 0,
        }
    }

    /// What git conflicts on, for every pair of sides.
    pub(crate) fn truth(&self) -> BTreeMap<(usize, usize), BTreeSet<GitPath>> {
        let pairs = pairs(self.commits.len());
        let asked = pairs.iter().map(|(a, b)| [self.base.clone(), self.commits[*a].clone(), self.commits[*b].clone()]);
        let told = self.merge(&asked.collect::<Vec<_>>());
        pairs.into_iter().zip(told).filter_map(|(pair, told)| Some((pair, told?.into_keys().collect()))).collect()
    }

    /// The conflicts of each merge (base, ours, theirs), with git's words; none where it is clean.
    fn merge(&self, all: &[[String; 3]]) -> Vec<Option<BTreeMap<GitPath, String>>> {
        let asked: String = all.iter().map(|[base, a, b]| format!("{base} -- {a} {b}\n")).collect();
        let out = self.run(&["merge-tree", "--stdin"], asked.as_bytes());
        let mut words = text(&out).split('\0');
        all.iter().map(|_| one_merge(&mut words)).collect()
    }

    /// Puts answers to all that is asked until nothing is; how many merges that took is counted.
    pub(crate) fn answer_all(&self, index: &mut Index) {
        loop {
            let asked = index.questions();
            if asked.is_empty() {
                return;
            }
            for (question, answer) in asked.iter().zip(self.answers(&asked)) {
                index.answer(question, answer);
            }
        }
    }

    fn answers(&self, asked: &[Question]) -> Vec<Answer> {
        let merges: Vec<&Question> = asked.iter().filter(|q| !matches!(q, Question::Check { .. })).collect();
        self.merges.set(self.merges.get() + merges.len());
        let told = self.merge(&self.as_trees(&merges));
        let mut told = merges.iter().zip(told).map(|(question, told)| match (told, question) {
            (None, _) => Answer::Clean,
            (Some(paths), Question::Files { path, .. }) => {
                let words = paths.into_values().next().unwrap_or_default();
                Answer::Conflict { paths: vec![(path.clone(), words)], excerpt: String::new() }
            }
            (Some(paths), _) => Answer::Conflict { paths: paths.into_iter().collect(), excerpt: String::new() },
        });
        let mut answer = |question: &Question| match question {
            Question::Check { .. } => Answer::Clean,
            Question::Files { .. } | Question::Trees { .. } => told.next().expect("an answer each"),
        };
        asked.iter().map(&mut answer).collect()
    }

    /// One path is merged as a tree that holds nothing else.
    fn as_trees(&self, asked: &[&Question]) -> Vec<[String; 3]> {
        let mut wanted = Vec::new();
        for question in asked {
            if let Question::Files { path, base, ours, theirs, .. } = question {
                wanted.extend([base, ours, theirs].map(|entry| entry.as_ref().map(|entry| tree_of(path, entry))));
            }
        }
        let input: Vec<String> = wanted.iter().flatten().cloned().collect();
        let made = self.run(&["mktree", "--batch", "--missing"], input.join("\n").as_bytes());
        let mut made = text(&made).lines();
        let mut trees = wanted.iter().map(|tree| match tree {
            Some(_) => made.next().expect("a tree each").to_owned(),
            None => EMPTY_TREE.to_owned(),
        });
        let as_trees = |question: &&Question| match question {
            Question::Trees { base: Base::Target(base), ours, theirs, .. } => {
                [base.to_string(), ours.to_string(), theirs.to_string()]
            }
            Question::Files { .. } => [(); 3].map(|()| trees.next().expect("three trees")),
            other => panic!("not asked of these sides: {other:?}"),
        };
        asked.iter().map(as_trees).collect()
    }
}

pub(crate) fn pairs(count: usize) -> Vec<(usize, usize)> {
    (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect()
}

fn tree_of(path: &GitPath, entry: &Entry) -> String {
    let path = path.to_string();
    let name = path.rsplit('/').next().expect("a name");
    let kind = if entry.mode == 0o160_000 { "commit" } else { "blob" };
    format!("{:06o} {kind} {}\t{name}\n", entry.mode, entry.id)
}

fn one_merge<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<BTreeMap<GitPath, String>> {
    let clean = match words.next().map(str::trim) {
        Some("0") => false,
        Some("1") => true,
        other => panic!("git cannot merge: {other:?}"),
    };
    words.next().expect("a tree");
    let mut paths = BTreeMap::new();
    if !clean {
        for stage in words.by_ref().take_while(|word| !word.is_empty()) {
            let path = stage.split('\t').nth(1).expect("a path");
            // Git puts a file that is in the way of a folder beside it.
            let path = path.split('~').next().expect("a path");
            paths.insert(GitPath::from(path), String::new());
        }
    }
    while let Some(count) = words.next().filter(|word| !word.is_empty()) {
        let about: Vec<&str> = words.by_ref().take(count.parse().expect("a number of paths")).collect();
        let (_kind, said) = (words.next(), words.next().expect("a message"));
        for path in about {
            if let Some(words) = paths.get_mut(&GitPath::from(path)).filter(|_| said.starts_with("CONFLICT")) {
                said.clone_into(words);
            }
        }
    }
    (!clean).then_some(paths)
}

fn raw_changes(raw: &str) -> BTreeMap<String, FileChange> {
    let mut words = raw.split('\0');
    let mut files = BTreeMap::new();
    while let Some(head) = words.next().filter(|word| word.starts_with(':')) {
        let part: Vec<&str> = head[1..].split(' ').collect();
        let entry = |mode: &str, id: &str| {
            let mode = u32::from_str_radix(mode, 8).expect("a mode");
            (mode != 0).then(|| Entry { mode, id: ObjectId::parse(id).expect("a blob") })
        };
        let (from, to) = (entry(part[0], part[2]), entry(part[1], part[3]));
        let path = words.next().expect("a path").to_owned();
        let change = |path: &str, from, to| (path.to_owned(), FileChange::of(path.into(), from, to));
        if part[4].starts_with('R') {
            let (new, mut moved) = change(words.next().expect("a second path"), None, to);
            moved.renamed_from = Some(path.as_str().into());
            files.extend([(new, moved), change(&path, from, None)]);
        } else {
            files.extend([change(&path, from, to)]);
        }
    }
    files
}

fn add_lines(files: &mut BTreeMap<String, FileChange>, patch: &str) {
    let mut current = String::new();
    for line in patch.lines() {
        if let Some(both) = line.strip_prefix("diff --git a/") {
            both.split(" b/").next().expect("a path").clone_into(&mut current);
        }
        let Some(file) = files.get_mut(&current) else { continue };
        if line.starts_with("Binary files ") {
            file.binary = true;
        }
        if let Some(hunk) = line.strip_prefix("@@ -").filter(|_| file.from.is_some() && file.to.is_some()) {
            let old = hunk.split(' ').next().expect("the old lines");
            let (start, count) = old.split_once(',').unwrap_or((old, "1"));
            let (start, count): (u32, u32) = (start.parse().expect("a line"), count.parse().expect("a count"));
            file.ranges.push(Lines { start: start - u32::from(count > 0), count });
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("git speaks UTF-8 here")
}
