//! Looks cross hosts over the team's own remote, one ref each; what a remote does not do is a value. And a mirror outlives what it
//! borrows, and lets go of what nobody needs.

mod clones;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clones::{Place, discover, git, git_output, key, place, place_with, write};
use rr_core::id::CommitId;
use rr_core::live::TreeKey;
use rr_git::{Fetched, Followed, Look, Looked, Merged, Mirror, MirrorError, Sent};

/// A bare remote, and two hosts that have cloned it.
struct Fleet {
    /// Removed with the fleet.
    _room: tempfile::TempDir,
    remote: PathBuf,
    url: String,
    hosts: Vec<Place>,
}

fn fleet(clone: &[&str]) -> Fleet {
    let room = tempfile::tempdir().expect("a folder");
    let remote = room.path().join("remote.git");
    git(room.path(), &["init", "-q", "--bare", "-b", "main", "remote.git"]);
    git(&remote, &["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", remote.display());
    let first = place();
    first.write("a.txt", "one\ntwo\nthree\n");
    first.write("large.txt", (0..20_000).map(|n| format!("{n}\n")).collect::<String>());
    first.commit("first");
    first.git(&["push", "-q", &url, "main"]);
    let hosts = (0..2).map(|_| {
        let room = tempfile::tempdir().expect("a folder");
        git(room.path(), &[&["clone", "-q"], clone, &[&url, "clone"]].concat());
        let dir = room.path().join("clone");
        Place::at(room, dir)
    });
    let hosts = hosts.collect();
    Fleet { remote, url, hosts, _room: room }
}

fn kept(place: &Place, key: &TreeKey) -> (Look, CommitId) {
    let look = place.look();
    let commit = place.mirror.keep(key, &look).expect("kept");
    (look, commit)
}

#[test]
fn what_one_host_sends_another_fetches_and_merges_and_only_what_changed_travels() {
    let fleet = fleet(&[]);
    let [one, two] = fleet.hosts.as_slice() else { panic!("two") };
    let (first, second) = (key(1, "t1"), key(2, "t2"));
    one.write("a.txt", "one\nmine\nthree\n");
    one.write("new.txt", "uncommitted\n");
    two.write("a.txt", "one\ntheirs\nthree\n");
    let (look, commit) = kept(one, &first);
    let before = git(&fleet.remote, &["for-each-ref", "refs/heads"]);
    let Sent::There { bytes } = one.mirror.send(&fleet.url, &first).expect("sent") else { panic!("sent") };
    assert!((1..2_000).contains(&bytes), "{bytes}: the large file stays where it is");
    assert_eq!(one.mirror.send(&fleet.url, &first).expect("sent"), Sent::Known);
    assert_eq!(one.mirror.send(&fleet.url, &second).expect("asked"), Sent::NotKept);
    let (other, _) = kept(two, &second);
    let fetched = two.mirror.fetch(&fleet.url, &[first.clone(), key(3, "nobody")]).expect("fetched");
    let Fetched::Here { got, absent, .. } = fetched else { panic!("{fetched:?}") };
    assert_eq!((got, absent), (vec![(first.clone(), commit.clone())], vec![key(3, "nobody")]));
    let base = two.git(&["rev-parse", "HEAD"]);
    let merged = two.mirror.merge_trees(&rr_core::id::ObjectId::parse(&base).expect("an id"), &other.tree, &look.tree);
    assert!(matches!(merged, Ok(Merged::Conflict { .. })), "{merged:?}");
    assert_eq!(git(two.mirror.dir(), &["cat-file", "blob", &format!("{commit}:new.txt")]), "uncommitted");
    // The next look is no descendant: its ref is forced, and no other ref is touched.
    one.write("a.txt", "one\nagain\nthree\n");
    let (_, next) = kept(one, &first);
    assert!(matches!(one.mirror.send(&fleet.url, &first), Ok(Sent::There { .. })));
    let Fetched::Here { got, .. } = two.mirror.fetch(&fleet.url, std::slice::from_ref(&first)).expect("fetched") else {
        panic!("here")
    };
    assert_eq!(got, [(first.clone(), next.clone())]);
    assert_eq!(git(&fleet.remote, &["for-each-ref", "refs/heads"]), before);
    let mut both = two.mirror.kept().expect("listed");
    both.sort();
    assert_eq!(both.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [first.clone(), second]);
    two.mirror.forget(&first).expect("forgotten");
    two.mirror.forget(&first).expect("twice");
    assert_eq!(two.mirror.kept().expect("listed").len(), 1);
}

#[test]
fn the_same_look_is_the_same_commit_on_every_host_with_the_last_commit_as_its_parent() {
    let fleet = fleet(&[]);
    let commits: Vec<CommitId> = fleet
        .hosts
        .iter()
        .map(|host| {
            host.write("a.txt", "the same\n");
            kept(host, &key(1, "t")).1
        })
        .collect();
    assert_eq!(commits[0], commits[1]);
    let parent = git(fleet.hosts[0].mirror.dir(), &["rev-parse", &format!("{}^", commits[0])]);
    assert_eq!(parent, fleet.hosts[0].git(&["rev-parse", "HEAD"]));
}

#[test]
fn shallow_and_partial_clones_send_and_fetch() {
    for how in [["--depth=1"], ["--filter=blob:none"]] {
        let fleet = fleet(&how);
        let [one, two] = fleet.hosts.as_slice() else { panic!("two") };
        one.write("a.txt", "mine\n");
        let (_, commit) = kept(one, &key(1, "t"));
        let sent = one.mirror.send(&fleet.url, &key(1, "t")).expect("sent");
        assert!(matches!(sent, Sent::There { bytes } if bytes < 2_000), "{how:?}: {sent:?}");
        let fetched = two.mirror.fetch(&fleet.url, &[key(1, "t")]).expect("fetched");
        assert!(
            matches!(&fetched, Fetched::Here { got, .. } if got == &[(key(1, "t"), commit)]),
            "{how:?}: {fetched:?}"
        );
        one.mirror.tidy().expect("tidied");
        two.mirror.tidy().expect("tidied");
    }
}

#[test]
fn a_remote_that_refuses_or_is_not_there_is_said() {
    let fleet = fleet(&[]);
    let one = &fleet.hosts[0];
    one.write("a.txt", "mine\n");
    kept(one, &key(1, "t"));
    write(&fleet.remote, "hooks/pre-receive", "#!/bin/sh\necho no such refs here >&2\nexit 1\n");
    fs::set_permissions(fleet.remote.join("hooks/pre-receive"), fs::Permissions::from_mode(0o755)).expect("mode");
    let sent = one.mirror.send(&fleet.url, &key(1, "t")).expect("sent");
    assert!(matches!(&sent, Sent::Refused(why) if why.contains("pre-receive")), "{sent:?}");
    // Nobody listens at a port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    for url in [format!("git://127.0.0.1:{port}/x"), "file:///no/such/place".to_owned()] {
        assert!(matches!(one.mirror.send(&url, &key(1, "t")), Ok(Sent::Unreachable(why)) if !why.is_empty()), "{url}");
        assert!(matches!(one.mirror.fetch(&url, &[key(1, "t")]), Ok(Fetched::Unreachable(_))), "{url}");
        assert!(matches!(one.mirror.follow(&url, "main"), Ok(Followed::Unreachable(_))), "{url}");
        let error = one.mirror.fetch_branch(&url, "main").expect_err("not reached");
        assert!(matches!(error, MirrorError::Unreachable { .. }) && error.is_retryable());
    }
}

#[test]
fn the_target_is_followed_and_a_rewritten_one_noticed() {
    let fleet = fleet(&[]);
    let [one, two] = fleet.hosts.as_slice() else { panic!("two") };
    let id = |place: &Place| CommitId::parse(&place.git(&["rev-parse", "HEAD"])).expect("an id");
    let first = id(one);
    assert_eq!(two.mirror.follow(&fleet.url, "main").expect("asked"), Followed::At(first.clone()));
    one.write("a.txt", "more\n");
    one.commit("more");
    one.git(&["push", "-q", "origin", "main"]);
    assert_eq!(two.mirror.fetch_branch(&fleet.url, "main").expect("asked"), Some(id(one)));
    let before = id(one);
    one.git(&["commit", "-q", "--amend", "-m", "other words"]);
    one.git(&["push", "-qf", "origin", "main"]);
    assert_eq!(
        two.mirror.follow(&fleet.url, "main").expect("asked"),
        Followed::Rewritten { from: before, to: id(one) }
    );
    assert_eq!(two.mirror.fetch_branch(&fleet.url, "gone").expect("asked"), None);
}

#[test]
fn a_clones_own_way_to_its_remote_is_taken_and_its_password_kept_nowhere() {
    let fleet = fleet(&[]);
    let one = &fleet.hosts[0];
    one.write("a.txt", "mine\n");
    kept(one, &key(1, "t"));
    one.git(&["remote", "set-url", "origin", "https://me:secret@team.invalid/x.git"]);
    one.git(&["config", &format!("url.{}.insteadOf", fleet.url), "https://me:secret@team.invalid/x.git"]);
    let sent = one.mirror.send("https://team.invalid/x.git", &key(1, "t")).expect("sent");
    assert!(matches!(sent, Sent::There { .. }), "{sent:?}");
    for (path, (_, _, bytes)) in clones::everything(one.mirror.dir()) {
        assert!(!String::from_utf8_lossy(&bytes).contains("secret"), "{}", path.display());
    }
}

#[test]
fn clones_are_borrowed_from_once_and_dropped_when_they_are_gone() {
    let place = place();
    place.write("a.txt", "one\n");
    place.commit("first");
    let odd = place.room.path().join("o:d\"d\nname");
    place.git(&["clone", "-q", ".", odd.to_str().expect("text")]);
    write(&odd, "only.txt", "only here\n");
    git(&odd, &["add", "."]);
    git(&odd, &["commit", "-qm", "only here"]);
    let other = discover(&odd);
    for _ in 0..2 {
        place.mirror.borrow_from(&other).expect("borrowed");
    }
    let list = fs::read_to_string(place.mirror.dir().join("objects/info/alternates")).expect("text");
    assert_eq!(list.lines().count(), 2, "{list}");
    let look = place.mirror.look(&other, None).expect("looked");
    let Looked::Changed(look) = look else { panic!("{look:?}") };
    let commit = place.mirror.keep(&key(1, "odd"), &look).expect("kept");
    assert_eq!(git(place.mirror.dir(), &["cat-file", "blob", &format!("{commit}:only.txt")]), "only here");
    place.mirror.keep(&key(1, "own"), &place.look()).expect("kept");
    fs::remove_dir_all(&odd).expect("removed");
    place.mirror.borrow_from(&place.tree).expect("borrowed");
    let list = fs::read_to_string(place.mirror.dir().join("objects/info/alternates")).expect("text");
    assert_eq!(list.lines().count(), 1);
    // What it took with it is named no more, and the rest goes on.
    let tidied = place.mirror.tidy().expect("tidied");
    assert_eq!(tidied.broken.len(), 1, "{tidied:?}");
    assert!(tidied.broken[0].ends_with("/odd"));
    assert_eq!(place.mirror.kept().expect("listed").len(), 1);
}

#[test]
fn where_a_shallow_clone_ends_another_ones_history_goes_on() {
    let place = place();
    for n in 0..4 {
        place.write("a.txt", format!("{n}\n"));
        place.commit("more");
    }
    let url = format!("file://{}", place.dir.display());
    git(place.room.path(), &["clone", "-q", "--depth=2", &url, "shallow"]);
    let shallow = discover(&place.room.path().join("shallow"));
    let alone = Mirror::open(&place.room.path().join("alone.git"), &shallow).expect("a mirror");
    alone.borrow_from(&shallow).expect("borrowed");
    let head = place.git(&["rev-parse", "HEAD"]);
    let count = |mirror: &Mirror| git(mirror.dir(), &["rev-list", "--count", &head]);
    assert_eq!(count(&alone), "2");
    alone.borrow_from(&place.tree).expect("borrowed");
    assert_eq!(count(&alone), "4");
    place.mirror.borrow_from(&shallow).expect("borrowed");
    assert_eq!(count(&place.mirror), "4");
}

/// As if everything there had been written long ago.
fn age(mirror: &Mirror) {
    let mut open = vec![mirror.dir().join("objects")];
    let long_ago = SystemTime::now() - Duration::from_secs(7 * 24 * 3600);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("listed").flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                fs::File::open(entry.path()).expect("open").set_modified(long_ago).expect("set");
            }
        }
    }
}

#[test]
fn tidying_lets_go_of_what_no_look_needs_and_of_nothing_else() {
    for init in [&[][..], &["--object-format=sha256"]] {
        let place = place_with(init);
        place.write("a.txt", "one\n");
        place.commit("first");
        let beside = Mirror::open(place.mirror.dir(), &place.tree).expect("opened by another program");
        for n in 0..30 {
            place.write("a.txt", format!("round {n}\n"));
            kept(&place, &key(1, "t"));
        }
        place.write("beside.txt", "seen by the other program alone\n");
        let Looked::Changed(other) = beside.look(&place.tree, None).expect("looked") else { panic!("changed") };
        fs::remove_file(place.dir.join("beside.txt")).expect("removed");
        let young = place.mirror.tidy().expect("tidied");
        assert_eq!(young.broken, [""; 0]);
        assert!(young.objects.1 > 60, "what is young stays: {young:?}");
        age(&place.mirror);
        let tidied = place.mirror.tidy().expect("tidied");
        assert!(tidied.objects.1 < 12, "{tidied:?}");
        assert_eq!(place.mirror.kept().expect("listed").len(), 1);
        git(place.mirror.dir(), &["fsck", "--full", "--strict"]);
        assert_eq!(place.files(&other)["beside.txt"], "seen by the other program alone");
        // It goes on from what it remembers.
        place.write("beside.txt", "seen by the other program alone\n");
        beside.look(&place.tree, Some(&other)).expect("looked");
        drop(beside);
        fs::remove_file(place.dir.join("beside.txt")).expect("removed");
        age(&place.mirror);
        let last = place.mirror.tidy().expect("tidied");
        assert!(last.objects.1 < tidied.objects.1, "{last:?} after {tidied:?}");
    }
}

#[test]
fn two_programs_look_borrow_and_tidy_at_once() {
    let place = place();
    place.write("a.txt", "one\n");
    place.commit("first");
    let others: Vec<Mirror> = (0..3).map(|_| Mirror::open(place.mirror.dir(), &place.tree).expect("opened")).collect();
    std::thread::scope(|scope| {
        for (n, mirror) in others.iter().enumerate() {
            let (tree, key) = (&place.tree, key(1, &format!("t{n}")));
            scope.spawn(move || {
                for _ in 0..10 {
                    mirror.borrow_from(tree).expect("borrowed");
                    if let Looked::Changed(look) = mirror.look(tree, None).expect("looked") {
                        mirror.keep(&key, &look).expect("kept");
                    }
                }
            });
        }
        for n in 0..5 {
            place.write("a.txt", format!("{n}\n"));
            place.mirror.tidy().expect("tidied");
        }
    });
    assert_eq!(place.mirror.kept().expect("listed").len(), 3);
    assert!(git_output(place.mirror.dir(), &["fsck", "--full"]).status.success());
}

#[test]
fn a_mirror_that_two_make_at_once_is_one() {
    let place = place();
    place.write("a.txt", "one\n");
    place.commit("first");
    let dir = place.room.path().join("made.git");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Mirror::open(&dir, &place.tree).expect("opened"));
        }
    });
    let left: Vec<_> = fs::read_dir(place.room.path()).expect("listed").flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("new-")), "{left:?}");
    Mirror::open(&dir, &place.tree).expect("opened").borrow_from(&place.tree).expect("borrowed");
}
