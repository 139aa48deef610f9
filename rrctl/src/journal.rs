//! The journal as a person asks about it: what was typed becomes a filter, entries become words, calls become scenes, changes
//! become diffs. Reads files only, so that it works with no daemon. The commands are `cmd::{log, replay, blame}`.

pub(crate) mod diff;
pub(crate) mod lines;
pub(crate) mod player;
pub(crate) mod rows;
pub(crate) mod screen;
pub(crate) mod story;
pub(crate) mod when;
pub(crate) mod words;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use jiff::tz::TimeZone;
use rr_core::id::SessionId;
use rr_core::path::{self, RepoPath};
use rr_journal::{Contents, Damage, Entry, Event, Filter, Kind as EntryKind, Reader};
use rr_runtime::dirs::Dirs;

use crate::exit::{Failure, Kind};

pub(crate) fn reader(dirs: &Dirs) -> Reader {
    Reader::open(&dirs.journal_dir())
}

/// Where the bytes of contents are kept: in the snapshots, and until they are taken over, in the repository around.
pub(crate) fn contents(dirs: &Dirs) -> Box<dyn Contents> {
    let here = std::env::current_dir().ok().and_then(|dir| rr_git::Worktree::discover(&dir).ok().flatten());
    let peek = rr_git::Peek::open(&dirs.snapshots_dir(), here.as_slice());
    Box::new(move |blob| peek.bytes(blob))
}

/// What is not in the journal that was asked, though it happened.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// The first entry that is still there, if older ones were removed, and its time.
    begins: Option<(u64, u64)>,
    pub(crate) damage: Vec<Damage>,
}

impl Missing {
    /// `met`: the damage that was met while reading.
    pub(crate) fn of(reader: &Reader, met: Vec<Damage>) -> Self {
        let gaps = reader.gaps();
        let mut damage = met;
        let same = |one: &Damage, other: &Damage| one.file == other.file && one.after == other.after;
        for found in gaps.damage {
            if !damage.iter().any(|known| same(known, &found)) {
                damage.push(found);
            }
        }
        damage.sort_by_key(|damage| damage.after);
        let oldest = || reader.query(&Filter { limit: Some(1), ..Filter::default() }).flatten().next();
        let begins = gaps.begins.map(|first| (first, oldest().map_or(0, |(_, entry)| entry.at_unix_ms)));
        Self { begins, damage }
    }

    /// After which entries some are missing.
    pub(crate) fn points(&self) -> Vec<u64> {
        self.begins.map(|_| 0).into_iter().chain(self.damage.iter().map(|damage| damage.after)).collect()
    }

    pub(crate) fn begins(&self) -> Option<u64> {
        self.begins.map(|(first, _)| first)
    }

    /// When it begins, if older entries were removed.
    pub(crate) fn begins_unix_ms(&self) -> Option<u64> {
        self.begins.map(|(_, at)| at)
    }

    /// What was removed with age.
    pub(crate) fn removed(&self, zone: &TimeZone) -> Option<String> {
        let (first, at) = self.begins?;
        Some(format!("Entries before {first} ({}) were removed: too old, or too many.", when::show(at, zone)))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        self.damage.iter().map(rr_journal::json::damage).collect()
    }
}

/// The one session that is meant, by the begin of its id or by the agent's own name for it.
pub(crate) fn session(reader: &Reader, wanted: &str) -> Result<SessionId, Failure> {
    let mut found = named(reader, wanted);
    if let Some(begin) = begin(wanted) {
        let filter = Filter { session: Some(begin), ..Filter::default() };
        found.extend(reader.query(&filter).flatten().filter_map(|(_, entry)| entry.session));
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            let failure = Failure::new(Kind::NotFound, format!("this machine's journal knows no session {wanted}"));
            let failure = match reader.gaps() {
                gaps if gaps.begins.is_some() || !gaps.damage.is_empty() => {
                    failure.because("a part of the journal is not there any more (rrctl doctor tells which)")
                }
                _ => failure,
            };
            Err(failure.hint("rrctl log --kind session-started; with --all-hosts those of other machines"))
        }
        (Some(one), Some(other)) => {
            let more = found.map(|id| id.to_string());
            let ids: Vec<String> = [one.to_string(), other.to_string()].into_iter().chain(more).collect();
            let what = format!("{} sessions are called {wanted}", ids.len());
            Err(Failure::new(Kind::NotFound, what).because(ids.join("\n")).hint("give more of its id"))
        }
    }
}

/// What the ids begin with of the sessions that are meant, of several if it is short.
pub(crate) fn sessions(reader: &Reader, wanted: &str) -> Result<String, Failure> {
    match begin(wanted) {
        Some(begin) if named(reader, wanted).is_empty() => Ok(begin),
        _ => session(reader, wanted).map(|id| id.to_string()),
    }
}

/// The sessions that agents have this name for.
fn named(reader: &Reader, wanted: &str) -> BTreeSet<SessionId> {
    let filter = Filter { kinds: Some(vec![EntryKind::SessionStarted]), ..Filter::default() };
    let is_meant =
        |entry: &Entry| matches!(&entry.event, Event::SessionStarted { agent_session, .. } if agent_session == wanted);
    reader
        .query(&filter)
        .flatten()
        .filter(|(_, entry)| is_meant(entry))
        .filter_map(|(_, entry)| entry.session)
        .collect()
}

/// The begin of a session's id, if that is what was typed.
fn begin(typed: &str) -> Option<String> {
    let ok = (1..=32).contains(&typed.len()) && typed.bytes().all(|b| b.is_ascii_hexdigit());
    ok.then(|| typed.to_ascii_lowercase())
}

/// A path as typed: in which work tree, and where in it. Outside of any it is taken as it stands.
pub(crate) fn place(typed: &OsStr) -> Result<(Option<PathBuf>, RepoPath), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let typed = path::typed(typed);
    let whole = tidy(&here.join(&typed));
    let near = whole.ancestors().find(|folder| folder.is_dir()).unwrap_or(&here);
    let tree = rr_git::Worktree::discover(near).map_err(|e| Failure::at("look for a repository", &e))?;
    let inside = tree.and_then(|tree| Some((tree.root.clone(), whole.strip_prefix(&tree.root).ok()?.to_owned())));
    let (root, relative) = match inside {
        Some((root, relative)) => (Some(root), relative),
        None => (None, typed.strip_prefix(".").unwrap_or(&typed).to_owned()),
    };
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(relative.as_os_str());
    let path = RepoPath::found(bytes);
    let path = path.map_err(|e| {
        Failure::at(format!("understand the path {}", path::show(&typed)), &e)
            .of_kind(Kind::Usage)
            .hint("name a path in a repository")
    })?;
    Ok((root, path))
}

/// Without `.` and `..`, by the text alone: what is asked about need not be there any more.
fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
        tidy
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use rr_core::content::{BlobId, Content};
    use rr_journal::{Does, Entry, Event, FileChange, Kept, Spot, Verdict};

    use super::*;

    pub(crate) const AT: u64 = 1_700_000_000_000;

    pub(crate) fn path(text: &str) -> RepoPath {
        RepoPath::parse(text.as_bytes()).expect(text)
    }

    pub(crate) fn of(n: u8) -> SessionId {
        SessionId::from_random([n; 16])
    }

    /// Bytes that are kept, by what names them.
    #[derive(Default)]
    pub(crate) struct Shelf(pub(crate) HashMap<BlobId, Vec<u8>>);

    impl Shelf {
        pub(crate) fn put(&mut self, text: &str) -> Content {
            let mut blob = [0; 20];
            blob[..8].copy_from_slice(&(self.0.len() as u64 + 1).to_le_bytes());
            self.0.insert(BlobId(blob), text.as_bytes().to_owned());
            Content::File { blob: BlobId(blob), mode: 0o644 }
        }
    }

    pub(crate) fn entry(session: u8, call: &str, event: Event) -> Entry {
        Entry {
            at_unix_ms: AT,
            session: Some(of(session)),
            agent_id: None,
            call: (!call.is_empty()).then(|| call.to_owned()),
            revision: 0,
            event,
        }
    }

    pub(crate) fn change(at: &str, before: Content, after: Content) -> FileChange {
        FileChange { root: "/repo".into(), path: path(at), before, after, foreseen: true }
    }

    /// A session's edit, from its intent to its end.
    pub(crate) fn edit(session: u8, call: &str, at: &str, before: Content, after: Content) -> Vec<Entry> {
        let does = Does::Write(vec![Spot { root: "/repo".into(), path: path(at) }]);
        let files = vec![Kept { root: "/repo".into(), path: path(at), content: before }];
        let verdict = Event::Verdict { verdict: Verdict::Passed, reason: "".into(), rule: None };
        let events = [
            Event::Intent { tool: "Edit".into(), does, cwd: "/repo".into() },
            verdict,
            Event::Snapped { files },
            Event::Started,
            Event::Done { ok: true, changes: vec![change(at, before, after)] },
        ];
        events.into_iter().map(|event| entry(session, call, event)).collect()
    }

    #[test]
    fn a_path_is_tidied_by_its_text() {
        assert_eq!(tidy(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(begin("AbC1").as_deref(), Some("abc1"));
        for wrong in ["", "xyz", &"a".repeat(33)] {
            assert_eq!(begin(wrong), None);
        }
    }
}
