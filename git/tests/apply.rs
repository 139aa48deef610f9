//! A plan is written wholly or not at all: over every kind of thing, on a disk that fills up or dies at any step, beside people
//! who go on editing, and never through a link.

mod disks;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use disks::{End, Failing};
use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_core::rollback::{Change, Place, Request, Selection, Why, Write};
use rr_git::disk::{Disk, Folder, RealDisk, Rename};
use rr_git::{Applied, ApplyError, Vault, absent_folders, apply, plan_rollback};

/// A work tree and its vault.
struct Room {
    dir: tempfile::TempDir,
    /// Another one's, where one vault serves several.
    store: Option<PathBuf>,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("t")).expect("made");
        Self { dir, store: None }
    }

    fn on(store: &Path) -> Self {
        Self { store: Some(store.to_owned()), ..Self::new() }
    }

    fn vault(&self, disk: Arc<dyn Disk>) -> Vault {
        let own = || self.dir.path().join("v");
        Vault::open(&self.store.clone().unwrap_or_else(own), disk).expect("opened")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("t")
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    fn place(&self, path: impl AsRef<Path>) -> Place {
        Place { root: self.root(), path: path.as_ref().to_owned() }
    }

    fn put(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(&path).parent().expect("a folder")).expect("made");
        fs::write(self.at(path), bytes).expect("written");
    }

    /// What every path holds, and nothing that a rollback left lying about.
    fn seen(&self, vault: &Vault, writes: &[Write]) -> Vec<Content> {
        let mut open = vec![self.root()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).expect("look").flatten() {
                assert!(!entry.file_name().to_string_lossy().starts_with(".railroad"), "{:?}", entry.path());
                open.extend(entry.file_type().expect("a kind").is_dir().then(|| entry.path()));
            }
        }
        writes.iter().map(|w| vault.look(&w.place.root.join(&w.place.path)).expect("seen")).collect()
    }

    /// A plan over every kind of thing: from how the tree is now to how it was before.
    fn every_kind(&self, vault: &Vault) -> Vec<Write> {
        let odd: &OsStr = OsStr::from_bytes(b"odd \xff\nname");
        let paths = [
            "text",
            "binary",
            "large",
            "gone",
            "deep/er/gone",
            "new",
            "mode",
            "link",
            "link2",
            "f2d",
            "f2d/in",
            "d2f",
            "d2f/in",
            "d2f/sub",
            "made",
            "made/in",
            "shared",
        ];
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).chain([odd.into()]).collect();
        self.put("text", "old\r\nlines");
        self.put("binary", b"\0old");
        self.put("large", vec![1; 300 << 10]);
        self.put("gone", "gone");
        self.put("deep/er/gone", "deep");
        self.put("mode", "mode");
        self.put("f2d", "was a file");
        self.put("d2f/in", "in a folder");
        fs::create_dir(self.at("d2f/sub")).expect("made");
        self.put(odd, "odd");
        symlink("text", self.at("link")).expect("linked");
        self.put("link2", "was a file");
        let keep = || -> Vec<Content> { paths.iter().map(|p| vault.keep(&self.at(p)).expect("kept")).collect() };
        let before = keep();
        self.put("text", "new lines\n");
        self.put("binary", b"\0new");
        self.put("large", vec![2; 300 << 10]);
        fs::remove_file(self.at("gone")).expect("removed");
        fs::remove_dir_all(self.at("deep")).expect("removed");
        fs::set_permissions(self.at("mode"), fs::Permissions::from_mode(0o755)).expect("mode");
        fs::remove_file(self.at("f2d")).expect("removed");
        self.put("f2d/in", "inside");
        fs::remove_dir_all(self.at("d2f")).expect("removed");
        self.put("d2f", "a file now");
        self.put("new", "new");
        self.put("made/in", "made");
        self.put("shared/theirs", "somebody else's");
        self.put(odd, "odder");
        fs::remove_file(self.at("link")).expect("removed");
        symlink("elsewhere", self.at("link")).expect("linked");
        fs::remove_file(self.at("link2")).expect("removed");
        symlink("text", self.at("link2")).expect("linked");
        let writes = paths.iter().zip(before.iter().zip(keep()));
        let write = |(path, (was, is)): (&PathBuf, (&Content, Content))| Write {
            place: self.place(path),
            expects: is,
            becomes: *was,
            undoes: vec![7],
        };
        writes.map(write).filter(|w| w.expects != w.becomes).collect()
    }
}

fn as_planned(writes: &[Write]) -> Vec<Content> {
    // Somebody has a file in it.
    writes.iter().map(|w| if w.place.path == Path::new("shared") { Content::Folder } else { w.becomes }).collect()
}

#[test]
fn every_kind_of_thing_is_put_back_as_it_was() {
    let room = Room::new();
    let vault = room.vault(Arc::new(RealDisk));
    let writes = room.every_kind(&vault);
    assert_eq!(writes.len(), 18);
    let applied = apply(&vault, 3, &writes).expect("applied");
    assert_eq!(room.seen(&vault, &writes), as_planned(&writes));
    assert_eq!(applied.iter().map(|a| a.after).collect::<Vec<_>>(), as_planned(&writes));
    assert_eq!(fs::read(room.at("shared/theirs")).expect("there"), b"somebody else's");
    assert_eq!(fs::read(room.at("text")).expect("there"), b"old\r\nlines");
    let again = apply(&vault, 3, &writes).expect("nothing is left to do");
    assert_eq!(again, applied);
    let back = |a: Applied| Write { place: a.place, expects: a.after, becomes: a.before, undoes: vec![8] };
    let back: Vec<Write> = applied.into_iter().map(back).filter(|w| w.expects != w.becomes).collect();
    apply(&vault, 4, &back).expect("a rollback can be undone");
    assert_eq!(room.seen(&vault, &back), back.iter().map(|w| w.becomes).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_fills_up_at_any_step_leaves_everything_as_it_was() {
    let room = Room::new();
    let real = room.vault(Arc::new(RealDisk));
    let writes = room.every_kind(&real);
    let expected: Vec<Content> = writes.iter().map(|w| w.expects).collect();
    for steps in 0..400 {
        let disk = Arc::new(Failing::after(usize::MAX, End::Full));
        let vault = room.vault(Arc::clone(&disk) as Arc<_>);
        disk.run_out_after(steps);
        if apply(&vault, 3, &writes).is_ok() {
            assert!(steps > 40, "{steps}");
            break;
        }
        assert_eq!(room.seen(&real, &writes), expected, "after {steps} steps");
    }
    assert_eq!(room.seen(&real, &writes), as_planned(&writes));
}

#[test]
fn a_rollback_cut_off_at_any_step_is_finished_by_the_same_call() {
    let store = tempfile::tempdir().expect("a folder");
    for steps in 0..400 {
        let room = Room::on(store.path());
        // Its syncs are left out: there are thousands.
        let real = room.vault(Arc::new(Failing::after(usize::MAX, End::Gone)));
        let writes = room.every_kind(&real);
        let disk = Arc::new(Failing::after(usize::MAX, End::Gone));
        let vault = room.vault(Arc::clone(&disk) as Arc<_>);
        disk.run_out_after(steps);
        let cut_off = apply(&vault, 3, &writes).is_err();
        let applied = apply(&real, 3, &writes).unwrap_or_else(|e| panic!("after {steps} steps: {e:?}"));
        assert_eq!(room.seen(&real, &writes), as_planned(&writes), "after {steps} steps");
        assert_eq!(
            applied.iter().map(|a| a.before).collect::<Vec<_>>(),
            writes.iter().map(|w| w.expects).collect::<Vec<_>>()
        );
        if !cut_off {
            assert!(steps > 80, "{steps}");
            break;
        }
    }
}

#[test]
fn one_path_that_changed_since_the_plan_stops_all_of_it() {
    let room = Room::new();
    let vault = room.vault(Arc::new(RealDisk));
    let writes = room.every_kind(&vault);
    room.put("gone", "somebody made another");
    let refused = apply(&vault, 3, &writes).expect_err("it changed");
    assert!(matches!(&refused, ApplyError::Changed { place, .. } if place.path == Path::new("gone")), "{refused}");
    assert_eq!(fs::read(room.at("text")).expect("there"), b"new lines\n");
    assert_eq!(fs::read(room.at("gone")).expect("there"), b"somebody made another");
}

/// A step of a disk that changes a name, and the folder and the name.
type Step<'s> = (&'static str, &'s Folder, &'s OsStr);

/// Something happens before a step, or instead of it.
struct Watched<F>(F);

impl<F: Fn(Step<'_>) -> io::Result<()> + Send + Sync + 'static> Disk for Watched<F> {
    fn create(&self, folder: &Folder, name: &OsStr) -> io::Result<File> {
        (self.0)(("create", folder, name)).and_then(|()| RealDisk.create(folder, name))
    }
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        RealDisk.write(file, bytes)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        RealDisk.sync(file)
    }
    fn sync_folder(&self, folder: &Folder) -> io::Result<()> {
        (self.0)(("sync", folder, OsStr::new(""))).and_then(|()| RealDisk.sync_folder(folder))
    }
    fn set_mode(&self, file: &File, mode: u16) -> io::Result<()> {
        RealDisk.set_mode(file, mode)
    }
    fn link(&self, folder: &Folder, name: &OsStr, target: &OsStr) -> io::Result<()> {
        (self.0)(("link", folder, name)).and_then(|()| RealDisk.link(folder, name, target))
    }
    fn make_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        (self.0)(("make", folder, name)).and_then(|()| RealDisk.make_folder(folder, name))
    }
    fn remove_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        (self.0)(("remove", folder, name)).and_then(|()| RealDisk.remove_folder(folder, name))
    }
    fn remove(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        (self.0)(("remove", folder, name)).and_then(|()| RealDisk.remove(folder, name))
    }
    fn rename(&self, from: (&Folder, &OsStr), to: (&Folder, &OsStr), how: Rename) -> io::Result<()> {
        let over = if how == Rename::Over { "over" } else { "to" };
        (self.0)(("from", from.0, from.1))?;
        (self.0)((over, to.0, to.1))?;
        RealDisk.rename(from, to, how)
    }
}

/// One folder in which nothing may be made, renamed or removed, as if it were not writable for this user.
fn closed(folder: PathBuf) -> Arc<dyn Disk> {
    Arc::new(Watched(move |(step, within, _): Step<'_>| {
        let is_closed = step != "sync" && within.path() == folder;
        if is_closed { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }))
}

/// Somebody saves a file in the very moment before it is exchanged.
fn meddling(file: PathBuf) -> Arc<dyn Disk> {
    let left = Mutex::new(true);
    Arc::new(Watched(move |(step, within, name): Step<'_>| {
        let is_moment = ["from", "to"].contains(&step) && within.path().join(name) == file;
        if is_moment && std::mem::take(&mut *left.lock().expect("unpoisoned")) {
            fs::write(&file, "saved just now")?;
        }
        Ok(())
    }))
}

#[test]
fn a_folder_that_cannot_be_written_among_others_stops_all_of_it() {
    for folder in ["changed", "removed", "made", "deep/er"] {
        let room = Room::new();
        let real = room.vault(Arc::new(RealDisk));
        let files = ["first/a", "changed/a", "removed/a", "made/a", "deep/er/made/a", "last/a"].map(Path::new);
        for file in files {
            room.put(file, "keeps the folder there");
            room.put(file.with_file_name("beside"), "theirs");
        }
        fs::remove_file(room.at("removed/a")).expect("removed");
        let before = files.map(|file| real.keep(&room.at(file)).expect("kept"));
        files.iter().for_each(|file| room.put(file, "new"));
        fs::remove_file(room.at("made/a")).expect("removed");
        fs::remove_dir_all(room.at("deep/er/made")).expect("removed");
        let write = |(file, becomes): (&Path, Content)| {
            let expects = real.keep(&room.at(file)).expect("kept");
            Write { place: room.place(file), expects, becomes, undoes: vec![1] }
        };
        let writes: Vec<Write> = files.into_iter().zip(before).map(write).collect();
        let expected: Vec<Content> = writes.iter().map(|write| write.expects).collect();
        let refused = apply(&room.vault(closed(room.at(folder))), 3, &writes).expect_err("one is closed");
        let ApplyError::Disk { path, source, .. } = &refused else { panic!("{folder}: {refused}") };
        assert!(path.starts_with(room.at(folder)) && source.kind() == io::ErrorKind::PermissionDenied, "{refused}");
        assert_eq!(room.seen(&real, &writes), expected, "{folder}");
        apply(&real, 3, &writes).expect("once it is open");
        assert_eq!(room.seen(&real, &writes), before, "{folder}");
    }
}

#[test]
fn an_edit_in_the_last_moment_is_not_lost() {
    for name in ["text", "new", "gone", "link2", "d2f"] {
        let room = Room::new();
        let writes = room.every_kind(&room.vault(Arc::new(RealDisk)));
        if name == "link2" {
            // Written through, the link's target would be what changes.
            continue;
        }
        let vault = room.vault(meddling(room.at(name)));
        let refused = apply(&vault, 3, &writes).expect_err("it changed");
        assert!(matches!(refused, ApplyError::Changed { .. }), "{name}: {refused}");
        assert_eq!(fs::read(room.at(name)).expect("there"), b"saved just now", "{name}");
        let seen = room.seen(&vault, &writes);
        for (write, is) in writes.iter().zip(seen).filter(|(w, _)| w.place.path != Path::new(name)) {
            assert_eq!(is, write.expects, "{name}: {:?}", write.place.path);
        }
    }
}

#[test]
fn an_edit_in_the_last_moment_is_not_lost_where_it_cannot_be_put_back_either() {
    let room = Room::new();
    let real = room.vault(Arc::new(RealDisk));
    let writes = room.every_kind(&real);
    // From the moment of the save on, nothing can be renamed any more but what is under way.
    let (file, renames) = (room.at("text"), Mutex::new(None));
    let stuck = move |(step, within, name): Step<'_>| {
        let mut renames = renames.lock().expect("unpoisoned");
        match &mut *renames {
            None if step == "to" && within.path().join(name) == file => {
                fs::write(&file, "saved just now")?;
                *renames = Some(());
                Ok(())
            }
            Some(()) if ["from", "to", "over"].contains(&step) => Err(io::Error::other("stuck")),
            _ => Ok(()),
        }
    };
    let stopped = apply(&room.vault(Arc::new(Watched(stuck))), 3, &writes).expect_err("it is stuck");
    let ApplyError::HalfWay { beside, .. } = &stopped else { panic!("{stopped}") };
    assert_eq!(fs::read(beside).expect("as it says"), b"saved just now");
    let changed = apply(&real, 3, &writes).expect_err("somebody has changed it");
    assert!(matches!(changed, ApplyError::Changed { .. }), "{changed}");
    assert_eq!(fs::read(room.at("text")).expect("there"), b"saved just now");
}

#[test]
fn what_is_written_and_cannot_be_ended_is_said_to_be_half_way_and_ended_by_the_same_call() {
    for step in ["sync", "remove"] {
        let room = Room::new();
        let real = room.vault(Arc::new(RealDisk));
        let writes = room.every_kind(&real);
        let (text, becomes) = (room.at("text"), "old\r\nlines");
        let failing = move |(did, _, _): Step<'_>| {
            let is_written = fs::read(&text).is_ok_and(|is| is == becomes.as_bytes());
            if did == step && is_written { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        };
        let stopped = apply(&room.vault(Arc::new(Watched(failing))), 3, &writes).expect_err("it fails");
        assert!(matches!(stopped, ApplyError::HalfWay { .. }), "{step}: {stopped}");
        assert_eq!(fs::read(room.at("text")).expect("there"), becomes.as_bytes(), "{step}");
        apply(&real, 3, &writes).expect("ended");
        assert_eq!(room.seen(&real, &writes), as_planned(&writes), "{step}");
    }
}

#[test]
fn no_link_leads_a_rollback_out_of_the_tree() {
    let room = Room::new();
    let vault = room.vault(Arc::new(RealDisk));
    room.put("src/a", "before");
    let before = vault.keep(&room.at("src/a")).expect("kept");
    room.put("src/a", "after");
    let after = vault.keep(&room.at("src/a")).expect("kept");
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("a"), "after").expect("written");
    fs::remove_dir_all(room.at("src")).expect("removed");
    symlink(outside.path(), room.at("src")).expect("linked");
    let write = Write { place: room.place("src/a"), expects: after, becomes: before, undoes: vec![1] };
    let refused = apply(&vault, 1, std::slice::from_ref(&write)).expect_err("it is not there any more");
    assert!(matches!(refused, ApplyError::Changed { is: Content::Absent, .. }), "{refused}");
    let write = Write { expects: Content::Absent, ..write };
    let refused = apply(&vault, 1, std::slice::from_ref(&write)).expect_err("nothing is written through a link");
    assert!(matches!(refused, ApplyError::Disk { .. }), "{refused}");
    let up = Write { place: room.place("../x"), expects: Content::Absent, becomes: before, undoes: vec![1] };
    assert!(apply(&vault, 1, &[up]).is_err() && !room.dir.path().join("x").exists());
    assert_eq!(fs::read(outside.path().join("a")).expect("there"), b"after");
    assert_eq!(fs::read_dir(outside.path()).expect("look").count(), 1);
}

#[test]
fn a_second_name_and_a_folder_in_use_are_refused() {
    let room = Room::new();
    let vault = room.vault(Arc::new(RealDisk));
    room.put("a", "before");
    let before = vault.keep(&room.at("a")).expect("kept");
    room.put("a", "after");
    let after = vault.keep(&room.at("a")).expect("kept");
    fs::hard_link(room.at("a"), room.at("b")).expect("linked");
    let write = Write { place: room.place("a"), expects: after, becomes: before, undoes: vec![1] };
    assert!(matches!(apply(&vault, 1, &[write]), Err(ApplyError::HardLinked { .. })));
    room.put("d/theirs", "theirs");
    let write = Write { place: room.place("d"), expects: Content::Folder, becomes: before, undoes: vec![1] };
    assert!(matches!(apply(&vault, 1, &[write]), Err(ApplyError::FolderInUse { .. })));
    assert_eq!(fs::read(room.at("b")).expect("there"), b"after");
    assert_eq!(fs::read(room.at("d/theirs")).expect("there"), b"theirs");
}

/// A journal of calls on real files.
struct Journal<'r> {
    room: &'r Room,
    vault: &'r Vault,
    changes: Vec<Change>,
}

impl Journal<'_> {
    fn call(&mut self, who: u8, paths: &[&str], act: impl FnOnce()) {
        let keep = |path: &&str| self.vault.keep(&self.room.at(path)).expect("kept");
        let before: Vec<Content> = paths.iter().map(keep).collect();
        act();
        let seq = self.changes.len() as u64;
        for (path, before) in paths.iter().zip(before) {
            let after = keep(path);
            let (session, place) = (SessionId::from_random([who; 16]), self.room.place(path));
            self.changes.push(Change {
                seq,
                session,
                call: seq.to_string(),
                at_unix_ms: seq,
                place,
                before,
                after,
                undoes: vec![],
            });
        }
    }

    fn plan(&self, who: u8) -> rr_core::rollback::Plan {
        let request =
            Request { sessions: [SessionId::from_random([who; 16])].into(), selection: Selection::All, below: None };
        plan_rollback(self.vault, &self.changes, &request).expect("nothing failed")
    }
}

#[test]
fn one_session_is_taken_out_of_files_that_others_edit_too() {
    let room = Room::new();
    let vault = room.vault(Arc::new(RealDisk));
    let mut journal = Journal { room: &room, vault: &vault, changes: Vec::new() };
    let text = |lines: &[&str]| lines.iter().map(|l| format!("{l}\r\n")).collect::<String>();
    room.put("a", text(&["one", "two", "three", "four", "five"]));
    journal.call(7, &["a", "b"], || {
        room.put("a", text(&["ONE", "two", "three", "four", "five", "six"]));
        room.put("b", "only seven's");
    });
    assert_eq!(absent_folders(&room.place("new/er/c")), [PathBuf::from("new"), PathBuf::from("new/er")]);
    journal.call(7, &["new", "new/er", "new/er/c", "full", "full/d"], || {
        room.put("new/er/c", "its own");
        room.put("full/d", "its own");
    });
    room.put("full/theirs", "theirs");
    journal.call(1, &["a"], || room.put("a", text(&["ONE", "two", "three", "FOUR", "five", "six"])));
    // A person's editor, and nobody noted it.
    room.put("a", text(&["ONE", "two", "three", "FOUR", "five", "six", "seven"]));
    let plan = journal.plan(7);
    assert!(plan.conflicts.is_empty(), "{plan:?}");
    apply(&vault, 1, &plan.writes).expect("applied");
    let is = fs::read_to_string(room.at("a")).expect("there");
    assert_eq!(is, text(&["one", "two", "three", "FOUR", "five", "seven"]));
    assert!(!room.at("b").exists() && !room.at("new").exists() && !room.at("full/d").exists());
    assert_eq!(fs::read(room.at("full/theirs")).expect("there"), b"theirs");
}

#[test]
fn what_was_kept_and_is_damaged_is_a_conflict_and_the_rest_can_be_taken_back() {
    let room = Room::new();
    let vault = room.vault(Arc::new(RealDisk));
    let mut journal = Journal { room: &room, vault: &vault, changes: Vec::new() };
    room.put("hurt", "what stood there");
    room.put("cut", "what stood here");
    room.put("whole", "something else");
    let files = ["hurt", "cut", "whole"];
    journal.call(7, &files, || files.iter().for_each(|file| room.put(file, "new")));
    let object = |at: usize| {
        let name = journal.changes[at].before.blob().expect("a file").to_string();
        let file = vault.dir().join("objects").join(&name[..2]).join(&name[2..]);
        let bytes = fs::read(&file).expect("there");
        fs::remove_file(&file).expect("ours");
        (file, bytes)
    };
    let (hurt, mut bytes) = object(0);
    let at = bytes.len() - 6;
    bytes[at] ^= 1;
    fs::write(hurt, bytes).expect("written");
    let (cut, bytes) = object(1);
    fs::write(cut, &bytes[..bytes.len() / 2]).expect("written");
    let plan = journal.plan(7);
    let conflicts = plan.conflicts.iter().map(|c| (c.place.path.to_str().expect("text"), &c.why));
    assert_eq!(conflicts.collect::<Vec<_>>(), [("cut", &Why::NotKept), ("hurt", &Why::NotKept)]);
    assert_eq!(plan.writes.iter().map(|write| &write.place).collect::<Vec<_>>(), [&room.place("whole")]);
}

#[test]
fn what_cannot_be_told_apart_is_a_conflict_with_its_reason() {
    let room = Room::new();
    let vault = room.vault(Arc::new(RealDisk));
    let lines = |word: &str| format!("one\n{word}\nthree\n");
    type Step<'a> = Box<dyn Fn() + 'a>;
    let write = |bytes: Vec<u8>| -> Step<'_> {
        Box::new({
            let room = &room;
            move || room.put("f", &bytes)
        })
    };
    let remove = || -> Step<'_> { Box::new(|| fs::remove_file(room.at("f")).expect("removed")) };
    let run = |program: &'static str| -> Step<'_> {
        Box::new({
            let at = room.at("f");
            move || {
                let done = std::process::Command::new("sh").args(["-c", program, "sh"]).arg(&at).status();
                assert!(done.expect("runs").success());
            }
        })
    };
    let cases: Vec<(&str, Step<'_>, Step<'_>, Step<'_>, Why)> = vec![
        (
            "same line",
            write(lines("two").into()),
            write(lines("TWO").into()),
            write(lines("too").into()),
            Why::SameLines,
        ),
        ("binary", write(b"\0 0".to_vec()), write(b"\0 1".to_vec()), write(b"\0 2".to_vec()), Why::NotText),
        ("made by it", remove(), write(lines("its").into()), write(lines("theirs").into()), Why::EditedWhatItMade),
        ("made anew", write(lines("two").into()), remove(), write(b"another\n".to_vec()), Why::MadeAnew),
        (
            "mode",
            run("echo x > \"$1\"; chmod 644 \"$1\""),
            run("chmod 755 \"$1\""),
            run("chmod 600 \"$1\""),
            Why::SameMode,
        ),
        (
            "a folder now",
            write(lines("two").into()),
            write(lines("TWO").into()),
            run("rm \"$1\"; mkdir \"$1\""),
            Why::OtherKind,
        ),
        (
            "a link now",
            run("rmdir \"$1\"; echo one > \"$1\""),
            run("echo two > \"$1\""),
            run("ln -sf x \"$1\""),
            Why::OtherKind,
        ),
    ];
    room.put("f", "x");
    for (name, start, its, theirs, why) in cases {
        start();
        let mut journal = Journal { room: &room, vault: &vault, changes: Vec::new() };
        journal.call(7, &["f"], its);
        journal.call(1, &["f"], theirs);
        let plan = journal.plan(7);
        assert_eq!(plan.conflicts.iter().map(|c| &c.why).collect::<Vec<_>>(), [&why], "{name}");
        assert_eq!(plan.conflicts[0].by, Some((SessionId::from_random([1; 16]), 1)), "{name}");
        assert!(plan.writes.is_empty());
    }
}
