//! A standing check tree is what it is moved to, whatever checks did to it and wherever a move was cut off, and nothing that did
//! not change loses its time.

mod mirrors;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mirrors::{Room, files, git, put, tree};
use rr_core::id::ObjectId;
use rr_git::CheckTree;

/// Into how many parts a move is cut.
const MOMENTS: u32 = 24;

fn slot(room: &Room) -> CheckTree {
    CheckTree::open(&room.mirror, &room.dir.path().join("slot"))
}

fn commit_tree(room: &Room, subject: &str) -> ObjectId {
    let commit = room.commit(subject);
    room.tree_of(commit.as_str())
}

fn times(root: &Path) -> BTreeMap<PathBuf, (i64, i64, u64)> {
    let stamp = |path: PathBuf| {
        let meta = root.join(&path).symlink_metadata().expect("there");
        (path, (meta.mtime(), meta.mtime_nsec(), meta.ino()))
    };
    files(root).into_keys().map(stamp).collect()
}

/// What a commit of the clone holds, with the clone's work tree standing at it.
fn checked_out(room: &Room, commit: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    room.git(&["checkout", "-q", commit]);
    files(room.root())
}

#[test]
fn what_did_not_change_keeps_its_time_and_what_a_build_left_stays() {
    for format in ["sha1", "sha256"] {
        let room = Room::of(format);
        room.put(".gitignore", "target/\nnode_modules/\n");
        room.put("same", "same\n");
        room.put("deep/same", "same\n");
        room.put("changes", "1\n");
        let one = commit_tree(&room, "one");
        room.put("changes", "2\n");
        room.put("new", "new\n");
        let two = room.commit("two");
        let slot = slot(&room);
        assert_eq!(slot.move_to(&one).expect("moved").changed, 4);
        put(&slot.root(), "target/debug/out", "built\n");
        put(&slot.root(), "node_modules/x/index.js", "installed\n");
        let before = times(&slot.root());
        // A commit will do as well as its tree.
        assert_eq!(slot.move_to(&tree(two.as_str())).expect("moved").changed, 2);
        let after = times(&slot.root());
        for path in ["same", "deep/same", "target/debug/out", "node_modules/x/index.js", ".gitignore"] {
            assert_eq!(before[Path::new(path)], after[Path::new(path)], "{path}");
        }
        assert_ne!(before[Path::new("changes")], after[Path::new("changes")]);
        let unmoved = times(&slot.root());
        assert_eq!(slot.move_to(&tree(two.as_str())).expect("moved").changed, 0);
        assert_eq!(times(&slot.root()), unmoved);
    }
}

#[test]
fn what_a_check_did_is_put_back_or_removed() {
    let room = Room::new();
    for (path, text) in
        [(".gitignore", "*.o\n"), ("a", "a\n"), ("b", "b\n"), ("c", "c\n"), ("d/in", "in\n"), ("e", "e\n")]
    {
        room.put(path, text);
    }
    let one = commit_tree(&room, "one");
    let slot = slot(&room);
    let root = slot.root();
    slot.move_to(&one).expect("moved");
    let clean = files(&root);
    put(&root, "a", "x\n");
    fs::remove_file(root.join("b")).expect("removed");
    fs::set_permissions(root.join("c"), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::remove_dir_all(root.join("d")).expect("removed");
    symlink("/", root.join("d")).expect("linked");
    fs::remove_file(root.join("e")).expect("removed");
    put(&root, "e/left", "left\n");
    put(&root, "left/over", "left\n");
    put(&root, "kept.o", "object\n");
    put(&root, "nested/file", "x\n");
    git(&root.join("nested"), &["init", "-q"]);
    git(&root, &["init", "-q"]);
    put(&root, "closed/file", "x\n");
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).expect("mode");
    slot.move_to(&one).expect("moved");
    let mut expected = clean;
    expected.insert("kept.o".into(), b"object\n".to_vec());
    assert_eq!(files(&root), expected);
    assert!(!root.join(".git").exists() && !root.join("closed").exists() && !root.join("nested").exists());
    assert_eq!(fs::metadata(root.join("c")).expect("there").permissions().mode() & 0o111, 0);
    // The same size within the same tick: only the bytes tell.
    for text in ["y\n", "z\n"] {
        put(&root, "a", text);
        slot.move_to(&one).expect("moved");
        assert_eq!(fs::read(root.join("a")).expect("read"), b"a\n");
    }
}

#[test]
fn names_in_any_bytes_case_clashes_and_kinds_that_change_places() {
    let room = Room::new();
    let odd = OsStr::from_bytes(b"odd \xff\n\"\\name");
    room.put("f2d", "file\n");
    room.put("d2f/in", "in\n");
    room.put(odd, "odd\n");
    room.put("README", "upper\n");
    room.put("readme", "lower\n");
    room.put("-dash", "dash\n");
    symlink("f2d", room.root().join("link")).expect("linked");
    let one = room.commit("one");
    fs::remove_file(room.root().join("f2d")).expect("removed");
    room.put("f2d/in", "in\n");
    fs::remove_dir_all(room.root().join("d2f")).expect("removed");
    room.put("d2f", "file\n");
    room.put(odd, "odder\n");
    fs::remove_file(room.root().join("link")).expect("removed");
    room.put("link", "no more\n");
    let two = room.commit("two");
    let slot = slot(&room);
    for commit in [&one, &two, &one, &two] {
        slot.move_to(&tree(commit.as_str())).expect("moved");
        assert_eq!(files(&slot.root()), checked_out(&room, commit.as_str()));
    }
}

#[test]
fn no_program_that_the_repository_or_the_machine_names_is_run() {
    let room = Room::new();
    let ran = room.dir.path().join("ran");
    let program = format!("echo ran >> '{}'; cat", ran.display());
    room.put(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
    room.put("big.bin", pointer);
    let one = commit_tree(&room, "one");
    for key in ["filter.lfs.smudge", "filter.lfs.clean", "core.fsmonitor"] {
        // As if the machine's settings had it.
        git(room.mirror.dir(), &["config", &format!("test.{}", key.replace('.', "-")), &program]);
    }
    let home = room.dir.path().join("home");
    fs::create_dir(&home).expect("made");
    let config = format!(
        "[filter \"lfs\"]\n\tsmudge = \"{program}\"\n\trequired = true\n[core]\n\thooksPath = {0}\n",
        home.display()
    );
    fs::write(home.join(".gitconfig"), config).expect("written");
    let hook = home.join("post-index-change");
    fs::write(&hook, format!("#!/bin/sh\necho hook >> '{}'\n", ran.display())).expect("written");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("mode");
    // The settings are read from the home of whoever runs this; another process has this one.
    let child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "moves_as_it_is_told_by_its_environment", "--nocapture"])
        .env("HOME", &home)
        .env("CHECK_TREE", format!("{}|{}|{one}", room.root().display(), room.mirror.dir().display()))
        .output()
        .expect("started");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let moved = room.mirror.dir().join("slot/tree/big.bin");
    assert_eq!(fs::read_to_string(moved).expect("moved"), pointer);
    assert!(!ran.exists(), "{:?}", fs::read_to_string(&ran));
}

/// In this process only for [`no_program_that_the_repository_or_the_machine_names_is_run`].
#[test]
fn moves_as_it_is_told_by_its_environment() {
    let Some(told) = std::env::var_os("CHECK_TREE") else { return };
    let told = told.into_string().expect("text");
    let [clone, mirror, to] = told.split('|').collect::<Vec<_>>().try_into().expect("three words");
    let clone = rr_git::Worktree::discover(Path::new(clone)).expect("readable").expect("a work tree");
    let mirror = rr_git::Mirror::open(Path::new(mirror), &clone).expect("opened");
    let slot = CheckTree::open(&mirror, &mirror.dir().join("slot"));
    slot.move_to(&tree(to)).expect("moved");
}

#[test]
fn submodules_are_left_empty_and_named() {
    let room = Room::new();
    room.put("a", "a\n");
    let commit = room.commit("one");
    room.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib/sub")]);
    room.git(&["commit", "-q", "-m", "sub"]);
    let with = tree(room.head().as_str());
    let slot = slot(&room);
    assert_eq!(slot.move_to(&with).expect("moved").submodules, ["lib/sub".into()]);
    put(&slot.root(), "lib/sub/left", "by a check\n");
    let moved = slot.move_to(&with).expect("moved");
    assert_eq!(
        (moved.submodules, fs::read_dir(slot.root().join("lib/sub")).expect("there").count()),
        (vec!["lib/sub".into()], 0)
    );
    assert_eq!(slot.move_to(&tree(commit.as_str())).expect("moved").submodules, []);
}

#[test]
fn a_damaged_tree_is_repaired_by_the_next_move() {
    let room = Room::new();
    room.put(".gitignore", "target/\n");
    room.put("a", "a\n");
    room.put("b", "b\n");
    let one = commit_tree(&room, "one");
    let slot = slot(&room);
    let folder = room.dir.path().join("slot");
    slot.move_to(&one).expect("moved");
    put(&slot.root(), "target/out", "built\n");
    let clean = files(&slot.root());
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 6] = [
        ("half an index", |f| {
            let bytes = fs::read(f.join("index")).expect("read");
            fs::write(f.join("index"), &bytes[..bytes.len() / 2]).expect("written");
        }),
        ("no index", |f| fs::remove_file(f.join("index")).expect("removed")),
        ("an index of nothing", |f| fs::write(f.join("index"), "").expect("written")),
        ("a lock left behind", |f| fs::write(f.join("index.lock"), "x").expect("written")),
        ("notes of nothing", |f| {
            fs::write(f.join("at"), "x").expect("written");
            fs::write(f.join("going"), "1".repeat(40)).expect("written");
        }),
        ("no file", |f| fs::remove_file(f.join("tree/b")).expect("removed")),
    ];
    for (what, damage) in damages {
        let stamped = times(&slot.root());
        damage(&folder);
        slot.move_to(&one).unwrap_or_else(|e| panic!("{what}: {e}"));
        let now = files(&slot.root());
        if what == "notes of nothing" {
            // A tree that nobody has any more: what stood there is not known, so it starts anew.
            assert!(!now.contains_key(Path::new("target/out")), "{what}");
            put(&slot.root(), "target/out", "built\n");
        } else {
            assert_eq!(now, clean, "{what}");
        }
        // Git takes what it still can from half an index.
        if ["no index", "an index of nothing"].contains(&what) {
            assert_eq!(times(&slot.root()), stamped, "{what}: every file keeps its time");
        }
    }
    assert!(slot.move_to(&tree(&"1".repeat(40))).is_err(), "no such tree");
}

#[test]
fn a_move_killed_anywhere_is_finished_or_undone_by_the_next() {
    let room = Room::new();
    room.put(".gitignore", "generated/\n");
    for n in 0..400 {
        room.put(format!("src/{n}"), format!("one {n}\n"));
    }
    let one = commit_tree(&room, "one");
    for n in 0..400 {
        room.put(format!("src/{n}"), format!("two {n}\n"));
        // Committed although they are ignored: nothing but the tree tells that they are no build outputs.
        room.put(format!("generated/{n}"), "two\n");
    }
    room.git(&["add", "-f", "generated"]);
    let two = commit_tree(&room, "two");
    let slot = slot(&room);
    slot.move_to(&one).expect("moved");
    put(&slot.root(), "generated/by-a-build", "built\n");
    let first = files(&slot.root());
    let told = format!("{}|{}|{two}", room.root().display(), room.mirror.dir().display());
    // The slot of the other process is another one: this test's slot is put there.
    let theirs = room.mirror.dir().join("slot");
    fs::rename(room.dir.path().join("slot"), &theirs).expect("moved");
    let slot = CheckTree::open(&room.mirror, &theirs);
    let start = || {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "moves_as_it_is_told_by_its_environment"]).env("CHECK_TREE", &told);
        child.stdout(std::process::Stdio::null()).spawn().expect("started")
    };
    let mut whole = Duration::MAX;
    // The shorter of two: a machine that was held up during one would put all the deaths behind the end.
    for _ in 0..2 {
        let started = Instant::now();
        assert!(start().wait().expect("ended").success());
        whole = whole.min(started.elapsed());
        slot.move_to(&one).expect("moved");
    }
    let mut cut = 0;
    for part in 0..MOMENTS {
        let mut child = start();
        // The moment of death is what is tried here.
        std::thread::sleep(whole * part / MOMENTS);
        child.kill().expect("killed");
        child.wait().expect("ended");
        cut += usize::from(theirs.join("going").exists());
        slot.move_to(&one).expect("moved");
        assert_eq!(files(&slot.root()), first, "killed at part {part} of {MOMENTS} of {whole:?}");
    }
    println!("{cut} moves were cut off in the middle");
    assert!(cut > 0, "none was cut off");
}
