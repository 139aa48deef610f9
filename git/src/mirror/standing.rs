//! What git says of a work tree in one pass (`status --porcelain=v2 -z --branch`): the last commit, the branch, and every path that is
//! not as the index has it. Only reads words; what becomes of the paths is the look's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rr_core::id::CommitId;
use rr_core::live::GitPath;

/// One pass over a work tree.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) head: Option<CommitId>,
    /// Empty where none is checked out.
    pub(super) branch: String,
    /// Not on disk any more.
    pub(super) gone: Vec<GitPath>,
    /// Something else on disk than in the index, or not in it at all.
    pub(super) other: Vec<GitPath>,
    /// Submodules that hold changes which no commit of theirs has.
    pub(super) dirty_submodules: Vec<GitPath>,
    /// Repositories of their own, of which this one knows nothing.
    pub(super) repositories: Vec<GitPath>,
}

pub(super) fn as_path(path: &GitPath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

impl Standing {
    pub(super) fn read(said: &[u8]) -> Self {
        let mut standing = Self::default();
        for record in said.split(|b| *b == 0) {
            standing.take_in(record);
        }
        standing
    }

    fn take_in(&mut self, record: &[u8]) {
        match record {
            [b'#', b' ', rest @ ..] => self.header(&String::from_utf8_lossy(rest)),
            [b'1', b' ', ..] => self.changed(record, 8),
            // A conflict: what stands on disk is what counts.
            [b'u', b' ', ..] => self.changed(record, 10),
            [b'?', b' ', path @ .., b'/'] => self.repositories.push(GitPath::new(path)),
            [b'?', b' ', path @ ..] => self.other.push(GitPath::new(path)),
            _ => {}
        }
    }

    fn header(&mut self, line: &str) {
        if let Some(id) = line.strip_prefix("branch.oid ") {
            self.head = CommitId::parse(id).ok();
        } else if let Some(name) = line.strip_prefix("branch.head ")
            && name != "(detached)"
        {
            name.clone_into(&mut self.branch);
        }
    }

    /// `1 XY sub mH mI mW hH hI path`, `u XY sub m1 m2 m3 mW h1 h2 h3 path`.
    fn changed(&mut self, record: &[u8], fields: usize) {
        let mut parts = record.splitn(fields + 1, |b| *b == b' ');
        let (states, submodule) = (parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(path) = parts.last().map(GitPath::new) else { return };
        let on_disk = states.get(1).copied().unwrap_or(b'.');
        if let [b'S', moved, changed, untracked] = submodule {
            if *changed != b'.' || *untracked != b'.' {
                self.dirty_submodules.push(path.clone());
            }
            // Of a submodule, its commit alone is part of the tree.
            if on_disk == b'M' && *moved == b'.' {
                return;
            }
        }
        match on_disk {
            b'.' => {}
            b'D' if record[0] == b'1' => self.gone.push(path),
            _ => self.other.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_is_read() {
        let id = "1".repeat(40);
        let text = format!(
            "# branch.oid {id}\0# branch.head a b\x001 .M N... 100644 100644 100644 {id} {id} x y\x001 .D N... 100644 100644 000000 \
             {id} {id} gone\x001 M. N... 100644 100644 100644 {id} {id} staged\x001 .M S.M. 160000 160000 160000 {id} {id} sub\0\
             1 .M SC.. 160000 160000 160000 {id} {id} moved\0u UD N... 100644 100644 000000 100644 {id} {id} {id} c\0\
             ? new\0? nested/\0"
        );
        let read = Standing::read(text.as_bytes());
        let names = |paths: &[GitPath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((read.branch.as_str(), read.head.as_ref().map(CommitId::as_str)), ("a b", Some(id.as_str())));
        assert_eq!(names(&read.other), ["x y", "moved", "c", "new"]);
        assert_eq!(names(&read.gone), ["gone"]);
        assert_eq!(
            (names(&read.dirty_submodules), names(&read.repositories)),
            (vec!["sub".into()], vec!["nested".into()])
        );
        let unborn = Standing::read(b"# branch.oid (initial)\0# branch.head (detached)\0");
        assert_eq!((unborn.head, unborn.branch), (None, String::new()));
    }
}
