//! Reads the journal's files, in this process or in another, while it is written or while nobody is there. It never changes
//! one. Damage is handed out where it lies, between the entries that can be read. Next: `query`, `follow`, `verify`.

use std::fmt;
use std::path::{Path, PathBuf};

use rr_core::path::RepoPath;

use crate::entry::{Entry, Event, Kind};
use crate::query::Query;
use crate::scan::Wrong;

/// A part of the journal that cannot be read, or cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: PathBuf,
    pub wrong: Wrong,
    /// Where in the file, and how many bytes.
    pub at: u64,
    pub len: u64,
    /// The last entry known before it; 0 if none.
    pub after: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// Which entries are wanted. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The begin of a session's id.
    pub session: Option<String>,
    /// This path and what is below it.
    pub path: Option<RepoPath>,
    /// Only in this work tree.
    pub root: Option<PathBuf>,
    pub since_unix_ms: Option<u64>,
    /// This moment is not part of it.
    pub until_unix_ms: Option<u64>,
    /// None: all.
    pub kinds: Option<Vec<Kind>>,
    /// Only entries behind this one.
    pub after: Option<u64>,
    pub limit: Option<usize>,
    pub order: Order,
}

/// The journal as it lies on disk.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) dir: PathBuf,
}

impl Reader {
    /// Of a folder that need not be there: then the journal is empty.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The entries that are wanted, each with its sequence number, and the damage met on the way.
    #[must_use]
    pub fn query(&self, filter: &Filter) -> Query {
        Query::new(&self.dir, filter)
    }

    /// One entry.
    ///
    /// # Errors
    /// If it lies in a damaged part.
    pub fn get(&self, sequence: u64) -> Result<Option<Entry>, Damage> {
        let filter = Filter { after: Some(sequence.saturating_sub(1)), limit: Some(1), ..Filter::default() };
        match self.query(&filter).next() {
            Some(Ok((found, entry))) if found == sequence => Ok(Some(entry)),
            Some(Ok(_)) | None => Ok(None),
            Some(Err(damage)) => Err(damage),
        }
    }
}

impl Filter {
    /// Whether an entry is wanted. `limit` and `order` are not its business.
    #[must_use]
    pub fn wants(&self, sequence: u64, entry: &Entry) -> bool {
        let session = entry.session.as_ref().map(rr_core::id::SessionId::as_str);
        self.after.is_none_or(|after| sequence > after)
            && self.wants_head(entry.at_unix_ms, session)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&entry.event.kind()))
            && self.wants_place(&entry.event)
    }

    pub(crate) fn wants_head(&self, at_unix_ms: u64, session: Option<&str>) -> bool {
        let of_session = |begin: &String| session.is_some_and(|session| session.starts_with(begin.as_str()));
        self.since_unix_ms.is_none_or(|since| at_unix_ms >= since)
            && self.until_unix_ms.is_none_or(|until| at_unix_ms < until)
            && self.session.as_ref().is_none_or(of_session)
    }

    /// By its number in the encoded form.
    pub(crate) fn wants_kind(&self, number: u64) -> bool {
        let of_place =
            self.path.is_none() && self.root.is_none() || Kind::OF_PLACES.iter().any(|kind| *kind as u64 == number);
        of_place && self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| *kind as u64 == number))
    }

    fn wants_place(&self, event: &Event) -> bool {
        if self.path.is_none() && self.root.is_none() {
            return true;
        }
        let mut found = false;
        event.for_each_path(|root, path| {
            let in_root = self.root.as_deref().is_none_or(|wanted| root.is_none_or(|root| root == wanted));
            found |= in_root && self.path.as_ref().is_none_or(|wanted| wanted.covers(path));
        });
        found
    }
}

impl Wrong {
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Changed => "bytes are not those that were written",
            Self::Blanked => "zeros where something was written",
            Self::Chain => "does not continue what stands before it: entries were taken out, put in or moved",
            Self::Truncated => "ends before its end",
            Self::Missing => "a file that the others continue is not there",
            Self::Unreadable => "cannot be read",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}: {}", self.file.display(), self.at, self.wrong.words())?;
        if self.after > 0 { write!(f, " (after entry {})", self.after) } else { Ok(()) }
    }
}

impl std::error::Error for Damage {}
