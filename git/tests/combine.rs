//! Commits taken together or apart are the trees that a cherry-pick or a revert would make, and the queue since green is what landed.

mod mirrors;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use mirrors::{Room, files, git};
use rr_core::id::CommitId;
use rr_core::live::GitPath;
use rr_git::{Combined, Queue, QueuedCommit};

/// A base and four commits: on a, on b, on a again elsewhere, and one that changes the first one's line again.
fn queue(format: &str) -> (Room, CommitId, Vec<CommitId>) {
    let room = Room::of(format);
    let lines = |first: &str, last: &str| format!("{first}\n2\n3\n4\n5\n6\n7\n8\n{last}\n");
    room.put("a", lines("1", "9"));
    room.put("b", "b\n");
    let base = room.commit("base");
    room.put("a", lines("one", "9"));
    let one = room.commit("one");
    room.put("b", "bb\n");
    let two = room.commit("two");
    room.put("a", lines("one", "nine"));
    let three = room.commit("three");
    room.put("a", lines("uno", "nine"));
    let four = room.commit("four");
    (room, base, vec![one, two, three, four])
}

/// The tree that git's own work-tree command makes.
fn by_hand(room: &Room, at: &CommitId, command: &[&str]) -> Combined {
    room.git(&["checkout", "-q", "-f", "--detach", at.as_str()]);
    let done = mirrors::tried(room.root(), command);
    if done.status.success() {
        let made = Combined::Tree(mirrors::tree(&room.git(&["write-tree"])));
        room.git(&["reset", "-q", "--hard"]);
        return made;
    }
    let listed = room.git(&["diff", "--name-only", "--diff-filter=U"]);
    room.git(&["reset", "-q", "--hard"]);
    Combined::Conflict(listed.lines().map(GitPath::from).collect())
}

#[test]
fn together_and_apart_are_what_git_makes_in_a_work_tree() {
    for format in ["sha1", "sha256"] {
        let (room, base, commits) = queue(format);
        let tip = commits.last().expect("four");
        let before = (files(room.root()), room.status());
        for commit in &commits {
            let prefix = room.mirror.prefix(commit).expect("there");
            assert_eq!(prefix, room.tree_of(commit.as_str()));
        }
        let set = |picked: &[&CommitId]| {
            let picked: Vec<CommitId> = picked.iter().map(|c| (*c).clone()).collect();
            room.mirror.set(&base, &picked).expect("merged")
        };
        let [one, two, three, four] = &commits[..] else { unreachable!("four") };
        let whole = set(&[one, two, three, four]);
        assert_eq!(whole, Combined::Tree(room.tree_of(tip.as_str())));
        assert_eq!(set(&[]), Combined::Tree(room.tree_of(base.as_str())));
        assert_eq!((files(room.root()), room.status()), before, "no work tree was touched");
        let apart = set(&[two, three]);
        assert_eq!(apart, by_hand(&room, &base, &["cherry-pick", "-n", two.as_str(), three.as_str()]));
        for commit in &commits {
            let alone = room.mirror.alone(&base, commit).expect("merged");
            assert_eq!(alone, by_hand(&room, &base, &["cherry-pick", "-n", commit.as_str()]), "{commit}");
            let without = room.mirror.without(tip, commit).expect("merged");
            assert_eq!(without, by_hand(&room, tip, &["revert", "-n", commit.as_str()]), "{commit}");
        }
        assert_eq!(room.mirror.alone(&base, four).expect("merged"), Combined::Conflict(vec!["a".into()]));
        for order in [[one, four], [four, one]] {
            let order = order.map(Clone::clone);
            let both = room.mirror.without_all(tip, &order).expect("merged");
            assert_eq!(both, by_hand(&room, tip, &["revert", "-n", four.as_str(), one.as_str()]));
        }
    }
}

#[test]
fn merges_count_by_first_parent_and_nothing_left_is_the_base() {
    let (room, base, commits) = queue("sha1");
    room.git(&["checkout", "-q", "-b", "side", base.as_str()]);
    room.put("side", "1\n");
    room.commit("side one");
    room.put("side2", "2\n");
    room.commit("side two");
    room.git(&["checkout", "-q", "main"]);
    room.git(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
    let merge = room.head();
    let Combined::Tree(alone) = room.mirror.alone(&base, &merge).expect("merged") else { panic!("conflict") };
    assert_eq!(room.git(&["ls-tree", "--name-only", alone.as_str()]), "a\nb\nside\nside2");
    let without = room.mirror.without(&merge, &merge).expect("merged");
    assert_eq!(without, Combined::Tree(room.tree_of(commits[3].as_str())));
    let twice = room.mirror.alone(&commits[1], &commits[0]).expect("merged");
    assert_eq!(twice, Combined::Tree(room.tree_of(commits[1].as_str())), "its change is there already");
    let first = room.mirror.without(&base, &base).expect("merged");
    assert_eq!(first, Combined::Tree(mirrors::tree(&git(room.root(), &["hash-object", "-t", "tree", "/dev/null"]))));
    let gone = CommitId::parse(&"1".repeat(40)).expect("an id");
    assert!(room.mirror.alone(&base, &gone).is_err());
    let Queue::Commits(list) = room.mirror.commits_between(&base, &merge).expect("listed") else { panic!("rewritten") };
    let subjects: Vec<&str> = list.iter().map(|c| c.subject.as_str()).collect();
    assert_eq!(subjects, ["one", "two", "three", "four", "merged"]);
    assert_eq!((list[4].parents.len(), &list[4].paths), (2, &vec!["side".into(), "side2".into()]));
}

#[test]
fn the_queue_tells_whose_each_commit_is_and_what_it_touches() {
    let room = Room::new();
    room.put("a", "1\n");
    let green = room.commit("green");
    let session = "3f0c-an_agents-own-name";
    let odd = GitPath::new(b"odd \xff\n\"name".as_slice());
    room.put(OsStr::from_bytes(odd.as_bytes()), "odd\n");
    room.put("a", "2\n");
    room.git(&["add", "-A"]);
    let message = format!("subject\u{1f} of it\n\nbody\n\nRailroad-Session: {session}\n");
    room.git(&["-c", "user.name=A. Ägent", "commit", "-q", "-m", &message]);
    let first = room.head();
    room.git(&["mv", "a", "b"]);
    let second = room.commit("by a person\n\nRailroad-Session: (person)");
    let Queue::Commits(list) = room.mirror.commits_between(&green, &second).expect("listed") else {
        panic!("rewritten")
    };
    let at_unix_s = list[0].at_unix_s;
    let expected = QueuedCommit {
        id: first.clone(),
        parents: vec![green.clone()],
        author: "A. Ägent".into(),
        subject: "subject\u{1f} of it".into(),
        session: Some(session.to_owned()),
        at_unix_s,
        paths: vec!["a".into(), odd],
    };
    assert_eq!(list[0], expected);
    assert!(at_unix_s > 1_600_000_000);
    assert_eq!((list[1].session.clone(), &list[1].paths), (None, &vec!["a".into(), "b".into()]));
    assert_eq!(room.mirror.commits_between(&second, &second).expect("listed"), Queue::Commits(Vec::new()));
}

#[test]
fn history_that_was_rewritten_is_said() {
    let (room, base, commits) = queue("sha1");
    room.git(&["reset", "-q", "--hard", commits[0].as_str()]);
    room.put("c", "c\n");
    let other = room.commit("another history");
    let said = room.mirror.commits_between(&commits[3], &other).expect("listed");
    assert_eq!(said, Queue::Rewritten { meet: Some(commits[0].clone()) });
    room.git(&["checkout", "-q", "--orphan", "new"]);
    let unrelated = room.commit("unrelated");
    let said = room.mirror.commits_between(&base, &unrelated).expect("listed");
    assert_eq!(said, Queue::Rewritten { meet: None });
}
