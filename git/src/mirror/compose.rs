//! Trees put together without any work tree: from some of the edits that lie in one (what two trees have differently, path by path, and a
//! tree with some of that), and from all works that go together. Why somebody wants one is not known here.

use std::ffi::OsStr;
use std::path::PathBuf;

use rr_core::id::{CommitId, ObjectId};
use rr_core::live::{Entry, FileChange, TreeKey};

use super::changes::changed;
use super::combine::object_of;
use super::keep::name_of;
use super::own_index::FOLDER;
use super::{Merged, Mirror, MirrorError, disk_error, nonce};
use crate::command::Input;

/// Works merged into one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    pub tree: ObjectId,
    /// Which of them are in it, by their places, in ascending order.
    pub members: Vec<usize>,
    /// Those whose contents are not here.
    pub missing: Vec<usize>,
}

/// Removed when it is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(self.0.with_extension("index.lock"));
    }
}

impl Mirror {
    /// The paths in which two trees differ, a moved file as two of them.
    ///
    /// # Errors
    /// If git fails, also because one of them is not here.
    pub fn edits(&self, from: &ObjectId, to: &ObjectId) -> Result<Vec<FileChange>, MirrorError> {
        let args = ["diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", from.as_str(), to.as_str()];
        Ok(changed(&self.git(&args, &Input::default())?))
    }

    /// The tree `base` with these edits made.
    ///
    /// # Errors
    /// If git fails.
    pub fn with_edits(&self, base: &ObjectId, edits: &[&FileChange]) -> Result<ObjectId, MirrorError> {
        let folder = self.dir.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(disk_error("make the folder", &folder))?;
        let scratch = Scratch(folder.join(format!("edits-{}.index", nonce())));
        let env = [("GIT_INDEX_FILE", scratch.0.as_os_str())];
        let index = |args: &[&str], stdin: Option<&[u8]>| {
            self.git(&args.iter().map(OsStr::new).collect::<Vec<_>>(), &Input { stdin, env: &env, ..Input::default() })
        };
        index(&["read-tree", base.as_str()], None)?;
        index(&["update-index", "-z", "--replace", "--index-info"], Some(&lines(edits, base)))?;
        let tree = index(&["write-tree"], None)?;
        object_of(&self.dir, &String::from_utf8_lossy(&tree))
    }

    /// Whether the tree that a work came to on its target is here. What another host has sent of it is merged again for that: git makes
    /// the same tree of it everywhere.
    ///
    /// # Errors
    /// If git fails.
    pub fn has_onto(&self, target: &CommitId, key: &TreeKey, tree: &ObjectId) -> Result<bool, MirrorError> {
        if self.has(tree.as_str())? {
            return Ok(true);
        }
        let Some(sent) = self.commit_at(&name_of(key)) else { return Ok(false) };
        let merged = self.merged(tree, &["merge-tree", "--write-tree", "-z", target.as_str(), sent.as_str()])?;
        Ok(merged == Merged::Clean(tree.clone()))
    }

    /// Merges trees that all stand on `base`, as many as go together: of two that do not, the earlier one is in it. The same trees make
    /// the same union on every host. Git is run about twice the logarithm of their number, and once for each that is left over.
    ///
    /// # Errors
    /// If git fails.
    pub fn union(&self, base: &ObjectId, trees: &[ObjectId]) -> Result<Union, MirrorError> {
        let (mut groups, mut missing, mut apart) = (Vec::new(), Vec::new(), Vec::new());
        for (at, tree) in trees.iter().enumerate() {
            if self.has(tree.as_str())? {
                groups.push((vec![at], tree.clone()));
            } else {
                missing.push(at);
            }
        }
        while groups.len() > 1 {
            let pairs: Vec<_> = groups.chunks_exact(2).map(|two| (two[0].1.clone(), two[1].1.clone())).collect();
            let merged = self.merge_all(base, &pairs)?;
            let odd = groups.split_off(2 * pairs.len());
            let next = groups.chunks_exact(2).zip(merged).map(|(two, merged)| match merged {
                Merged::Clean(tree) => ([two[0].0.as_slice(), &two[1].0].concat(), tree),
                Merged::Conflict { .. } | Merged::Missing(_) => {
                    apart.extend_from_slice(&two[1].0);
                    two[0].clone()
                }
            });
            groups = next.collect::<Vec<_>>().into_iter().chain(odd).collect();
        }
        let (mut members, mut tree) = groups.pop().unwrap_or_else(|| (Vec::new(), base.clone()));
        // Only one of a group may be in the way.
        apart.sort_unstable();
        for at in apart {
            if let Merged::Clean(more) = self.merge_trees(base, &tree, &trees[at])? {
                members.push(at);
                tree = more;
            }
        }
        members.sort_unstable();
        Ok(Union { tree, members, missing })
    }
}

/// What goes first: a file may stand where a folder was.
fn lines(edits: &[&FileChange], like: &ObjectId) -> Vec<u8> {
    let nothing = Entry { mode: 0, id: like.clone() };
    let (there, gone): (Vec<&FileChange>, Vec<&FileChange>) = edits.iter().partition(|edit| edit.to.is_some());
    let mut lines = Vec::new();
    for edit in gone.into_iter().chain(there) {
        let entry = edit.to.as_ref().unwrap_or(&nothing);
        lines.extend_from_slice(format!("{:06o} {}\t", entry.mode, entry.id).as_bytes());
        lines.extend_from_slice(edit.path.as_bytes());
        lines.push(0);
    }
    lines
}
