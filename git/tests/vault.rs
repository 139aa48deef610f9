//! The store of contents: what it keeps, that git reads it, and that nothing is lost by a cut-off write, a full disk, a cleaned
//! or deleted work repository, or a damaged object.

mod disks;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use disks::{End, Failing, Forgetful, git, repository};
use rr_core::bugs::{Bug, plant};
use rr_core::content::Content;
use rr_git::disk::RealDisk;
use rr_git::{Vault, VaultError, name_of};

fn room() -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = Vault::open(&dir.path().join("v"), Arc::new(RealDisk)).expect("made");
    (dir, vault)
}

fn blob(content: Content) -> rr_core::content::BlobId {
    content.blob().unwrap_or_else(|| panic!("{content} has no bytes"))
}

#[test]
fn every_kind_of_thing_is_kept_as_what_it_is_and_git_reads_it() {
    let (dir, vault) = room();
    let at = |name: &str| dir.path().join(name);
    let large: Vec<u8> = (0..9u32 << 20).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let files: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("crlf", b"a\r\nb"),
        ("binary", b"\0\xff\xfe"),
        ("not-utf8", b"\xff\xfe\n"),
        ("large", &large),
        ("x", b"x\n"),
    ];
    for (name, bytes) in files {
        fs::write(at(name), bytes).expect("written");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o640)).expect("mode");
        let content = vault.keep(&at(name)).expect("kept");
        assert_eq!(content, Content::File { blob: name_of(bytes), mode: 0o640 }, "{name}");
        assert_eq!(vault.look(&at(name)).expect("seen"), content);
        assert_eq!(git(vault.dir(), &["hash-object", at(name).to_str().expect("text")]), blob(content).to_string());
        assert_eq!(git(vault.dir(), &["cat-file", "-s", &blob(content).to_string()]), bytes.len().to_string());
        assert_eq!(vault.bytes(blob(content)).expect("there"), bytes, "{name}");
    }
    let odd = dir.path().join(OsStr::from_bytes(b"odd \xff\n name"));
    fs::write(&odd, "odd").expect("written");
    assert_eq!(vault.keep(&odd).expect("kept").blob(), Some(name_of(b"odd")));
    std::os::unix::fs::symlink("/nowhere/at all", at("link")).expect("linked");
    assert_eq!(vault.keep(&at("link")).expect("kept"), Content::Link { blob: name_of(b"/nowhere/at all") });
    assert_eq!(vault.bytes(name_of(b"/nowhere/at all")).expect("there"), b"/nowhere/at all");
    assert_eq!(vault.keep(dir.path()).expect("seen"), Content::Folder);
    assert_eq!(vault.keep(&at("nothing")).expect("seen"), Content::Absent);
    assert_eq!(vault.keep(&at("x/below")).expect("seen"), Content::Absent);
    let done = std::process::Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo runs");
    assert!(done.success());
    assert_eq!(vault.keep(&at("pipe")).expect("seen"), Content::Unkept, "and nobody waits for a writer");
    git(vault.dir(), &["fsck", "--full", "--strict"]);
    assert!(vault.check().is_empty());
}

#[test]
fn a_file_over_the_limit_is_named_as_not_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = Vault::open_with(&dir.path().join("v"), Arc::new(RealDisk), 10).expect("made");
    fs::write(dir.path().join("f"), "0123456789").expect("written");
    assert!(vault.keep(&dir.path().join("f")).expect("kept").blob().is_some());
    fs::write(dir.path().join("f"), "0123456789+").expect("written");
    assert_eq!(vault.keep(&dir.path().join("f")).expect("seen"), Content::Unkept);
}

#[test]
fn a_file_that_does_not_hold_still_is_never_kept_as_what_it_never_was() {
    let (dir, vault) = room();
    let path = dir.path().join("busy");
    fs::write(&path, vec![0; 4 << 20]).expect("written");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        move || {
            let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
            for n in (0..=u8::MAX).cycle() {
                std::os::unix::fs::FileExt::write_all_at(&file, &vec![n; 4 << 20], 0).expect("written");
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        }
    });
    let tries: Vec<_> = (0..4).map(|_| vault.keep(&path)).collect();
    stop.store(true, Ordering::SeqCst);
    writer.join().expect("it ends");
    for seen in tries {
        assert!(
            matches!(seen, Err(VaultError::Restless { .. })) || seen.as_ref().is_ok_and(|c| c.blob().is_some()),
            "{seen:?}"
        );
    }
    assert!(vault.keep(&path).expect("it holds still").blob().is_some());
}

/// Keeps a content, and then the power goes.
fn kept_through_a_power_loss() -> Result<Vec<u8>, VaultError> {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Forgetful::default());
    let vault = Vault::open(&dir.path().join("v"), Arc::clone(&disk) as Arc<_>).expect("made");
    fs::write(dir.path().join("f"), "before").expect("written");
    let content = vault.keep(&dir.path().join("f")).expect("kept");
    disk.lose_power();
    let again = Vault::open(&dir.path().join("v"), disk).expect("opened");
    again.bytes(blob(content))
}

#[test]
fn what_was_kept_is_there_after_a_power_loss() {
    assert_eq!(kept_through_a_power_loss().expect("there"), b"before");
}

#[cfg(debug_assertions)]
#[test]
fn b15_a_snapshot_whose_name_was_not_synced_is_found() {
    let planted = plant(Bug::B15);
    let lost = kept_through_a_power_loss();
    drop(planted);
    assert!(matches!(lost, Err(VaultError::Missing { .. })), "it was not found: {lost:?}");
}

#[test]
fn a_full_disk_at_any_step_is_an_error_and_what_is_there_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("v");
    let first = Vault::open(&path, Arc::new(RealDisk)).expect("made");
    fs::write(dir.path().join("old"), "old").expect("written");
    fs::write(dir.path().join("new"), vec![7; 300_000]).expect("written");
    let old = blob(first.keep(&dir.path().join("old")).expect("kept"));
    let mut failed = 0;
    for steps in 0..40 {
        // Opening syncs what changed lately.
        let opened = Failing::after(usize::MAX, End::Full);
        let disk = Arc::new(opened);
        let vault = Vault::open(&path, Arc::clone(&disk) as Arc<_>).expect("opened");
        disk.run_out_after(steps);
        match vault.keep(&dir.path().join("new")) {
            Err(e) => {
                assert!(e.is_full(), "{e}");
                failed += 1;
            }
            Ok(content) => {
                assert_eq!(vault.bytes(blob(content)).expect("there").len(), 300_000);
                break;
            }
        }
        assert!(!vault.has(name_of(&vec![7; 300_000])));
        assert_eq!(vault.bytes(old).expect("there"), b"old");
        git(&path, &["fsck", "--full"]);
    }
    assert!(failed >= 3, "{failed}");
}

#[test]
fn a_damaged_object_is_named_and_the_rest_stays_usable() {
    let (dir, vault) = room();
    let keep = |text: &str| {
        fs::write(dir.path().join("f"), text).expect("written");
        blob(vault.keep(&dir.path().join("f")).expect("kept"))
    };
    let (whole, hurt) = (keep("whole"), keep("hurt"));
    let name = hurt.to_string();
    let file = vault.dir().join("objects").join(&name[..2]).join(&name[2..]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mode");
    let mut bytes = fs::read(&file).expect("read");
    let at = bytes.len() - 6;
    bytes[at] ^= 1;
    fs::write(&file, bytes).expect("written");
    assert!(matches!(vault.bytes(hurt), Err(VaultError::Damaged { .. })));
    let found = vault.check();
    assert_eq!(found.iter().map(|d| d.object).collect::<Vec<_>>(), [Some(hurt)]);
    let tidied = vault.tidy(&|_| true, Duration::ZERO).expect("tidied");
    assert_eq!((tidied.removed, tidied.left), (0, 1));
    assert_eq!(vault.bytes(whole).expect("there"), b"whole");
    assert!(file.exists(), "what is left of it is for a person to look at");
}

#[test]
fn tidying_packs_what_is_named_and_removes_the_rest() {
    let (dir, vault) = room();
    let mut blobs = Vec::new();
    for n in 0..40 {
        fs::write(dir.path().join("f"), format!("{n}\n").repeat(1_000 + n)).expect("written");
        blobs.push(blob(vault.keep(&dir.path().join("f")).expect("kept")));
    }
    let (keep, go) = blobs.split_at(20);
    assert_eq!(vault.tidy(&|_| false, Duration::from_secs(3_600)).expect("tidied").removed, 0, "all are young");
    let tidied = vault.tidy(&|b| keep.contains(&b), Duration::ZERO).expect("tidied");
    assert_eq!((tidied.kept, tidied.removed), (20, 20));
    assert!(keep.iter().all(|b| vault.owns(*b) && vault.bytes(*b).is_ok()) && !go.iter().any(|b| vault.has(*b)));
    assert_eq!(git(vault.dir(), &["count-objects"]), "0 objects, 0 kilobytes");
    // Packed ones go as well; one that was asked for meanwhile does not.
    fs::write(dir.path().join("f"), "0\n".repeat(1_000)).expect("written");
    assert_eq!(blob(vault.keep(&dir.path().join("f")).expect("kept")), keep[0]);
    let tidied = vault.tidy(&|b| b == keep[1], Duration::from_secs(3_600)).expect("tidied");
    assert_eq!((tidied.kept, tidied.removed), (2, 18));
    assert!(vault.bytes(keep[0]).is_ok() && vault.bytes(keep[1]).is_ok() && !vault.has(keep[2]));
    git(vault.dir(), &["fsck", "--full", "--strict"]);
    assert!(vault.check().is_empty());
}

#[test]
fn what_a_work_repository_has_is_not_written_twice_and_outlives_it() {
    let (dir, tree) = repository(&[("a", "committed\n"), ("b", "packed\n")]);
    let (_room, vault) = room();
    vault.borrow_from(&tree).expect("lent");
    git(dir.path(), &["gc", "-q"]);
    fs::write(dir.path().join("c"), "later\n").expect("written");
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-q", "-m", "second"]);
    let kept: Vec<_> = ["a", "b", "c"].map(|n| blob(vault.keep(&dir.path().join(n)).expect("kept"))).into();
    assert!(kept.iter().all(|b| vault.has(*b) && !vault.owns(*b)), "nothing was written");
    let adopted = vault.adopt(100).expect("taken over");
    assert_eq!((adopted.taken, adopted.lost, adopted.left), (3, 0, 0));
    assert!(kept.iter().all(|b| vault.owns(*b)));
    git(dir.path(), &["update-ref", "-d", "HEAD"]);
    git(dir.path(), &["reflog", "expire", "--expire=now", "--all"]);
    fs::remove_file(dir.path().join(".git/index")).expect("removed");
    git(dir.path(), &["gc", "-q", "--prune=now"]);
    drop(dir);
    let again = Vault::open(vault.dir(), Arc::new(RealDisk)).expect("opened");
    assert_eq!(
        kept.iter().map(|b| again.bytes(*b).expect("there")).collect::<Vec<_>>(),
        [&b"committed\n"[..], b"packed\n", b"later\n"]
    );
}

#[test]
fn a_work_repository_neither_sees_nor_pushes_any_of_it() {
    let (dir, tree) = repository(&[("a", "one\n")]);
    let (room, vault) = room();
    git(dir.path(), &["init", "-q", "--bare", room.path().join("remote.git").to_str().expect("text")]);
    git(dir.path(), &["remote", "add", "origin", room.path().join("remote.git").to_str().expect("text")]);
    let before = (
        git(dir.path(), &["for-each-ref"]),
        git(dir.path(), &["count-objects", "-v"]),
        fs::read(dir.path().join(".git/index")).expect("read"),
    );
    vault.borrow_from(&tree).expect("lent");
    fs::write(dir.path().join("a"), "secret\n").expect("written");
    let secret = blob(vault.keep(&dir.path().join("a")).expect("kept")).to_string();
    let session = rr_core::id::SessionId::from_random([1; 16]);
    vault.checkpoint(&tree, &session, "a test").expect("kept");
    let after = (
        git(dir.path(), &["for-each-ref"]),
        git(dir.path(), &["count-objects", "-v"]),
        fs::read(dir.path().join(".git/index")).expect("read"),
    );
    assert!(before == after, "the work repository is as it was");
    git(dir.path(), &["push", "-q", "--mirror", "origin"]);
    let has = |repo: &Path| {
        std::process::Command::new("git")
            .current_dir(repo)
            .args(["cat-file", "-e", &secret])
            .output()
            .expect("runs")
            .status
            .success()
    };
    assert!(!has(dir.path()) && !has(&room.path().join("remote.git")) && has(vault.dir()));
    let pushed =
        std::process::Command::new("git").current_dir(vault.dir()).args(["push", "--all"]).output().expect("runs");
    assert!(!pushed.status.success(), "it has nowhere to go");
}
