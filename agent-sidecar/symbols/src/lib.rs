//! What a file's new content means for others, against its old one: definitions added, removed or changed, names newly
//! used, packages of a manifest (ADR 0023).
//!
//! Pure: two contents in, names and hashes out; bounded in time, memory and stack, and it never panics. It refuses to
//! know work trees, git and other people's changes: whether two changes clash is for whoever gathers them. What it
//! cannot read is unknown, never "no change". The path: [`compare`] -> `parse` (limits, the grammar) -> `walk` (tree to
//! [`Outline`], by the tables of `languages`) -> `diff`; manifests go through `manifest`.

mod diff;
mod frame;
mod grammar;
mod languages;
mod manifest;
mod outline;
mod parse;
mod tokens;
mod walk;

use rr_core::live::{GitPath, Lines, PackageChange, SymbolChange};

pub use diff::{SYMBOL_CHANGES_MAX, USES_MAX, compare_outlines};
pub use manifest::{PACKAGES_MAX, is_lock_file, is_manifest};
pub use outline::{Definition, Outline};
pub use parse::{CONTENT_BYTES_MAX, CONTENT_LINES_MAX};

/// What the new content says that the old one did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// One entry a definition; a changed signature stands for a changed body as well. By container, name and kind.
    pub symbols: Vec<SymbolChange>,
    /// In order of the alphabet.
    pub uses: Vec<String>,
    /// In order of their keys.
    pub packages: Vec<PackageChange>,
    /// The same tokens and comments, other white space; a comma before a closing bracket counts as white space, because
    /// formatters put it there when they break a line.
    pub layout_only: bool,
    pub parses: Parses,
    /// Symbols, uses and packages over [`SYMBOL_CHANGES_MAX`], [`USES_MAX`] and [`PACKAGES_MAX`].
    pub left_out: usize,
}

/// Whether the new content may be judged as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parses {
    /// No more errors than before.
    Yes,
    /// More errors than before: most likely somebody is in the middle of it. Nothing is called removed then.
    WorseThanBefore,
    /// No known language, too large, no text, or it took too long.
    #[default]
    Unknown,
}

/// Compares two contents of one path; absent is a file that is not there. `ranges` are the replaced lines of `old`:
/// names used on them and still used count as edited.
#[must_use]
pub fn compare(path: &GitPath, old: Option<&[u8]>, new: Option<&[u8]>, ranges: &[Lines]) -> Compared {
    if let Some(manifest) = manifest::Manifest::of(path) {
        return manifest.compare(old, new);
    }
    let Some(language) = languages::Language::of(path) else { return Compared::default() };
    let read = |content: Option<&[u8]>| content.map(|bytes| parse::outline(language, bytes)).transpose();
    match (read(old), read(new)) {
        (Ok(old_outline), Ok(new_outline)) => {
            let mut compared = compare_outlines(old_outline.as_ref(), new_outline.as_ref(), ranges);
            compared.layout_only &= old != new;
            compared
        }
        _ => Compared::default(),
    }
}

/// Definitions and uses of one content, to be kept by its blob id and given to [`compare_outlines`]. Nothing for a
/// language that is not known and for what [`Parses::Unknown`] stands for. A path says only which language it is.
#[must_use]
pub fn outline(path: &GitPath, bytes: &[u8]) -> Option<Outline> {
    parse::outline(languages::Language::of(path)?, bytes).ok()
}
