//! The files of a landing: made ready beside the work tree, then each exchanged with what stands there, and what comes out compared
//! with what was expected before anything else happens. What is not as expected goes back. Nothing is deleted that is not
//! committed. It takes no locks and moves no branch: that is `local`'s, and the order of things too.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rr_core::id::CommitId;
use rr_core::live::GitPath;
use rustix::io::Errno;

use super::place::{git, plain};
use super::{Refusal, Step};
use crate::command::Input;
use crate::disk::{Disk as _, Folder, RealDisk, Rename};
use crate::mirror::MirrorError;
use crate::mirror::ask::names;
use crate::worktree::Worktree;

const SUBMODULE: &str = "160000";
const PIECE_BYTES: usize = 64 << 10;

/// One path that a landing changes.
#[derive(Clone, Debug)]
pub(super) struct Touched {
    path: Vec<u8>,
    old: Option<Entry>,
    new: Option<Entry>,
    /// Left out of this work tree by its sparse checkout: in the index alone.
    is_absent: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    mode: String,
    id: String,
}

/// Why a file could not be moved.
pub(super) enum Stop {
    Refused(Refusal),
    Failed(MirrorError),
}

impl From<MirrorError> for Stop {
    fn from(e: MirrorError) -> Self {
        Self::Failed(e)
    }
}

/// What is made ready in the landing's folder: `old` and `want` as both commits have the files, only to compare with; `new` to be
/// exchanged; `out` for what is taken away.
pub(super) struct Staged<'a> {
    tree: &'a Worktree,
    work: &'a Path,
    pub(super) touched: Vec<Touched>,
}

impl Touched {
    fn is_file(entry: Option<&Entry>) -> bool {
        entry.is_some_and(|e| e.mode != SUBMODULE)
    }

    fn had_file(&self) -> bool {
        !self.is_absent && Self::is_file(self.old.as_ref())
    }

    fn gets_file(&self) -> bool {
        !self.is_absent && Self::is_file(self.new.as_ref())
    }

    fn relative(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    fn depth(&self) -> usize {
        self.relative().components().count()
    }
}

/// What lies between two commits, with what this work tree leaves out marked.
pub(super) fn touched(tree: &Worktree, from: &CommitId, to: &CommitId) -> Result<Vec<Touched>, MirrorError> {
    let args = ["diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--ignore-submodules=none"];
    let said = plain(&tree.root, &[&args[..], &[from.as_str(), to.as_str()]].concat())?.ok(&tree.root)?;
    let mut found = Vec::new();
    let mut tokens = names(&said);
    while let (Some(meta), Some(path)) = (tokens.next(), tokens.next()) {
        let meta = String::from_utf8_lossy(meta).into_owned();
        let fields: Vec<&str> = meta.trim_start_matches(':').split(' ').collect();
        let entry = |mode: usize, id: usize| {
            let (mode, id) = (fields.get(mode)?, fields.get(id)?);
            (*mode != "000000").then(|| Entry { mode: (*mode).to_owned(), id: (*id).to_owned() })
        };
        found.push(Touched { path: path.to_vec(), old: entry(0, 2), new: entry(1, 3), is_absent: false });
    }
    mark_absent(tree, &mut found)?;
    Ok(found)
}

fn mark_absent(tree: &Worktree, found: &mut [Touched]) -> Result<(), MirrorError> {
    let said = plain(&tree.root, &["ls-files", "-t", "-z"])?.ok(&tree.root)?;
    let skipped: HashSet<&[u8]> = names(&said).filter_map(|e| e.strip_prefix(b"S ")).collect();
    let is_sparse = plain(&tree.root, &["config", "--type=bool", "core.sparseCheckout"])?.line() == "true";
    let added: Vec<&[u8]> = found.iter().filter(|t| t.old.is_none()).map(|t| &t.path[..]).collect();
    let mut inside: HashSet<Vec<u8>> = added.iter().map(|p| p.to_vec()).collect();
    if is_sparse && !added.is_empty() {
        let list = added.join(&0);
        let input = Input { stdin: Some(&list), ..Input::default() };
        // An older git does not know: then the file is written, and the next `sparse-checkout reapply` takes it away.
        let said = git(&tree.root, &["sparse-checkout", "check-rules", "-z"], &input)?;
        if said.is_ok() {
            inside = names(&said.out).map(<[u8]>::to_vec).collect();
        }
    }
    for t in found.iter_mut() {
        let left_out = if t.old.is_none() { !inside.contains(&t.path) } else { skipped.contains(&t.path[..]) };
        t.is_absent = left_out && tree.root.join(t.relative()).symlink_metadata().is_err();
    }
    Ok(())
}

/// New paths that the index is to have without a file.
pub(super) fn absent_and_new(touched: &[Touched]) -> Vec<u8> {
    let absent: Vec<&[u8]> = touched.iter().filter(|t| t.is_absent && t.new.is_some()).map(|t| &t.path[..]).collect();
    absent.join(&0)
}

impl<'a> Staged<'a> {
    /// Takes up what an earlier landing has made ready.
    pub(super) fn found(tree: &'a Worktree, work: &'a Path, touched: Vec<Touched>) -> Self {
        Self { tree, work, touched }
    }

    /// Writes the files of both commits, as this work tree would have them.
    pub(super) fn write(&self) -> Result<(), MirrorError> {
        for folder in ["old", "want", "new", "out"] {
            fs::create_dir_all(self.work.join(folder)).map_err(self.disk("make the folder"))?;
        }
        self.check_out("old", |t| t.old.as_ref())?;
        self.check_out("want", |t| t.new.as_ref())?;
        for t in self.touched.iter().filter(|t| t.gets_file()) {
            let to = self.at("new", t);
            let made = to.parent().map_or(Ok(()), fs::create_dir_all);
            made.and_then(|()| copy_durable(&self.at("want", t), &to)).map_err(self.disk("make ready"))?;
        }
        Ok(())
    }

    fn check_out(&self, folder: &str, entry: impl Fn(&Touched) -> Option<&Entry>) -> Result<(), MirrorError> {
        let (mut lines, mut paths) = (Vec::new(), Vec::new());
        for t in self.touched.iter().filter(|t| !t.is_absent) {
            let Some(entry) = entry(t).filter(|e| e.mode != SUBMODULE) else { continue };
            lines.extend_from_slice(format!("{} {}\t", entry.mode, entry.id).as_bytes());
            for list in [&mut lines, &mut paths] {
                list.extend_from_slice(&t.path);
                list.push(0);
            }
        }
        let index = self.work.join(format!("index.{folder}"));
        let env = [("GIT_INDEX_FILE", index.as_os_str())];
        let run = |args: &[OsString], stdin: &[u8]| {
            git(&self.tree.root, args, &Input { stdin: Some(stdin), env: &env, ..Input::default() })
        };
        run(&["update-index", "-z", "--index-info"].map(OsString::from), &lines)?.ok(&self.tree.root)?;
        let mut prefix = OsString::from("--prefix=");
        prefix.push(self.work.join(folder));
        prefix.push("/");
        run(&["checkout-index".into(), "-q".into(), "-z".into(), "--stdin".into(), prefix], &paths)?
            .ok(&self.tree.root)?;
        Ok(())
    }

    /// Whether everything stands as the old commit has it, all of it looked at.
    pub(super) fn survey(&self) -> Result<(), Stop> {
        let (mut dirty, mut in_the_way) = (Vec::new(), Vec::new());
        for t in &self.touched {
            let here = self.tree.root.join(t.relative());
            if t.had_file() {
                if !self.is_as(&here, "old", t, t.old.as_ref())? {
                    dirty.push(GitPath::new(t.path.clone()));
                }
            } else if t.gets_file() && t.old.is_none() && self.holds_foreign(&here)? {
                in_the_way.push(GitPath::new(t.path.clone()));
            }
        }
        if !dirty.is_empty() {
            return Err(Stop::Refused(Refusal::Dirty { paths: dirty }));
        }
        if in_the_way.is_empty() { Ok(()) } else { Err(Stop::Refused(Refusal::InTheWay { paths: in_the_way })) }
    }

    /// Whether something stands at a new file's place that the landing does not take away itself.
    fn holds_foreign(&self, here: &Path) -> Result<bool, MirrorError> {
        let Ok(meta) = here.symlink_metadata() else { return Ok(false) };
        if !meta.is_dir() {
            return Ok(true);
        }
        let going: HashSet<PathBuf> =
            self.touched.iter().filter(|t| t.had_file()).map(|t| self.tree.root.join(t.relative())).collect();
        let mut open = vec![here.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(self.disk("look"))? {
                let path = entry.map_err(self.disk("look"))?.path();
                if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                    open.push(path);
                } else if !going.contains(&path) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Moves all of them. After a stop, [`Staged::put_back`] undoes what was done.
    pub(super) fn move_all(&self, step: &mut dyn FnMut(Step)) -> Result<(), Stop> {
        let mut moved = 0;
        let mut done = |step: &mut dyn FnMut(Step)| {
            moved += 1;
            step(Step::FileMoved(moved));
        };
        for (n, t) in self.deepest_first() {
            if t.had_file() && !t.gets_file() {
                self.take_away(n, t)?;
                done(step);
            } else if !t.had_file()
                && !t.is_absent
                && t.old.is_some()
                && t.new.as_ref().is_none_or(|e| e.mode != SUBMODULE)
            {
                self.drop_submodule(t)?;
            }
        }
        for t in self.touched.iter().filter(|t| t.had_file() && t.gets_file()) {
            self.exchange(t)?;
            done(step);
        }
        for (_, t) in self.deepest_first().into_iter().rev() {
            if t.gets_file() && !t.had_file() {
                self.put(t)?;
                done(step);
            } else if !t.is_absent && t.new.as_ref().is_some_and(|e| e.mode == SUBMODULE) {
                self.folder_for(t, "", true)
                    .and_then(|f| make_folder(&f, name_of(t.relative())))
                    .map_err(|e| self.in_the_way(t, e))?;
            }
        }
        Ok(())
    }

    fn deepest_first(&self) -> Vec<(usize, &Touched)> {
        let mut all: Vec<(usize, &Touched)> = self.touched.iter().enumerate().collect();
        all.sort_by_key(|(_, t)| std::cmp::Reverse(t.depth()));
        all
    }

    fn take_away(&self, n: usize, t: &Touched) -> Result<(), Stop> {
        let (folder, name) = (self.folder_for(t, "", false).map_err(|_| dirty(t))?, name_of(t.relative()));
        let out = Folder::open(&self.work.join("out")).map_err(self.disk("open"))?;
        let aside = OsString::from(n.to_string());
        RealDisk.rename((&folder, name), (&out, &aside), Rename::New).map_err(|e| self.gone(t, e))?;
        if !self.is_as(&self.work.join("out").join(&aside), "old", t, t.old.as_ref())? {
            RealDisk.rename((&out, &aside), (&folder, name), Rename::New).map_err(self.disk("put back"))?;
            return Err(dirty(t));
        }
        self.remove_empty_parents(t);
        Ok(())
    }

    fn exchange(&self, t: &Touched) -> Result<(), Stop> {
        let (folder, name) = (self.folder_for(t, "", false).map_err(|_| dirty(t))?, name_of(t.relative()));
        let staged = self.folder_for(t, "new", false).map_err(self.disk("open"))?;
        RealDisk.rename((&staged, name), (&folder, name), Rename::Exchange).map_err(|e| self.gone(t, e))?;
        if self.is_as(&self.at("new", t), "old", t, t.old.as_ref())? { Ok(()) } else { Err(dirty(t)) }
    }

    fn put(&self, t: &Touched) -> Result<(), Stop> {
        let folder = self.folder_for(t, "", true).map_err(|e| self.in_the_way(t, e))?;
        let (staged, name) = (self.folder_for(t, "new", false).map_err(self.disk("open"))?, name_of(t.relative()));
        if folder.sub(name).is_ok() {
            // An empty folder is nothing to git. One that is not empty stays, and refuses the name.
            drop(remove_empty(&self.tree.root.join(t.relative())));
        }
        RealDisk.rename((&staged, name), (&folder, name), Rename::New).map_err(|e| self.in_the_way(t, e))
    }

    fn drop_submodule(&self, t: &Touched) -> Result<(), Stop> {
        match fs::remove_dir(self.tree.root.join(t.relative())) {
            // Git leaves it standing as well, unless something else is to come there.
            Err(e) if e.kind() != io::ErrorKind::NotFound && t.gets_file() => Err(self.in_the_way(t, e)),
            _ => Ok(()),
        }
    }

    /// Undoes what was moved, as far as nobody has worked on it since. What somebody has is left as it is.
    pub(super) fn put_back(&self, only: impl Fn(&GitPath) -> bool) -> Result<(), MirrorError> {
        let all = self.deepest_first();
        let chosen = || all.iter().filter(|(_, t)| only(&GitPath::new(t.path.clone())));
        for (n, t) in chosen().filter(|(_, t)| t.gets_file() && !t.had_file()) {
            self.take_back_new(*n, t).map_err(self.disk("put back"))?;
        }
        for (_, t) in chosen().filter(|(_, t)| t.gets_file() && t.had_file()) {
            self.exchange_back(t).map_err(self.disk("put back"))?;
        }
        for (n, t) in chosen().rev().filter(|(_, t)| t.had_file() && !t.gets_file()) {
            self.restore(*n, t).map_err(self.disk("put back"))?;
        }
        Ok(())
    }

    fn take_back_new(&self, n: usize, t: &Touched) -> io::Result<()> {
        let here = self.tree.root.join(t.relative());
        if self.at("new", t).symlink_metadata().is_ok() || !same(&here, &self.at("want", t))? {
            return Ok(());
        }
        let (folder, out) = (self.folder_for(t, "", false)?, Folder::open(&self.work.join("out"))?);
        let (name, aside) = (name_of(t.relative()), OsString::from(n.to_string()));
        RealDisk.rename((&folder, name), (&out, &aside), Rename::New)?;
        if !same(&self.work.join("out").join(&aside), &self.at("want", t))? {
            return RealDisk.rename((&out, &aside), (&folder, name), Rename::New);
        }
        self.remove_empty_parents(t);
        Ok(())
    }

    fn exchange_back(&self, t: &Touched) -> io::Result<()> {
        let (staged, here) = (self.at("new", t), self.tree.root.join(t.relative()));
        if same(&staged, &self.at("want", t))? || !same(&here, &self.at("want", t))? {
            return Ok(());
        }
        let (folder, aside) = (self.folder_for(t, "", false)?, self.folder_for(t, "new", false)?);
        let swap = || {
            let name = name_of(t.relative());
            RealDisk.rename((&aside, name), (&folder, name), Rename::Exchange)
        };
        swap()?;
        // Somebody wrote over it just now: theirs is the newest.
        if same(&staged, &self.at("want", t))? { Ok(()) } else { swap() }
    }

    fn restore(&self, n: usize, t: &Touched) -> io::Result<()> {
        let aside = OsString::from(n.to_string());
        let out = Folder::open(&self.work.join("out"))?;
        if !out.has(&aside) {
            return Ok(());
        }
        let folder = self.folder_for(t, "", true)?;
        match RealDisk.rename((&out, &aside), (&folder, name_of(t.relative())), Rename::New) {
            // Somebody has made one anew; the old one is committed, or kept by `finish`.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    }

    /// Whether all that is left in the folder is committed, so that it may be deleted.
    pub(super) fn is_spent(&self) -> bool {
        self.touched.iter().enumerate().all(|(n, t)| {
            let left = [self.at("new", t), self.work.join("out").join(n.to_string())];
            left.iter().all(|path| {
                path.symlink_metadata().is_err()
                    || same(path, &self.at("want", t)).unwrap_or(false)
                    || self.is_as(path, "old", t, t.old.as_ref()).unwrap_or(false)
            })
        })
    }

    pub(super) fn paths(&self) -> BTreeSet<GitPath> {
        self.touched.iter().map(|t| GitPath::new(t.path.clone())).collect()
    }

    /// Whether a file is what the commit has: the same bytes, or others that git stores as the same.
    fn is_as(&self, path: &Path, folder: &str, t: &Touched, entry: Option<&Entry>) -> Result<bool, MirrorError> {
        if same(path, &self.at(folder, t)).map_err(self.disk("compare"))? {
            return Ok(true);
        }
        let (Some(entry), Ok(meta)) = (entry, path.symlink_metadata()) else { return Ok(false) };
        let is_same_kind =
            meta.is_file() && entry.mode.starts_with("100") && is_exec(&meta) == (entry.mode == "100755");
        if !is_same_kind {
            return Ok(false);
        }
        let mut as_path = OsString::from("--path=");
        as_path.push(OsStr::from_bytes(&t.path));
        let said =
            plain(&self.tree.root, &["hash-object".as_ref(), as_path.as_os_str(), "--".as_ref(), path.as_os_str()])?;
        Ok(said.is_ok() && said.line() == entry.id)
    }

    fn at(&self, folder: &str, t: &Touched) -> PathBuf {
        self.work.join(folder).join(t.relative())
    }

    /// The folder a path lies in, no link on the way: in the work tree, or in a folder of ours.
    fn folder_for(&self, t: &Touched, ours: &str, makes: bool) -> io::Result<Folder> {
        let root = if ours.is_empty() { self.tree.root.clone() } else { self.work.join(ours) };
        let root = Folder::open(&root)?;
        let parent = t.relative().parent().unwrap_or(Path::new(""));
        let mut here = root.below(Path::new(""))?;
        for part in parent {
            if makes && !here.has(part) {
                make_folder(&here, part)?;
            }
            here = here.sub(part)?;
        }
        Ok(here)
    }

    fn remove_empty_parents(&self, t: &Touched) {
        let parents = t.relative().ancestors().skip(1).filter(|p| !p.as_os_str().is_empty());
        // The first that is not empty ends it.
        let _kept = parents.map(|p| fs::remove_dir(self.tree.root.join(p))).find(Result::is_err);
    }

    fn gone(&self, t: &Touched, e: io::Error) -> Stop {
        if e.kind() == io::ErrorKind::NotFound { dirty(t) } else { Stop::Failed(self.disk("move")(e)) }
    }

    fn in_the_way(&self, t: &Touched, e: io::Error) -> Stop {
        match Errno::from_io_error(&e) {
            // Something is there; or a file or a link is where a folder is to be.
            Some(Errno::EXIST | Errno::NOTDIR | Errno::NOTEMPTY | Errno::LOOP) => {
                Stop::Refused(Refusal::InTheWay { paths: vec![GitPath::new(t.path.clone())] })
            }
            _ => Stop::Failed(self.disk("move")(e)),
        }
    }

    fn disk(&self, doing: &'static str) -> impl Fn(io::Error) -> MirrorError + '_ {
        move |source| MirrorError::Disk { doing, path: self.work.to_owned(), source }
    }
}

fn dirty(t: &Touched) -> Stop {
    Stop::Refused(Refusal::Dirty { paths: vec![GitPath::new(t.path.clone())] })
}

fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

fn make_folder(folder: &Folder, name: &OsStr) -> io::Result<()> {
    match RealDisk.make_folder(folder, name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Removes a folder that has nothing but folders in it.
fn remove_empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        remove_empty(&entry?.path())?;
    }
    fs::remove_dir(folder)
}

fn is_exec(meta: &fs::Metadata) -> bool {
    meta.mode() & 0o100 != 0
}

/// Whether two are the same to a repository: kind, bytes, and whether they can be run.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (Some(a), Some(b)) = (meta_of(one)?, meta_of(other)?) else { return Ok(false) };
    if a.is_symlink() && b.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(other)?);
    }
    if !a.is_file() || !b.is_file() || a.len() != b.len() || is_exec(&a) != is_exec(&b) {
        return Ok(false);
    }
    same_bytes(File::open(one)?, File::open(other)?)
}

fn meta_of(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

fn same_bytes(mut one: File, mut other: File) -> io::Result<bool> {
    let (mut a, mut b) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let (read, also) = (fill(&mut one, &mut a)?, fill(&mut other, &mut b)?);
        if a[..read] != b[..also] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, piece: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < piece.len() {
        match file.read(&mut piece[at..])? {
            0 => break,
            n => at += n,
        }
    }
    Ok(at)
}

pub(super) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn copy_durable(from: &Path, to: &Path) -> io::Result<()> {
    let meta = from.symlink_metadata()?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    fs::copy(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.permissions().mode()))?;
    File::open(from)?.sync_all()?;
    File::open(to)?.sync_all()
}
