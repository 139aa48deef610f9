//! A look has the whole work tree, whatever state its repository is in, and writes nothing there.

mod clones;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use clones::{Place, discover, everything, git, git_output, place, place_with, write};
use rr_git::{LOOK_BYTES_MAX, Look, Looked, Mirror, Noted, Operation, Worktree};

fn started() -> Place {
    let place = place();
    place.write("a.txt", "one\n");
    place.write("src/b.txt", "bee\n");
    place.write(".gitignore", "target\n");
    place.commit("first");
    place
}

/// The look's tree is what `git add -A` and a commit would make of the work tree, tried in a copy.
fn assert_as_committed(place: &Place, look: &Look) {
    let copy = place.room.path().join("copy");
    let _ = fs::remove_dir_all(&copy);
    assert!(Command::new("cp").arg("-a").arg(&place.dir).arg(&copy).status().expect("cp").success());
    let _ = fs::remove_file(copy.join(".git/index.lock"));
    git(&copy, &["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "add", "-A", "--sparse"]);
    assert_eq!(look.tree.as_str(), git(&copy, &["write-tree"]));
    fs::remove_dir_all(&copy).expect("removed");
}

#[test]
fn a_look_has_the_staged_the_changed_the_deleted_and_the_untracked_but_nothing_ignored() {
    let place = started();
    let clean = place.look();
    assert_eq!(clean.tree.as_str(), place.git(&["rev-parse", "HEAD^{tree}"]));
    assert_eq!((clean.branch.as_str(), clean.operation, clean.notes.len()), ("main", None, 0));
    assert_eq!(clean.head.as_ref().expect("a commit").as_str(), place.git(&["rev-parse", "HEAD"]));
    place.write("a.txt", "staged\n");
    place.git(&["add", "a.txt"]);
    place.write("a.txt", "two\n");
    place.write("new/deep/file", "untracked\n");
    place.write("target/out", "ignored\n");
    fs::remove_file(place.dir.join("src/b.txt")).expect("removed");
    symlink("a.txt", place.dir.join("link")).expect("linked");
    fs::set_permissions(place.dir.join("new/deep/file"), fs::Permissions::from_mode(0o755)).expect("mode");
    let look = place.look();
    assert_as_committed(&place, &look);
    let files = place.files(&look);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, [".gitignore", "a.txt", "link", "new/deep/file"]);
    assert_eq!(files["a.txt"], "two");
}

#[test]
fn what_is_unchanged_is_the_same_and_stores_nothing() {
    let place = started();
    place.write("new", "untracked\n");
    place.write("a.txt", "changed\n");
    let look = place.look();
    let objects = everything(&place.mirror.dir().join("objects"));
    for _ in 0..3 {
        assert_eq!(place.looked(&place.tree, Some(&look)), Looked::Same);
    }
    // Not even when all is read again.
    place.git(&["status"]);
    assert_eq!(place.looked(&place.tree, Some(&look)), Looked::Same);
    let other = Mirror::open(place.mirror.dir(), &place.tree).expect("opened");
    assert_eq!(other.look(&place.tree, Some(&look)).expect("looked"), Looked::Same);
    clones::assert_same(&objects, &everything(&place.mirror.dir().join("objects")));
}

#[test]
fn an_edit_within_the_same_moment_and_of_the_same_size_is_seen() {
    let place = started();
    let mut before = place.look();
    for round in 0..200 {
        place.write("a.txt", format!("{round:03}\n"));
        match place.mirror.look(&place.tree, Some(&before)).expect("looked") {
            Looked::Changed(look) => before = look,
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// Git may count time in whole seconds.
fn second() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after it").as_secs()
}

fn until_the_next_second() {
    let now = second();
    while second() == now {
        std::thread::yield_now();
    }
}

#[test]
fn an_edit_that_hides_behind_the_clock_is_seen() {
    let place = started();
    place.git(&["config", "core.trustctime", "false"]);
    place.git(&["config", "core.checkStat", "minimal"]);
    let stood = place.dir.join("a.txt").metadata().expect("there").modified().expect("a time");
    let later = stood + Duration::from_secs(1 << 30);
    for (text, time) in [("two\n", stood), ("six\n", SystemTime::UNIX_EPOCH), ("ten\n", later), ("red\n", later)] {
        until_the_next_second();
        let Looked::Changed(before) = place.mirror.look(&place.tree, None).expect("looked") else { panic!("changed") };
        until_the_next_second();
        place.write("a.txt", text);
        fs::File::options().write(true).open(place.dir.join("a.txt")).expect("open").set_modified(time).expect("set");
        let Looked::Changed(look) = place.looked(&place.tree, Some(&before)) else { panic!("{text} was not seen") };
        assert_eq!(place.files(&look)["a.txt"], text.trim());
    }
}

#[test]
fn an_edit_right_after_git_wrote_its_index_is_seen_through_the_copy() {
    let place = started();
    loop {
        until_the_next_second();
        let now = second();
        place.write("a.txt", "aaa\n");
        place.git(&["add", "."]);
        place.write("a.txt", "bbb\n");
        if second() == now {
            break;
        }
    }
    // To the index, they look alike; only that it was written no later than the file tells that it may not know. A copy made now
    // would be later.
    until_the_next_second();
    assert_eq!(place.files(&place.look())["a.txt"], "bbb");
}

#[test]
fn a_file_that_is_added_by_force_and_comes_back_is_still_in_the_look() {
    let place = started();
    place.write("target/kept", "one\n");
    place.git(&["add", "-f", "target/kept"]);
    place.git(&["commit", "-qm", "forced"]);
    fs::remove_file(place.dir.join("target/kept")).expect("removed");
    assert!(!place.files(&place.look()).contains_key("target/kept"));
    place.write("target/kept", "two\n");
    assert_eq!(place.files(&place.look())["target/kept"], "two");
}

#[test]
fn files_become_folders_and_links_and_back() {
    let place = started();
    place.look();
    fs::remove_file(place.dir.join("a.txt")).expect("removed");
    place.write("a.txt/inner", "x\n");
    fs::remove_dir_all(place.dir.join("src")).expect("removed");
    symlink("a.txt", place.dir.join("src")).expect("linked");
    let look = place.look();
    assert_as_committed(&place, &look);
    fs::remove_dir_all(place.dir.join("a.txt")).expect("removed");
    fs::remove_file(place.dir.join("src")).expect("removed");
    place.write("a.txt", "one\n");
    place.write("src/b.txt", "bee\n");
    assert_eq!(place.look().tree.as_str(), place.git(&["rev-parse", "HEAD^{tree}"]));
}

#[test]
fn a_repository_without_a_commit_and_one_without_a_branch_are_looked_at() {
    let place = place();
    place.write("a", "x\n");
    let look = place.look();
    assert_eq!((look.head, look.branch.as_str()), (None, "main"));
    let first = place.commit("first");
    place.git(&["checkout", "-q", "--detach"]);
    let look = place.look();
    assert_eq!((look.head.expect("a commit").as_str(), look.branch.as_str()), (first.as_str(), ""));
}

#[test]
fn a_bare_repository_is_no_work_tree() {
    let place = started();
    let bare = place.room.path().join("bare.git");
    git(place.room.path(), &["clone", "-q", "--bare", "clone", "bare.git"]);
    assert_eq!(Worktree::discover(&bare).expect("readable"), None);
    let forced = Worktree { root: bare.clone(), git_dir: bare.clone(), common_dir: bare };
    let error = place.mirror.look(&forced, None).expect_err("refused").to_string();
    assert!(error.contains("work tree"), "{error}");
}

#[test]
fn object_names_of_the_other_kind_and_refs_in_tables_are_looked_at() {
    for init in [["--object-format=sha256"], ["--ref-format=reftable"]] {
        let place = place_with(&init);
        place.write("a", "one\n");
        let head = place.commit("first");
        place.write("a", "two\n");
        let look = place.look();
        assert_eq!(look.head.as_ref().expect("a commit").as_str(), head, "{init:?}");
        assert_eq!((look.branch.as_str(), place.files(&look)["a"].as_str()), ("main", "two"));
        let changes = place.mirror.changes(&look, None).expect("told");
        assert_eq!((changes.files.len(), changes.files[0].ranges.len()), (1, 1), "{init:?}");
        place.mirror.keep(&clones::key(1, "t"), &look).expect("kept");
        let merged = place.mirror.merge_files(
            changes.files[0].from.as_ref(),
            changes.files[0].to.as_ref(),
            changes.files[0].from.as_ref(),
            &changes.files[0].path,
        );
        assert!(matches!(merged, Ok(rr_git::Merged::Clean(_))), "{merged:?}");
    }
    let other = place_with(&["--object-format=sha256"]);
    let error = started().mirror.borrow_from(&other.tree).expect_err("another format").to_string();
    assert!(error.contains("sha256"), "{error}");
}

#[test]
fn the_middle_of_a_rebase_merge_pick_revert_or_bisect_is_said_with_its_conflict_as_it_stands() {
    for init in [&[][..], &["--ref-format=reftable"]] {
        let place = place_with(init);
        place.write("a.txt", "one\n");
        place.commit("first");
        place.git(&["checkout", "-qb", "side"]);
        place.write("a.txt", "side\n");
        place.commit("side");
        place.git(&["checkout", "-q", "main"]);
        place.write("a.txt", "main\n");
        place.commit("main");
        let cases: [(&[&str], &[&str], Operation); 5] = [
            (&["merge", "side"], &["merge", "--abort"], Operation::Merge),
            (&["rebase", "side"], &["rebase", "--abort"], Operation::Rebase),
            (&["cherry-pick", "side"], &["cherry-pick", "--abort"], Operation::CherryPick),
            (&["revert", "HEAD~1"], &["revert", "--abort"], Operation::Revert),
            (&["bisect", "start"], &["bisect", "reset"], Operation::Bisect),
        ];
        for (begin, abort, operation) in cases {
            git_output(&place.dir, begin);
            let look = place.look();
            assert_eq!(look.operation, Some(operation), "{begin:?}");
            if operation != Operation::Bisect {
                let stands = fs::read_to_string(place.dir.join("a.txt")).expect("text");
                assert!(operation == Operation::Revert || stands.contains("<<<<<<<"), "{begin:?} {init:?}");
                assert_eq!(place.files(&look)["a.txt"], stands.trim_end());
            }
            place.git(abort);
            assert_eq!(place.look().operation, None, "{abort:?}");
        }
    }
}

#[test]
fn a_lock_left_behind_and_hooks_and_monitors_do_not_matter() {
    let place = started();
    let told = place.room.path().join("told");
    let hook = format!("#!/bin/sh\necho $0 >> {}\n", told.display());
    for name in ["post-index-change", "reference-transaction", "fsmonitor"] {
        let path = place.room.path().join("hooks").join(name);
        write(&place.room.path().join("hooks"), name, &hook);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let hooks = place.room.path().join("hooks");
    place.git(&["config", "core.hooksPath", hooks.to_str().expect("text")]);
    place.git(&["config", "core.fsmonitor", hooks.join("fsmonitor").to_str().expect("text")]);
    place.write(".git/index.lock", "");
    place.write("a.txt", "two\n");
    let look = place.look();
    place.mirror.keep(&clones::key(1, "t"), &look).expect("kept");
    assert_eq!(place.files(&look)["a.txt"], "two");
    assert!(!told.exists(), "{}", fs::read_to_string(told).unwrap_or_default());
}

#[test]
fn split_indexes_and_untracked_caches_are_read_and_left_alone() {
    let place = started();
    place.git(&["config", "core.splitIndex", "true"]);
    place.git(&["config", "core.untrackedCache", "true"]);
    place.git(&["config", "splitIndex.maxPercentChange", "0"]);
    place.git(&["update-index", "--split-index", "--untracked-cache"]);
    place.git(&["status"]);
    place.write("a.txt", "two\n");
    place.write("new", "x\n");
    let look = place.look();
    assert_as_committed(&place, &look);
    assert_eq!(place.looked(&place.tree, Some(&look)), Looked::Same);
}

#[test]
fn sparse_work_trees_keep_what_they_leave_out() {
    for how in [&["--cone"][..], &["--no-cone"], &["--cone", "--sparse-index"]] {
        let place = started();
        place.write("far/away.txt", "far\n");
        place.write("near/by.txt", "near\n");
        place.commit("second");
        place.git(&[&["sparse-checkout", "set"], how, &["near"]].concat());
        assert!(!place.dir.join("far").exists());
        place.write("near/by.txt", "nearer\n");
        let look = place.look();
        assert_eq!(place.files(&look)["far/away.txt"], "far", "{how:?}");
        assert_eq!(place.files(&look)["near/by.txt"], "nearer");
        // Somebody writes where nothing is checked out.
        place.write("far/new.txt", "new\n");
        place.write("far/away.txt", "changed\n");
        let look = place.look();
        assert_as_committed(&place, &look);
        assert_eq!(
            (place.files(&look)["far/new.txt"].as_str(), place.files(&look)["far/away.txt"].as_str()),
            ("new", "changed")
        );
    }
}

#[test]
fn shallow_and_partial_clones_are_looked_at_without_asking_their_remote() {
    let origin = started();
    for n in 0..3 {
        origin.write("src/b.txt", format!("{n}\n"));
        origin.write("large.bin", vec![n; 3000]);
        origin.commit("more");
    }
    origin.git(&["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", origin.dir.display());
    for how in [&["--depth=1"][..], &["--filter=blob:none"], &["--filter=tree:0"]] {
        let room = tempfile::tempdir().expect("a folder");
        git(room.path(), &[&["clone", "-q"], how, &[&url, "clone"]].concat());
        // Asking it would fail.
        git(&room.path().join("clone"), &["remote", "set-url", "origin", "file:///nowhere"]);
        let dir = room.path().join("clone");
        let place = Place::at(room, dir);
        place.write("a.txt", "two\n");
        let look = place.look();
        assert_as_committed(&place, &look);
        let (target, _) = place.mirror.target(&place.tree, None).expect("asked").expect("a target");
        let changes = place.mirror.changes(&look, Some(&target)).expect("told");
        assert_eq!(changes.files.len(), 1, "{how:?}: {changes:?}");
        place.mirror.keep(&clones::key(1, "t"), &look).expect("kept");
        place.mirror.tidy().expect("tidied");
    }
}

#[test]
fn submodules_count_by_their_commit_and_dirty_ones_are_said() {
    let inner = started();
    let place = started();
    let url = inner.dir.to_str().expect("text");
    for name in ["clean", "dirty", "moved", "empty"] {
        place.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, name]);
    }
    place.commit("submodules");
    write(&place.dir, "dirty/a.txt", "changed\n");
    write(&place.dir, "moved/a.txt", "changed\n");
    git(&place.dir.join("moved"), &["commit", "-qam", "moved"]);
    place.git(&["submodule", "--quiet", "deinit", "empty"]);
    let look = place.look();
    assert_as_committed(&place, &look);
    let said: Vec<_> = look.notes.iter().map(|note| (note.path.to_string(), note.what.clone())).collect();
    assert_eq!(said, [("dirty".to_owned(), Noted::DirtySubmodule)]);
    let changes = place.mirror.changes(&look, None).expect("told");
    let [file] = changes.files.as_slice() else { panic!("{changes:?}") };
    assert_eq!((file.path.to_string().as_str(), file.to.as_ref().expect("there").mode), ("moved", 0o160_000));
    assert_eq!(place.looked(&place.tree, Some(&look)), Looked::Same);
}

#[test]
fn other_work_trees_and_repositories_inside_are_no_part_of_it() {
    let place = started();
    place.git(&["worktree", "add", "-q", "trees/one", "-b", "one"]);
    let one = place.dir.join("trees/one");
    git(&one, &["worktree", "add", "-q", "inner/two", "-b", "two"]);
    git(&place.dir, &["init", "-q", "nested"]);
    write(&place.dir, "nested/file", "x\n");
    write(&one, "inner/two/a.txt", "two\n");
    let look = place.look();
    assert_eq!(look.tree.as_str(), place.git(&["rev-parse", "HEAD^{tree}"]));
    let said: Vec<String> = look.notes.iter().map(|note| note.path.to_string()).collect();
    assert_eq!(said, ["nested", "trees/one"]);
    let two = place.look_at(&discover(&one.join("inner/two")));
    assert_eq!((two.branch.as_str(), place.files(&two)["a.txt"].as_str()), ("two", "two"));
    let outer = place.look_at(&discover(&one));
    assert_eq!((outer.branch.as_str(), outer.notes.len()), ("one", 1));
}

#[test]
fn pipes_sockets_and_links_in_circles_are_passed_over() {
    let place = started();
    assert!(Command::new("mkfifo").arg(place.dir.join("pipe")).status().expect("mkfifo").success());
    let _socket = UnixListener::bind(place.dir.join("socket")).expect("bound");
    symlink("circle-b", place.dir.join("circle-a")).expect("linked");
    symlink("circle-a", place.dir.join("circle-b")).expect("linked");
    symlink(".", place.dir.join("src/self")).expect("linked");
    // One that was a file before.
    fs::remove_file(place.dir.join("a.txt")).expect("removed");
    assert!(Command::new("mkfifo").arg(place.dir.join("a.txt")).status().expect("mkfifo").success());
    let look = place.look();
    let names: Vec<String> = place.files(&look).into_keys().collect();
    assert_eq!(names, [".gitignore", "circle-a", "circle-b", "src/b.txt", "src/self"]);
    assert_eq!(place.looked(&place.tree, Some(&look)), Looked::Same);
}

#[test]
fn names_of_any_bytes_are_kept_and_told() {
    let place = started();
    for name in [&b"\xff\xfe"[..], b"new\nline", b"quo\"te", b"-n", b":(top)x", b"sp ace", b"*", b"\\back", b"\xc3\xa9"]
    {
        fs::write(place.dir.join(OsStr::from_bytes(name)), "x\n").expect("written");
    }
    let look = place.look();
    assert_as_committed(&place, &look);
    assert_eq!(place.mirror.changes(&look, None).expect("told").files.len(), 9);
}

/// Root reads everything, so this runs again without that right.
#[test]
fn a_file_that_may_not_be_read_is_said_and_counts_as_changed() {
    let place = started();
    place.write("a.txt", "secret\n");
    fs::set_permissions(place.dir.join("a.txt"), fs::Permissions::from_mode(0o000)).expect("mode");
    if fs::read(place.dir.join("a.txt")).is_ok() {
        let less = "-dac_override,-dac_read_search";
        let program = std::env::current_exe().expect("a path");
        let mut again = Command::new("setpriv");
        again.arg(format!("--bounding-set={less}")).arg(format!("--inh-caps={less}")).arg(program);
        again.args(["--exact", "a_file_that_may_not_be_read_is_said_and_counts_as_changed"]);
        assert!(again.status().expect("setpriv runs").success());
        return;
    }
    place.write("open", "x\n");
    let look = place.look();
    assert!(matches!(look.notes[0].what, Noted::Unreadable { .. }), "{look:?}");
    assert_eq!((place.files(&look)["a.txt"].as_str(), place.files(&look)["open"].as_str()), ("one", "x"));
    let changes = place.mirror.changes(&look, None).expect("told");
    assert!(changes.files.iter().any(|file| file.path.as_bytes() == b"a.txt" && file.binary));
}

#[test]
fn filters_encodings_and_line_ends_are_applied_as_git_does() {
    let place = started();
    place.git(&["config", "filter.shout.clean", "tr a-z A-Z"]);
    place.git(&["config", "filter.shout.smudge", "tr A-Z a-z"]);
    place.git(&["config", "core.autocrlf", "input"]);
    place.git(&["config", "core.safecrlf", "true"]);
    place.write(
        ".gitattributes",
        "*.loud filter=shout\n*.wide working-tree-encoding=UTF-16LE text\n*.crlf text eol=crlf\n",
    );
    place.write("x.loud", "quiet\n");
    place.write("x.wide", "w\0i\0\n\0");
    place.write("x.crlf", "a\r\nb\r\n");
    place.write("auto.txt", "a\r\nb\r\n");
    place.write("mixed.txt", "a\r\nb\n");
    let look = place.look();
    let files = place.files(&look);
    assert_eq!((files["x.loud"].as_str(), files["x.wide"].as_str()), ("QUIET", "wi"));
    assert_eq!(
        (files["x.crlf"].as_str(), files["auto.txt"].as_str(), files["mixed.txt"].as_str()),
        ("a\nb", "a\nb", "a\nb")
    );
    place.git(&["config", "core.safecrlf", "false"]);
    assert_as_committed(&place, &place.look());
}

#[test]
fn a_file_that_its_filter_refuses_is_said_and_the_rest_is_kept() {
    let place = started();
    place.git(&["config", "filter.broken.clean", "false"]);
    place.git(&["config", "filter.broken.required", "true"]);
    place.write(".gitattributes", "*.bad filter=broken\n");
    for n in 0..5 {
        place.write(&format!("{n}.good"), "x\n");
    }
    place.write("2.bad", "x\n");
    place.write("4.bad", "x\n");
    let look = place.look();
    assert_eq!(place.files(&look).len(), 9);
    let said: Vec<String> = look.notes.iter().map(|note| note.path.to_string()).collect();
    assert_eq!(said, ["2.bad", "4.bad"]);
    assert!(matches!(&look.notes[0].what, Noted::Refused { said, .. } if said.contains("filter")), "{look:?}");
    assert_eq!(place.looked(&place.tree, Some(&look)), Looked::Same);
    place.git(&["config", "filter.broken.clean", "cat"]);
    place.write("2.bad", "well\n");
    assert_eq!(place.files(&place.look())["2.bad"], "well");
}

#[test]
fn a_large_file_is_not_stored_but_said_and_its_edits_are_seen() {
    let place = started();
    place.look();
    let large = place.dir.join("large");
    let file = fs::File::create(&large).expect("created");
    file.set_len(200 << 20).expect("long");
    let before = place.own_objects();
    let start = Instant::now();
    let look = place.look();
    println!("200 MiB: {:?}", start.elapsed());
    assert_eq!(place.own_objects(), before);
    assert!(matches!(look.notes[0].what, Noted::Large { bytes, .. } if bytes == 200 << 20 && bytes > LOOK_BYTES_MAX));
    assert_eq!(place.looked(&place.tree, Some(&look)), Looked::Same);
    let told = place.mirror.changes(&look, None).expect("told");
    let [one] = told.files.as_slice() else { panic!("{told:?}") };
    assert!(one.binary && one.from.is_none());
    assert_eq!(place.mirror.bytes(&one.to.as_ref().expect("there").id, 10).expect("asked"), None);
    file.set_len((200 << 20) + 1).expect("longer");
    let Looked::Changed(edited) = place.looked(&place.tree, Some(&look)) else { panic!("not seen") };
    let edited = place.mirror.changes(&edited, None).expect("told");
    assert_ne!(edited.files[0].to, one.to);
}

#[test]
fn twenty_thousand_new_files_are_kept() {
    let place = started();
    for n in 0..20_000 {
        place.write(&format!("d{}/f{n}", n % 200), format!("{n}\n"));
    }
    let start = Instant::now();
    let Looked::Changed(look) = place.mirror.look(&place.tree, None).expect("looked") else { panic!("changed") };
    let first = start.elapsed();
    let start = Instant::now();
    assert_eq!(place.mirror.look(&place.tree, Some(&look)).expect("looked"), Looked::Same);
    println!("20,000 new files: first look {first:?}, the same again {:?}", start.elapsed());
    assert_as_committed(&place, &look);
    let changes = place.mirror.changes(&look, None).expect("told");
    assert_eq!((changes.files.len(), changes.left_out), (rr_git::CHANGES_MAX, 20_000 - rr_git::CHANGES_MAX));
}

#[test]
fn files_that_come_and_go_meanwhile_are_no_error() {
    let place = started();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0_u32;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                n = n.wrapping_add(1);
                let path = place.dir.join(format!("come{}", n % 50));
                let _ = fs::write(&path, n.to_string());
                let _ = fs::remove_file(place.dir.join(format!("come{}", (n + 25) % 50)));
                if n.is_multiple_of(10) {
                    let _ = fs::write(place.dir.join("a.txt"), n.to_string());
                    git_output(&place.dir, &["add", "a.txt"]);
                }
            }
        });
        for _ in 0..40 {
            place.mirror.look(&place.tree, None).expect("a look, or restless");
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let look = place.look();
    assert_as_committed(&place, &look);
}

#[test]
fn a_rewritten_history_is_looked_at_like_any_other() {
    let place = started();
    let before = place.look();
    place.git(&["commit", "-q", "--amend", "-m", "other words"]);
    let Looked::Changed(amended) = place.looked(&place.tree, Some(&before)) else { panic!("another commit") };
    assert!(amended.tree == before.tree && amended.head != before.head);
    place.git(&["checkout", "-q", "--orphan", "fresh"]);
    let orphan = place.look();
    assert_eq!((orphan.head, orphan.branch.as_str(), orphan.tree), (None, "fresh", before.tree));
}

#[test]
fn a_look_reads_back_as_it_was_stored() {
    let place = started();
    place.git(&["init", "-q", "nested"]);
    write(&place.dir, "nested/x", "x");
    let look = place.look();
    let text = serde_json::to_string(&look).expect("text");
    let back: Look = serde_json::from_str(&text).expect("read");
    assert_eq!(place.looked(&place.tree, Some(&back)), Looked::Same);
}
