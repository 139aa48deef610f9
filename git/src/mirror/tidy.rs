//! What no kept look reaches goes, after a while, by git's own means; what is left is packed. Safe beside looks of other programs: what
//! they use is young, or the tree of an index of theirs, which is named for the time being.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rr_core::id::ObjectId;

use super::look::LFS;
use super::own_index::{FOLDER, TREE_ENDING};
use super::{Mirror, MirrorError, disk_error};
use crate::command::Input;

/// The trees of present looks, while it is tidied up.
const LOOKING: &str = "refs/railroad/looking";
/// What is unreachable and younger may be about to be named.
const YOUNG: &str = "2.hours.ago";
/// An index that nobody has used for so long is left over from a program that died. One of a program that lives is made anew.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);
/// Packing all of a large fleet's looks.
const GIT_LIMIT: Duration = Duration::from_secs(1800);

/// What a tidying did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorTidied {
    /// Objects of the mirror's own before and after.
    pub objects: (u64, u64),
    /// Refs that named what a clone took with it.
    pub broken: Vec<String>,
    /// Indexes that were left behind.
    pub left_behind: usize,
}

impl Mirror {
    /// Lets go of what no kept look reaches.
    ///
    /// # Errors
    /// If git or the disk fails; nothing is gone then that is reached.
    pub fn tidy(&self) -> Result<MirrorTidied, MirrorError> {
        let before = self.own_objects()?;
        let left_behind = self.drop_left_behind()?;
        self.drop_filtered();
        self.name_looks()?;
        let mut broken = Vec::new();
        if let Err(e) = self.pack() {
            broken = self.drop_broken()?;
            if broken.is_empty() {
                return Err(e);
            }
            self.pack()?;
        }
        let told = self.timed(&["prune", "--expire", YOUNG], None, GIT_LIMIT)?;
        told.good(&self.dir)?;
        Ok(MirrorTidied { objects: (before, self.own_objects()?), broken, left_behind })
    }

    fn pack(&self) -> Result<(), MirrorError> {
        let unpack = format!("--unpack-unreachable={YOUNG}");
        let told = self.timed(&["repack", "-q", "-A", "-d", "-l", &unpack], None, GIT_LIMIT)?;
        told.good(&self.dir).map(drop)
    }

    /// In files of their own and in packs; what is borrowed is not counted.
    fn own_objects(&self) -> Result<u64, MirrorError> {
        let said = self.git(&["count-objects", "-v"], &Input::default())?;
        let text = String::from_utf8_lossy(&said).into_owned();
        let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        Ok(number("count:").unwrap_or(0) + number("in-pack:").unwrap_or(0))
    }

    fn looks(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.dir.join(FOLDER)).into_iter().flatten().flatten();
        files.map(|file| file.path()).collect()
    }

    /// What Git LFS put beside our objects for a look: the user's clone has it too, and the look names it only.
    fn drop_filtered(&self) {
        let mut open = vec![self.dir.join(LFS)];
        while let Some(folder) = open.pop() {
            for file in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()) {
                if file.is_dir() {
                    open.push(file);
                } else if is_old(&file) {
                    // The next tidying tries again.
                    let _ = std::fs::remove_file(file);
                }
            }
        }
    }

    fn drop_left_behind(&self) -> Result<usize, MirrorError> {
        let mut count = 0;
        for file in self.looks() {
            let tree = file.with_extension(TREE_ENDING);
            // The tree is written again with each look.
            if is_old(&file) && (is_old(&tree) || !tree.exists()) {
                match std::fs::remove_file(&file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(disk_error("remove", &file)(e)),
                    _ => count += usize::from(file.extension().is_some_and(|end| end == "index")),
                }
            }
        }
        Ok(count)
    }

    /// Names the trees of present looks, and forgets those of looks that are over.
    fn name_looks(&self) -> Result<(), MirrorError> {
        let named = self.git(&["for-each-ref", "--format=%(refname)", LOOKING], &Input::default())?;
        let mut commands = String::new();
        for name in String::from_utf8_lossy(&named).lines() {
            commands.push_str(&format!("delete {name}\n"));
        }
        self.update_refs(commands)?;
        let mut commands = String::new();
        for file in self.looks().into_iter().filter(|file| file.extension().is_some_and(|end| end == TREE_ENDING)) {
            let Some(name) = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
            let tree = std::fs::read_to_string(&file).ok().and_then(|text| ObjectId::parse(&text).ok());
            if let Some(tree) = tree
                && self.has(tree.as_str())?
            {
                commands.push_str(&format!("update {LOOKING}/{name} {tree}\n"));
            }
        }
        self.update_refs(commands)
    }

    fn update_refs(&self, commands: String) -> Result<(), MirrorError> {
        if commands.is_empty() {
            return Ok(());
        }
        self.timed(&["update-ref", "--no-deref", "--stdin"], Some(commands.into_bytes()), GIT_LIMIT)?
            .good(&self.dir)
            .map(drop)
    }

    /// Refs whose objects are not all here any more: a clone that lent some is gone, or has let go of them.
    pub(super) fn drop_broken(&self) -> Result<Vec<String>, MirrorError> {
        let said = self.timed(&["for-each-ref", "--format=%(refname)", "refs/railroad"], None, GIT_LIMIT)?;
        let mut broken = Vec::new();
        for name in String::from_utf8_lossy(&said.out).lines() {
            let told = self.timed(&["rev-list", "--objects", "--quiet", name], None, GIT_LIMIT)?;
            if !told.status.success() {
                self.timed(&["update-ref", "--no-deref", "-d", name], None, GIT_LIMIT)?.good(&self.dir)?;
                broken.push(name.to_owned());
            }
        }
        Ok(broken)
    }
}

/// By when it was put there: an index keeps the time stamp of what it was made from.
fn is_old(file: &Path) -> bool {
    let since = SystemTime::now().checked_sub(LEFT_BEHIND).unwrap_or(SystemTime::UNIX_EPOCH);
    let since = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    file.metadata().is_ok_and(|meta| meta.ctime() < i64::try_from(since).unwrap_or(0))
}
