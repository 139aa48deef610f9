//! A checkpoint is the whole work tree at one moment, in a place of its own, and can be read back whatever becomes of the rest.

mod disks;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use disks::{git, repository};
use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_git::Vault;
use rr_git::disk::RealDisk;

#[test]
fn a_checkpoint_has_the_whole_tree_and_outlives_its_repository() {
    let (dir, tree) = repository(&[("src/a.rs", "one\n"), ("gone", "x\n"), (".gitignore", "target\n")]);
    let room = tempfile::tempdir().expect("a folder");
    let vault = Vault::open(&room.path().join("v:1"), Arc::new(RealDisk)).expect("made");
    fs::write(dir.path().join("src/a.rs"), "two\n").expect("written");
    fs::write(dir.path().join("new"), "untracked\n").expect("written");
    fs::set_permissions(dir.path().join("new"), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::remove_file(dir.path().join("gone")).expect("removed");
    fs::create_dir(dir.path().join("target")).expect("made");
    fs::write(dir.path().join("target/out"), "built\n").expect("written");
    std::os::unix::fs::symlink("src/a.rs", dir.path().join("link")).expect("linked");
    let state = || {
        (
            git(dir.path(), &["status", "--porcelain"]),
            git(dir.path(), &["for-each-ref"]),
            git(dir.path(), &["rev-parse", "HEAD"]),
        )
    };
    let before = state();
    let (one, other) = (SessionId::from_random([1; 16]), SessionId::from_random([2; 16]));
    let first = vault.checkpoint(&tree, &one, "every\nten minutes").expect("kept");
    fs::write(dir.path().join("src/a.rs"), "three\n").expect("written");
    let second = vault.checkpoint(&tree, &one, "green").expect("kept");
    let third = vault.checkpoint(&tree, &other, "by hand").expect("kept");
    assert_eq!(before, state(), "nothing of the user's changed");
    assert_eq!((first.number, second.number, third.number), (1, 2, 1));
    assert_eq!(
        (first.why.as_str(), &first.root, first.head.as_deref()),
        ("every ten minutes", &tree.root, Some(before.2.as_str()))
    );
    assert_eq!(vault.checkpoints(Some(&one)).expect("listed"), [first.clone(), second.clone()]);
    assert_eq!(vault.checkpoints(None).expect("listed").len(), 3);
    let unsaid = vault.checkpoint(&tree, &other, " ").expect("kept");
    assert_eq!((unsaid.number, unsaid.why.as_str(), &unsaid.root), (2, "", &tree.root), "nobody has to say why");
    // One that cannot be read takes its number with it, and hinders none that comes.
    let strange = format!("refs/railroad/checkpoints/{other}/7");
    git(
        vault.dir(),
        &[
            "update-ref",
            &strange,
            &git(vault.dir(), &["commit-tree", "-m", "x", &format!("{}^{{tree}}", third.commit)]),
        ],
    );
    assert_eq!(vault.checkpoint(&tree, &other, "after it").expect("kept").number, 8);
    drop(dir);
    let read = |commit: &str| -> BTreeMap<PathBuf, (Content, Vec<u8>)> {
        let files = vault.checkpoint_files(commit).expect("listed");
        files.into_iter().map(|(path, c)| (path, (c, vault.bytes(c.blob().expect("bytes")).expect("there")))).collect()
    };
    let files = read(&first.commit);
    let names: Vec<&str> = files.keys().map(|path| path.to_str().expect("text")).collect();
    assert_eq!(names, [".gitignore", "link", "new", "src/a.rs"]);
    assert_eq!(files[&PathBuf::from("src/a.rs")].1, b"two\n");
    assert!(matches!(files[&PathBuf::from("new")].0, Content::File { mode: 0o755, .. }));
    assert!(matches!(files[&PathBuf::from("link")].0, Content::Link { .. }));
    git(vault.dir(), &["fsck", "--full", "--strict"]);
    vault.forget_checkpoint(&first).expect("forgotten");
    vault.tidy(&|_| false, Duration::ZERO).expect("tidied");
    assert_eq!(read(&second.commit)[&PathBuf::from("src/a.rs")].1, b"three\n");
    assert!(vault.checkpoint_files(&first.commit).is_err(), "it is gone");
    git(vault.dir(), &["fsck", "--full", "--strict"]);
}
