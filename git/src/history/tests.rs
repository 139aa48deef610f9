//! Each claim on a small repository of its own, made by the git program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::*;
use crate::command::git;

struct Repo {
    dir: tempfile::TempDir,
    tree: Worktree,
}

impl Repo {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["config", "user.email", "t@example.org"],
            &["config", "user.name", "t"],
            &["config", "core.precomposeunicode", "false"],
        ] {
            git(dir.path(), args).expect("git");
        }
        let tree = Worktree::discover(dir.path()).expect("readable").expect("a work tree");
        Self { dir, tree }
    }

    fn git(&self, args: &[&str]) -> String {
        text(&git(self.dir.path(), args).expect("git")).trim().to_owned()
    }

    fn put(&self, path: impl AsRef<Path>, content: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
        std::fs::write(path, content).expect("write");
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn since(&self, then: &Tips) -> Vec<Commit> {
        let now = self.tree.tips().expect("tips");
        self.tree.history().new_commits(&now, &[then], None).expect("log")
    }

    fn paths(&self, then: &Tips) -> Vec<Vec<String>> {
        let commits = self.since(then);
        let mut found = self.tree.history().changed_paths(&commits).expect("paths");
        let of = |c: &Commit| found.remove(&c.id).unwrap_or_default().iter().map(|p| text(p)).collect();
        commits.iter().map(of).collect()
    }
}

#[test]
fn a_first_commit_is_new_and_names_its_last_session() {
    let repo = Repo::new();
    let none = repo.tree.tips().expect("tips of an empty repository");
    assert!(none.is_empty());
    repo.put("a", "1");
    let id = repo.commit("one\n\nbody\n\nRailroad-Session: first\nRailroad-Session: second");
    let [commit] = &repo.since(&none)[..] else { panic!("one commit") };
    assert_eq!((&commit.id, commit.parents.len()), (&id, 0));
    assert_eq!(commit.session.as_deref(), Some("second"));
    assert_eq!(repo.paths(&none), [["a"]]);
    let now = repo.tree.tips().expect("tips");
    assert!(repo.since(&now).is_empty());
    repo.put("a", "2");
    repo.commit("two");
    assert_eq!(repo.since(&now)[0].session, None);
    repo.git(&["commit", "-q", "--amend", "-m", "two\n\nRailroad-Session: first\nRailroad-Session: (person)"]);
    assert_eq!(repo.since(&now)[0].session, None, "a person has made it their own");
}

#[test]
fn git2_and_the_program_see_the_same_tips_also_in_a_format_that_only_one_knows() {
    let repo = Repo::new();
    repo.put("a", "1");
    repo.commit("one");
    repo.git(&["branch", "topic"]);
    repo.git(&["checkout", "-q", "--detach"]);
    repo.put("a", "2");
    repo.commit("two");
    assert_eq!(repo.tree.tips().expect("tips"), repo.tree.ask_tips().expect("asked"));
    let dir = tempfile::tempdir().expect("temp dir");
    git(dir.path(), ["init", "-q", "--object-format=sha256"]).expect("git");
    std::fs::write(dir.path().join("a"), "1").expect("write");
    git(dir.path(), ["add", "a"]).expect("git");
    git(dir.path(), ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "one"]).expect("git");
    let tree = Worktree::discover(dir.path()).expect("readable").expect("a work tree");
    let tips = tree.tips().expect("tips");
    let commits = tree.history().new_commits(&tips, &[], None).expect("log");
    assert_eq!(commits[0].id.len(), 64);
    assert_eq!(tree.history().changed_paths(&commits).expect("paths")[&commits[0].id], [b"a"]);
}

#[test]
fn both_names_of_a_rename_count_and_every_byte_of_a_name() {
    let repo = Repo::new();
    repo.put("old", "the same contents, long enough to be seen as a rename\n");
    repo.commit("one");
    let then = repo.tree.tips().expect("tips");
    repo.git(&["mv", "old", "new"]);
    repo.put(OsStr::from_bytes(b"caf\xe9"), "x");
    repo.put("with \"quotes\" and\ttab", "x");
    repo.put("0123456789012345678901234567890123456789", "a file that is named like a commit");
    repo.commit("two");
    let commits = repo.since(&then);
    let mut paths = repo.tree.history().changed_paths(&commits).expect("paths")[&commits[0].id].clone();
    paths.sort();
    let want: [&[u8]; 5] =
        [b"0123456789012345678901234567890123456789", b"caf\xe9", b"new", b"old", b"with \"quotes\" and\ttab"];
    assert_eq!(paths, want);
}

#[test]
fn of_a_merge_only_what_was_resolved_by_hand_counts() {
    let repo = Repo::new();
    repo.put("both", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    repo.put("clash", "0\n");
    repo.commit("base");
    repo.git(&["checkout", "-qb", "topic"]);
    repo.put("both", "one\n2\n3\n4\n5\n6\n7\n8\n9\n");
    repo.put("clash", "topic\n");
    repo.commit("topic");
    repo.git(&["checkout", "-q", "main"]);
    repo.put("both", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    repo.commit("clean side");
    let then = repo.tree.tips().expect("tips");
    repo.git(&["merge", "-q", "--no-ff", "-m", "clean", "topic"]);
    assert_eq!(repo.paths(&then), [Vec::<String>::new()], "git merged both sides of a file by itself");
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
    repo.put("clash", "main\n");
    repo.commit("other side");
    let then = repo.tree.tips().expect("tips");
    assert!(git(repo.dir.path(), ["merge", "-q", "topic"]).is_err(), "a conflict");
    repo.put("clash", "both\n");
    repo.commit("resolved");
    assert_eq!(repo.paths(&then), [["clash"]]);
}

#[test]
fn a_change_is_carried_over_by_rebase_amend_and_pick_but_not_made_anew() {
    let repo = Repo::new();
    repo.put("a", "1\n2\n3\n4\n5\n6\n7\n8\n");
    repo.commit("base");
    repo.git(&["checkout", "-qb", "topic"]);
    repo.put("a", "1\n2\n3\n4\n5\n6\n7\neight\n");
    repo.commit("topic");
    repo.git(&["checkout", "-q", "main"]);
    repo.put("a", "one\n2\n3\n4\n5\n6\n7\n8\n");
    repo.commit("main moves");
    let then = repo.tree.tips().expect("tips");
    let sources = || {
        let head = Tips::named([repo.git(&["rev-parse", "HEAD"])]);
        let commit = repo.tree.history().new_commits(&head, &[], None).expect("log").remove(0);
        let found = repo.tree.history().carried_from(&commit, b"a", &then).expect("looked");
        found.into_iter().map(|c| c.id).collect::<Vec<_>>()
    };
    let first = [repo.git(&["rev-parse", "topic"])];
    repo.git(&["rebase", "-q", "main", "topic"]);
    assert_eq!(sources(), first, "the same lines on other ones");
    repo.git(&["commit", "-q", "--amend", "-m", "better words"]);
    assert_eq!(sources(), first);
    repo.put("a", "one\n2\n3\n4\n5\n6\n7\nacht\n");
    repo.git(&["commit", "-q", "--amend", "-a", "--no-edit"]);
    assert!(sources().is_empty(), "amended with something new");
    repo.git(&["checkout", "-q", "main"]);
    repo.put("a", "1\n2\n3\n4\n5\n6\n7\n8\n");
    repo.commit("back to the first version");
    assert!(sources().is_empty(), "an old version taken up again is a change");
}

#[test]
fn what_is_known_elsewhere_is_not_new_and_what_is_no_commit_counts_for_nothing() {
    let repo = Repo::new();
    repo.put("a", "1");
    let one = repo.commit("one");
    repo.put("a", "2");
    let two = repo.commit("two");
    repo.git(&["update-ref", "refs/remotes/origin/main", &one]);
    let history = repo.tree.history();
    let blob = repo.git(&["rev-parse", "HEAD:a"]);
    let missing = "1".repeat(40);
    let new = |known: &[&Tips]| {
        let all = history.new_commits(&Tips::named([two.clone(), blob.clone()]), known, None).expect("log");
        all.into_iter().map(|c| c.id).collect::<Vec<_>>()
    };
    assert_eq!(new(&[]), [two.clone(), one.clone()]);
    let latest = std::slice::from_ref(&two);
    assert_eq!(new(&[&history.published().expect("remotes"), &Tips::named([missing])]), latest);
    assert_eq!(history.named(&["main~1..main".into()]).expect("range"), latest);
    assert_eq!(history.named(&["main".into(), "main~1".into()]).expect("each"), [two.clone(), one.clone()]);
    let each = history.each(std::slice::from_ref(&one)).expect("log");
    assert_eq!((each.len(), &each[0].id), (1, &one));
    assert!(history.named(&["--output=x".into()]).is_err(), "no option can be smuggled in");
}
