//! A revert lands on a branch of this machine: exactly on the commit that was expected, with every uncommitted byte where it was,
//! or not at all. Races with commits and deaths in the middle are in `land_races`.

mod mirrors;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use mirrors::{Room, files, git, put, revert, tried};
use rr_core::id::CommitId;
use rr_core::live::GitPath;
use rr_git::{Combined, Landing, Mirror, Place, Recovered, Refusal, RevertPlan, Worktree};

/// A break of one file on a good commit, and its revert on the tip.
fn broken(room: &Room) -> (CommitId, CommitId, CommitId) {
    room.put("broken.txt", "good\n");
    room.put("other.txt", "other\n");
    room.put("staged.txt", "as committed\n");
    room.commit("good");
    room.put("broken.txt", "bad\n");
    let culprit = room.commit("break");
    room.put("later.txt", "later\n");
    let tip = room.commit("later");
    let revert = room.revert(&tip, &culprit);
    (culprit, tip, revert)
}

fn dirty(paths: &[&str]) -> Landing {
    Landing::Refused { why: Refusal::Dirty { paths: paths.iter().map(|p| GitPath::from(*p)).collect() } }
}

fn in_the_way(path: &str) -> Landing {
    Landing::Refused { why: Refusal::InTheWay { paths: vec![path.into()] } }
}

#[test]
fn a_revert_lands_and_the_work_tree_follows() {
    for format in ["sha1", "sha256"] {
        let room = Room::of(format);
        let (culprit, tip, revert) = broken(&room);
        assert_eq!(room.land(&tip, &revert), Landing::Landed);
        assert_eq!((room.head(), room.status()), (revert.clone(), String::new()));
        assert_eq!(room.read("broken.txt"), b"good\n");
        assert_eq!(room.git(&["rev-parse", "HEAD^"]), tip.as_str());
        let shown = room.git(&["log", "-1", "--format=%an|%s|%(trailers:key=Railroad-Reverts,valueonly,separator=)"]);
        assert_eq!(shown, format!("Railroad|Revert {culprit}|{culprit}"));
        assert_eq!(room.git(&["reflog", "-1", "--format=%gs", "HEAD"]), "railroad: revert");
        room.git(&["fsck", "--full", "--strict"]);
        assert!(!room.clone.git_dir.join("railroad-landing").exists(), "nothing is left beside");
    }
}

#[test]
fn two_watchers_make_one_commit_and_land_it_once() {
    let room = Room::new();
    let (culprit, tip, ours) = broken(&room);
    let other = Room::mirror_beside(room.dir.path(), "other", &room.clone);
    let theirs = revert(&other, &tip, &culprit);
    assert_eq!(ours, theirs, "the same plan and second is the same commit");
    let place = room.place();
    let both = std::thread::scope(|scope| {
        let runs = [&room.mirror, &other].map(|m| scope.spawn(|| m.land(&place, &tip, &ours).expect("answered")));
        runs.map(|run| run.join().expect("ended"))
    });
    assert!(both.contains(&Landing::Landed) && both.contains(&Landing::AlreadyThere), "{both:?}");
    assert_eq!((room.head(), room.status()), (ours.clone(), String::new()));
    room.put("new.txt", "more\n");
    room.commit("more");
    assert_eq!(room.land(&tip, &ours), Landing::AlreadyThere, "with newer work on it");
}

#[test]
fn a_plan_that_the_mirror_cannot_fulfil_is_an_error_and_a_wrong_parent_is_refused() {
    let room = Room::new();
    let (_, tip, revert) = broken(&room);
    let gone = mirrors::tree(&"1".repeat(40));
    let plan = RevertPlan { tip: tip.clone(), tree: gone, message: "x".into(), trailers: Vec::new() };
    assert!(room.mirror.make_revert(&plan, 0).is_err());
    let first = mirrors::id(&room.git(&["rev-parse", "HEAD~1"]));
    assert_eq!(room.land(&first, &revert), Landing::Refused { why: Refusal::NotOnExpected });
    assert_eq!(room.head(), tip);
}

#[test]
fn a_commit_that_came_before_is_told_and_nothing_is_done() {
    let room = Room::new();
    let (_, tip, revert) = broken(&room);
    room.put("other.txt", "newer\n");
    let newer = room.commit("newer");
    assert_eq!(room.land(&tip, &revert), Landing::Moved { tip: newer.clone() });
    assert_eq!((room.head(), room.status(), room.read("broken.txt")), (newer, String::new(), b"bad\n".to_vec()));
}

#[test]
fn uncommitted_work_in_other_files_stays_byte_for_byte() {
    let room = Room::new();
    let (_, tip, revert) = broken(&room);
    room.put("staged.txt", "staged\n");
    room.put("new.txt", "staged new\n");
    room.git(&["add", "staged.txt", "new.txt"]);
    room.put("staged.txt", "staged and edited further\n");
    room.put("other.txt", "unstaged\n");
    room.put("untracked/file", "untracked\n");
    fs::remove_file(room.root().join("later.txt")).expect("removed");
    let (before, index) = (room.status(), room.git(&["ls-files", "-s", "--", "staged.txt", "new.txt", "later.txt"]));
    let mut expected = files(room.root());
    assert_eq!(room.land(&tip, &revert), Landing::Landed);
    expected.insert("broken.txt".into(), b"good\n".to_vec());
    assert_eq!(files(room.root()), expected);
    assert_eq!((room.head(), room.status()), (revert, before));
    assert_eq!(room.git(&["ls-files", "-s", "--", "staged.txt", "new.txt", "later.txt"]), index);
}

#[test]
fn uncommitted_work_in_the_files_of_the_revert_is_refused() {
    type Work = (&'static str, fn(&Room));
    let kinds: [Work; 8] = [
        ("unstaged", |r| r.put("broken.txt", "mine\n")),
        ("staged", |r| {
            r.put("broken.txt", "mine\n");
            r.git(&["add", "broken.txt"]);
        }),
        ("staged, and the file back as it was", |r| {
            r.put("broken.txt", "mine\n");
            r.git(&["add", "broken.txt"]);
            r.put("broken.txt", "bad\n");
        }),
        ("deleted", |r| fs::remove_file(r.root().join("broken.txt")).expect("removed")),
        ("untracked by rm --cached", |r| {
            r.git(&["rm", "-q", "--cached", "broken.txt"]);
        }),
        ("mode", |r| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(r.root().join("broken.txt"), mode).expect("mode");
        }),
        ("a link", |r| {
            fs::remove_file(r.root().join("broken.txt")).expect("removed");
            symlink("bad\n", r.root().join("broken.txt")).expect("linked");
        }),
        ("hidden from status", |r| {
            r.git(&["update-index", "--assume-unchanged", "broken.txt"]);
            r.put("broken.txt", "mine\n");
        }),
    ];
    for (kind, work) in kinds {
        let room = Room::new();
        let (_, tip, revert) = broken(&room);
        work(&room);
        let before = (files(room.root()), room.status(), room.git(&["ls-files", "-s"]), room.head());
        assert_eq!(room.land(&tip, &revert), dirty(&["broken.txt"]), "{kind}");
        let after = (files(room.root()), room.status(), room.git(&["ls-files", "-s"]), room.head());
        assert_eq!(before, after, "{kind}");
        assert!(!room.clone.git_dir.join("index.lock").exists(), "{kind}");
    }
}

#[test]
fn what_git_does_not_know_is_not_written_over() {
    for (ignored, place) in
        [(false, "gone.txt"), (true, "gone.txt"), (false, "gone.txt/inside"), (true, "gone.txt/inside")]
    {
        let room = Room::new();
        room.put("gone.txt", "good\n");
        room.put("keep", "");
        room.put(".gitignore", if ignored { "gone.txt*\ninside\n" } else { "" });
        room.git(&["add", "-f", "gone.txt"]);
        room.commit("good");
        room.git(&["rm", "-q", "gone.txt"]);
        let culprit = room.commit("removes it");
        let revert = room.revert(&culprit, &culprit);
        room.put(place, "somebody's own\n");
        let before = (files(room.root()), room.status());
        assert_eq!(room.land(&culprit, &revert), in_the_way("gone.txt"), "{ignored} {place}");
        assert_eq!((files(room.root()), room.status()), before);
        assert_eq!(room.head(), culprit);
    }
}

#[test]
fn a_file_where_a_folder_would_come_back_is_in_the_way_and_the_rest_is_put_back() {
    let room = Room::new();
    room.put("a/deep/file", "good\n");
    room.put("first", "good\n");
    room.commit("good");
    room.git(&["rm", "-q", "a/deep/file"]);
    room.put("first", "bad\n");
    room.put("added", "bad\n");
    let culprit = room.commit("break");
    let revert = room.revert(&culprit, &culprit);
    room.put("a", "a file of somebody's\n");
    let before = (files(room.root()), room.status());
    assert_eq!(room.land(&culprit, &revert), in_the_way("a/deep/file"));
    assert_eq!((files(room.root()), room.status(), room.head()), (before.0, before.1, culprit));
}

#[test]
fn every_kind_of_change_lands() {
    let room = Room::new();
    let odd = OsStr::from_bytes(b"odd \xff\n\"name");
    let root = room.root().to_owned();
    room.put("text", "good\n");
    room.put("mode", "run\n");
    room.put("f2l", "file\n");
    room.put("f2d", "file\n");
    room.put("d2f/in/it", "inside\n");
    room.put("gone/deep/er", "gone\n");
    room.put("README", "upper\n");
    room.put(odd, "odd\n");
    room.put("-dash", "dash\n");
    symlink("text", root.join("link")).expect("linked");
    room.commit("good");
    let good = files(&root);
    room.put("text", "bad\n");
    room.put("readme", "lower\n");
    room.put(odd, "odder\n");
    room.put("-dash", "dashed\n");
    room.put("new/deep/er", "new\n");
    fs::set_permissions(root.join("mode"), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::remove_file(root.join("f2l")).expect("removed");
    symlink("text", root.join("f2l")).expect("linked");
    fs::remove_file(root.join("f2d")).expect("removed");
    room.put("f2d/in", "inside\n");
    fs::remove_dir_all(root.join("d2f")).expect("removed");
    room.put("d2f", "file\n");
    fs::remove_dir_all(root.join("gone")).expect("removed");
    fs::remove_file(root.join("link")).expect("removed");
    symlink("mode", root.join("link")).expect("linked");
    let culprit = room.commit("break");
    let bad = files(&root);
    let revert = room.revert(&culprit, &culprit);
    assert_eq!(room.land(&culprit, &revert), Landing::Landed);
    assert_eq!((files(&root), room.status()), (good, String::new()));
    assert_eq!(fs::metadata(root.join("mode")).expect("there").permissions().mode() & 0o111, 0);
    assert!(!root.join("new").exists(), "an empty folder goes with its last file");
    let again = room.revert(&revert, &revert);
    assert_eq!(room.land(&revert, &again), Landing::Landed, "the revert of a revert");
    assert_eq!((files(&root), room.status()), (bad, String::new()));
}

#[test]
fn merges_are_reverted_whole_and_a_conflict_is_a_value() {
    let room = Room::new();
    room.put("a", "1\n");
    room.commit("base");
    room.git(&["checkout", "-q", "-b", "side"]);
    room.put("side", "1\n");
    room.commit("side one");
    room.put("a", "2\n");
    room.commit("side two");
    room.git(&["checkout", "-q", "main"]);
    room.put("main", "1\n");
    room.commit("main");
    room.git(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
    let merge = room.head();
    let revert = room.revert(&merge, &merge);
    assert_eq!(room.land(&merge, &revert), Landing::Landed);
    assert_eq!(room.git(&["ls-files"]), "a\nmain");
    assert_eq!(room.read("a"), b"1\n");
    room.put("main", "2\n");
    let culprit = room.commit("culprit");
    room.put("main", "3\n");
    let tip = room.commit("on top of it");
    let said = room.mirror.without(&tip, &culprit).expect("merged");
    assert_eq!(said, Combined::Conflict(vec!["main".into()]));
}

#[test]
fn unfinished_things_and_locks_left_behind_are_refused() {
    type Setting = (&'static str, fn(&Room));
    let settings: [Setting; 3] = [
        ("merge", |r| {
            r.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
            r.put("later.txt", "clash\n");
            r.commit("clash");
            r.git(&["checkout", "-q", "main"]);
            assert!(!tried(r.root(), &["merge", "side"]).status.success());
        }),
        ("rebase", |r| {
            r.git(&["branch", "-q", "side", "HEAD~1"]);
            r.git(&["checkout", "-q", "side"]);
            r.put("later.txt", "clash\n");
            r.commit("clash");
            r.git(&["checkout", "-q", "main"]);
            assert!(!tried(r.root(), &["rebase", "side"]).status.success());
        }),
        ("cherry-pick", |r| {
            r.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
            r.put("later.txt", "clash\n");
            r.commit("clash");
            r.git(&["checkout", "-q", "main"]);
            assert!(!tried(r.root(), &["cherry-pick", "side"]).status.success());
        }),
    ];
    for (what, set) in settings {
        let room = Room::new();
        let (_, tip, revert) = broken(&room);
        set(&room);
        let before = (files(room.root()), room.status());
        let why = Refusal::InProgress { what, root: room.root().to_owned() };
        assert_eq!(room.land(&tip, &revert), Landing::Refused { why });
        assert_eq!((files(room.root()), room.status()), before, "{what}");
        assert_eq!(room.git(&["rev-parse", "main"]), tip.as_str());
    }
    let room = Room::new();
    let (_, tip, revert) = broken(&room);
    let lock = room.clone.git_dir.join("index.lock");
    fs::write(&lock, "somebody's").expect("written");
    assert_eq!(room.land(&tip, &revert), Landing::Refused { why: Refusal::IndexLocked { lock: lock.clone() } });
    assert_eq!(fs::read(&lock).expect("still there"), b"somebody's");
    fs::remove_file(&lock).expect("removed");
    let held = room.clone.git_dir.join("refs/heads/main.lock");
    fs::write(&held, "").expect("written");
    assert!(matches!(room.land(&tip, &revert), Landing::Refused { why: Refusal::RefLocked { .. } }));
    assert!(held.exists() && !lock.exists());
    fs::remove_file(&held).expect("removed");
    assert_eq!(room.land(&tip, &revert), Landing::Landed);
}

#[test]
fn a_branch_that_no_work_tree_has_moves_alone() {
    let room = Room::new();
    let (_, tip, revert) = broken(&room);
    room.git(&["checkout", "-q", "--detach"]);
    room.put("broken.txt", "mine\n");
    let before = (files(room.root()), room.status());
    assert_eq!(room.land(&tip, &revert), Landing::Landed);
    assert_eq!((room.git(&["rev-parse", "main"]), room.head()), (revert.as_str().to_owned(), tip.clone()));
    assert_eq!((files(room.root()), room.status()), before, "who is elsewhere stays there");
    assert_eq!(room.mirror.stands(&room.place()).expect("told"), Some(revert.clone()));
    let nowhere = Place::Local { clone: room.clone.clone(), branch: "none".into() };
    assert_eq!(room.mirror.stands(&nowhere).expect("told"), None);
    let landing = room.mirror.land(&nowhere, &tip, &revert).expect("answered");
    assert_eq!(landing, Landing::Refused { why: Refusal::NoSuchBranch });
}

#[test]
fn another_work_tree_that_has_the_branch_follows_it() {
    let room = Room::new();
    let (_, tip, revert) = broken(&room);
    room.git(&["checkout", "-q", "-b", "mine"]);
    let other = room.dir.path().join("other");
    room.git(&["worktree", "add", "-q", &other.to_string_lossy(), "main"]);
    let third = room.dir.path().join("other/third");
    git(&other, &["worktree", "add", "-q", &third.to_string_lossy(), "-b", "third"]);
    put(&other, "other.txt", "unstaged\n");
    let from_third = Worktree::discover(&third).expect("readable").expect("a work tree");
    let place = Place::Local { clone: from_third, branch: "main".into() };
    assert_eq!(room.mirror.land(&place, &tip, &revert).expect("answered"), Landing::Landed);
    assert_eq!(git(&other, &["rev-parse", "HEAD"]), revert.as_str());
    assert_eq!(fs::read(other.join("broken.txt")).expect("read"), b"good\n");
    assert_eq!(git(&other, &["status", "--porcelain", "--untracked-files=no"]), " M other.txt");
    assert_eq!((room.read("broken.txt"), git(&third, &["status", "--porcelain"])), (b"bad\n".to_vec(), String::new()));
    git(&other, &["checkout", "-q", "-f"]);
    room.git(&["checkout", "-q", "--ignore-other-worktrees", "main"]);
    let again = room.revert(&revert, &revert);
    let landing = room.mirror.land(&room.place(), &revert, &again).expect("answered");
    assert!(matches!(landing, Landing::Refused { why: Refusal::CheckedOutTwice { ref roots } } if roots.len() == 2));
}

#[test]
fn a_sparse_checkout_stays_sparse() {
    let room = Room::new();
    for (path, text) in [("in/a", "good\n"), ("out/a", "good\n"), ("out/gone", "good\n"), ("top", "good\n")] {
        room.put(path, text);
    }
    room.commit("good");
    for path in ["in/a", "out/a", "top"] {
        room.put(path, "bad\n");
    }
    room.put("out/new", "bad\n");
    fs::remove_file(room.root().join("out/gone")).expect("removed");
    let culprit = room.commit("break");
    room.git(&["sparse-checkout", "set", "in"]);
    assert!(!room.root().join("out").exists());
    let revert = room.revert(&culprit, &culprit);
    assert_eq!(room.land(&culprit, &revert), Landing::Landed);
    assert_eq!((room.status(), room.read("in/a")), (String::new(), b"good\n".to_vec()));
    assert!(!room.root().join("out").exists(), "what is left out stays out");
    assert_eq!(room.git(&["write-tree"]), room.tree_of(revert.as_str()).as_str());
    room.git(&["sparse-checkout", "disable"]);
    assert_eq!((room.status(), room.read("out/gone")), (String::new(), b"good\n".to_vec()));
}

#[test]
fn files_come_as_this_work_tree_has_them_and_no_hook_runs() {
    let room = Room::new();
    room.put(".gitattributes", "*.txt text eol=crlf\n*.up filter=up\n");
    room.git(&["config", "filter.up.smudge", "tr a-z A-Z"]);
    room.git(&["config", "filter.up.clean", "tr A-Z a-z"]);
    room.put("lines.txt", "one\r\n");
    room.put("word.up", "GOOD");
    room.commit("good");
    room.put("lines.txt", "two\r\n");
    room.put("word.up", "BAD");
    let culprit = room.commit("break");
    let ran = room.dir.path().join("ran");
    for hook in ["post-merge", "post-checkout", "reference-transaction", "post-index-change"] {
        let path = room.clone.common_dir.join("hooks").join(hook);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, format!("#!/bin/sh\necho {hook} >> '{}'\nexit 1\n", ran.display())).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let revert = room.revert(&culprit, &culprit);
    // Other line ends that git stores as the same are no work of anybody's.
    room.put("lines.txt", "two\n");
    assert_eq!(room.land(&culprit, &revert), Landing::Landed);
    assert_eq!((room.read("lines.txt"), room.read("word.up")), (b"one\r\n".to_vec(), b"GOOD".to_vec()));
    assert!(!ran.exists(), "{:?}", fs::read_to_string(&ran));
    fs::remove_dir_all(room.clone.common_dir.join("hooks")).expect("removed");
    assert_eq!(room.status(), "");
}

#[test]
fn the_reverted_work_is_kept_and_never_over_another_ones() {
    let room = Room::new();
    let (culprit, _, _) = broken(&room);
    let keep = |mirror: &Mirror| mirror.keep_reverted(&room.place(), &culprit).expect("kept");
    let name = keep(&room.mirror);
    assert_eq!(name, format!("railroad/reverted/{}", culprit.short()));
    assert_eq!(room.git(&["rev-parse", &name]), culprit.as_str());
    assert_eq!(keep(&room.mirror), name, "it is there");
    let older = room.git(&["rev-parse", "HEAD~2"]);
    room.git(&["branch", "-q", "-f", &name, &older]);
    assert_eq!(keep(&room.mirror), format!("{name}-2"));
    assert_eq!(room.git(&["rev-parse", &name]), older, "somebody's stays");
    room.git(&["branch", "-q", "-f", &name, "HEAD"]);
    assert_eq!(keep(&room.mirror), name, "its agent has gone on from it");
}

#[test]
fn a_submodule_is_a_clone_like_any_other() {
    let room = Room::new();
    let (_, tip, revert) = broken(&room);
    assert_eq!(room.mirror.recover(&room.clone).expect("looked"), Recovered::Nothing);
    let outer = room.dir.path().join("outer");
    fs::create_dir(&outer).expect("made");
    git(&outer, &["init", "-q", "-b", "main"]);
    let from = room.root().to_string_lossy().into_owned();
    git(&outer, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, "sub"]);
    let inner = Worktree::discover(&outer.join("sub")).expect("readable").expect("a work tree");
    let place = Place::Local { clone: inner, branch: "main".into() };
    assert_eq!(room.mirror.land(&place, &tip, &revert).expect("answered"), Landing::Landed);
    assert_eq!(fs::read(outer.join("sub/broken.txt")).expect("read"), b"good\n");
}

#[test]
fn a_folder_of_the_work_tree_that_became_a_link_is_not_followed() {
    let room = Room::new();
    room.put("src/file", "good\n");
    room.commit("good");
    room.put("src/file", "bad\n");
    let culprit = room.commit("break");
    let revert = room.revert(&culprit, &culprit);
    let outside = room.dir.path().join("outside");
    fs::rename(room.root().join("src"), &outside).expect("moved");
    symlink(&outside, room.root().join("src")).expect("linked");
    let landing = room.land(&culprit, &revert);
    assert_eq!(landing, dirty(&["src/file"]));
    assert_eq!(fs::read(outside.join("file")).expect("read"), b"bad\n");
    assert!(Path::new(&room.root().join("src")).is_symlink());
}

#[test]
fn odd_repositories_land_as_well() {
    type Setting = (&'static str, fn(&Room) -> Option<Worktree>);
    let settings: [Setting; 5] = [
        ("split index", |r| {
            r.git(&["update-index", "--split-index", "--untracked-cache"]);
            None
        }),
        ("reftable", |r| {
            let to = r.dir.path().join("tables");
            git(r.root(), &["clone", "-q", "--ref-format=reftable", ".", &to.to_string_lossy()]);
            Worktree::discover(&to).expect("readable")
        }),
        ("packed refs and objects", |r| {
            r.git(&["gc", "-q", "--prune=now"]);
            None
        }),
        ("a bare repository with a work tree", |r| {
            let bare = r.dir.path().join("bare.git");
            git(r.root(), &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
            git(&bare, &["worktree", "add", "-q", "../linked", "main"]);
            Worktree::discover(&r.dir.path().join("linked")).expect("readable")
        }),
        ("shallow", |r| {
            let (url, to) = (format!("file://{}", r.root().display()), r.dir.path().join("shallow"));
            git(r.root(), &["clone", "-q", "--depth=1", &url, &to.to_string_lossy()]);
            Worktree::discover(&to).expect("readable")
        }),
    ];
    for (what, set) in settings {
        let room = Room::new();
        let (_, tip, revert) = broken(&room);
        let clone = set(&room).unwrap_or_else(|| room.clone.clone());
        put(&clone.root, "other.txt", "unstaged\n");
        let place = Place::Local { clone: clone.clone(), branch: "main".into() };
        assert_eq!(room.mirror.land(&place, &tip, &revert).expect(what), Landing::Landed, "{what}");
        let state = (git(&clone.root, &["rev-parse", "HEAD"]), git(&clone.root, &["status", "--porcelain"]));
        assert_eq!(state, (revert.to_string(), " M other.txt".to_owned()), "{what}");
        assert_eq!(fs::read(clone.root.join("broken.txt")).expect("read"), b"good\n", "{what}");
        git(&clone.root, &["fsck", "--strict"]);
    }
}
