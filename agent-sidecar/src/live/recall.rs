//! Who made the changed files of a work tree what they are, from the journal: for a sidecar that has not been there. A file counts only if
//! calls lead from what the target has to what stands there now without a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_core::live::{Entry, FileChange, GitPath};
use rr_core::path::RepoPath;
use rr_journal::{Event, Filter, Kind, Order, Reader};

/// Calls that are gone through: more than a work tree's uncommitted work takes.
const CALLS_MAX: usize = 2_000;

/// One file on the way back from what stands there now.
struct Way<'a> {
    file: &'a FileChange,
    content: Option<String>,
    by: BTreeSet<SessionId>,
}

/// The sessions of each file whose way is known.
pub(super) fn written(journal: &Reader, root: &Path, files: &[FileChange]) -> BTreeMap<GitPath, BTreeSet<SessionId>> {
    let way = |file| Way { file, content: name_of(file.to.as_ref()), by: BTreeSet::new() };
    let path = |file: &FileChange| RepoPath::parse(file.path.as_bytes()).ok();
    let mut ways: BTreeMap<RepoPath, Way<'_>> = files.iter().filter_map(|f| Some((path(f)?, way(f)))).collect();
    let mut found = BTreeMap::new();
    let filter = Filter {
        root: Some(root.to_owned()),
        kinds: Some(vec![Kind::Done, Kind::RolledBack]),
        limit: Some(CALLS_MAX),
        order: Order::NewestFirst,
        ..Filter::default()
    };
    for (_, entry) in journal.query(&filter).filter_map(Result::ok) {
        let (Event::Done { changes, .. } | Event::RolledBack { changes, .. }) = entry.event else { continue };
        for change in changes.into_iter().rev().filter(|change| change.root == root) {
            let Some(mut way) = ways.remove(&change.path) else { continue };
            let (Some(after), Some(before), Some(by)) = (name(change.after), name(change.before), &entry.session)
            else {
                continue;
            };
            // Otherwise somebody else was there since, and the rest of its way is nobody's to tell.
            if after == way.content {
                way.by.insert(by.clone());
                way.content = before;
                if way.content == name_of(way.file.from.as_ref()) {
                    found.insert(way.file.path.clone(), way.by);
                } else {
                    ways.insert(change.path, way);
                }
            }
        }
        if ways.is_empty() {
            break;
        }
    }
    found
}

/// Git's name for it. In a repository of another hash than the journal's no name is the same, and nothing is known.
fn name_of(entry: Option<&Entry>) -> Option<String> {
    entry.map(|entry| entry.id.to_string())
}

/// None: what was there has no name. Within: nothing was there.
fn name(content: Content) -> Option<Option<String>> {
    match content {
        Content::Absent => Some(None),
        Content::Folder | Content::Unkept => None,
        Content::File { .. } | Content::Link { .. } => content.blob().map(|blob| Some(blob.to_string())),
    }
}
