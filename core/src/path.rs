//! What can be locked: a path inside the repository, in one canonical form. A path is taken or rejected, never repaired
//! (lock-protocol §3): a repaired path is a second name for a file, and two names are two locks.
//! Two paths that some file system takes for one file (case, Unicode forms) have one key (H25).
//! A name that stands on the disk is any bytes: it is kept to the byte, and written so that it can be read and typed ([`show`], [`typed`]).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;

use crate::limits::{PART_BYTES_MAX, PATH_BYTES_MAX, PATH_PARTS_MAX};

/// A path relative to the repository's root. The root itself is the empty path.
///
/// Equality and order are those of the conflict key, so `README` and `readme` are equal; `Display` shows it as given. A copy
/// shares its text.
#[derive(Clone, Debug)]
pub struct RepoPath {
    shown: Arc<str>,
    /// Its bytes, where they are not those of `shown`.
    bytes: Option<Arc<[u8]>>,
    /// Conflict form of each part, percent-encoded: what the store's keys are made of.
    key: Arc<[String]>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("absolute path")]
    Absolute,
    #[error("empty part (two slashes, or one at the end)")]
    EmptyPart,
    #[error("`.` or `..` inside the path")]
    DotPart,
    #[error("control byte in the path")]
    Control,
    #[error("backslash in the path")]
    Backslash,
    #[error("part ends in a dot or a space")]
    TrailingDotOrSpace,
    #[error("a spelling of `.git`")]
    DotGit,
    #[error("longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("more than {PATH_PARTS_MAX} parts")]
    TooDeep,
    #[error("a part longer than {PART_BYTES_MAX} bytes")]
    PartTooLong,
}

impl RepoPath {
    #[must_use]
    pub fn root() -> Self {
        Self { shown: Arc::default(), bytes: None, key: Arc::default() }
    }

    /// Takes a repository-relative path as bytes, parts separated by `/`. The empty path is the root.
    ///
    /// # Errors
    /// Names the first rule that the path breaks.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        Self::checked(path, check_part)
    }

    /// A file that a call has changed, whatever it is called: to be written down, and put back under the very same name. Names that
    /// nobody may ask for ([`Self::parse`] refuses them) are found on disks all the same. Never for what somebody wants to change.
    ///
    /// # Errors
    /// If it does not lead to a file below the root, or into git's own folder.
    pub fn found(path: &[u8]) -> Result<Self, PathError> {
        Self::checked(path, check_found)
    }

    fn checked(path: &[u8], check: fn(&[u8]) -> Result<(), PathError>) -> Result<Self, PathError> {
        if path.is_empty() {
            return Ok(Self::root());
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if path[0] == b'/' {
            return Err(PathError::Absolute);
        }
        let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        if parts.len() > PATH_PARTS_MAX {
            return Err(PathError::TooDeep);
        }
        let key = parts.iter().map(|p| check(p).map(|()| key_part(p))).collect::<Result<_, _>>()?;
        Ok(Self::of_bytes(path, key))
    }

    fn of_bytes(path: &[u8], key: Arc<[String]>) -> Self {
        let shown = show(Path::new(OsStr::from_bytes(path)));
        let bytes = (shown.as_bytes() != path).then(|| path.into());
        Self { shown: shown.into(), bytes, key }
    }

    /// Builds a path from what [`RepoPath::key`] gave, and the text to show for it. `None` if `key` was not made here.
    #[must_use]
    pub fn from_key(key: &str, shown: &str) -> Option<Self> {
        if key.is_empty() {
            return Some(Self::root());
        }
        let clean = |part: &str| !part.is_empty() && part.bytes().all(|b| is_key_byte(b) || b == b'%');
        let parts: Vec<String> = key.split('/').map(str::to_owned).collect();
        let path = typed(OsStr::new(shown));
        parts.iter().all(|p| clean(p)).then(|| Self::of_bytes(path.as_os_str().as_bytes(), parts.into()))
    }

    /// The path as it was given, to the byte: where the file stands below the root.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.bytes.as_deref().unwrap_or(self.shown.as_bytes())))
    }

    /// The path as it was given, for people ([`show`]); the root is the empty text here.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.key.is_empty()
    }

    /// The parts in conflict form, encoded for a key: never empty, never with `/`, `@` or `!`.
    #[must_use]
    pub fn key_parts(&self) -> &[String] {
        &self.key
    }

    /// The parts joined for a key, without a slash at either end.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.join("/")
    }

    /// Whether `self` is `other` or one of the folders it lies in.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.key.starts_with(&self.key)
    }

    /// The keys of the folders above, the root (an empty key) first.
    pub fn ancestor_keys(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.key.len()).map(|n| self.key[..n].join("/"))
    }
}

impl PartialEq for RepoPath {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RepoPath {}

impl PartialOrd for RepoPath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RepoPath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl std::hash::Hash for RepoPath {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.shown })
    }
}

/// A path as a text of one line that stands for these bytes alone: a byte that is no UTF-8, no visible character or a backslash is
/// written as `\xff`.
#[must_use]
pub fn show(path: &Path) -> String {
    let mut text = String::new();
    let escape = |text: &mut String, bytes: &[u8]| bytes.iter().for_each(|b| text.push_str(&format!("\\x{b:02x}")));
    for part in path.as_os_str().as_bytes().utf8_chunks() {
        for c in part.valid().chars() {
            if c == '\\' || c.is_control() {
                escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        }
        escape(&mut text, part.invalid());
    }
    text
}

/// The path that somebody has typed as [`show`] wrote it, or as it is.
#[must_use]
pub fn typed(text: &OsStr) -> PathBuf {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((first, after)) = rest.split_first() {
        let escaped = rest.strip_prefix(b"\\x").and_then(|hex| hex.split_at_checked(2));
        let byte = escaped.and_then(|(hex, after)| Some((hex_byte(hex)?, after)));
        let (byte, after) = byte.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// What no path may have.
fn check_found(part: &[u8]) -> Result<(), PathError> {
    match part {
        [] => return Err(PathError::EmptyPart),
        b"." | b".." => return Err(PathError::DotPart),
        _ => {}
    }
    if part.len() > PART_BYTES_MAX {
        return Err(PathError::PartTooLong);
    }
    if part.contains(&0) {
        return Err(PathError::Control);
    }
    let kept = part.iter().rposition(|b| !matches!(b, b'.' | b' ')).map_or(0, |last| last + 1);
    if spells_dot_git(&part[..kept]) { Err(PathError::DotGit) } else { Ok(()) }
}

/// Nor one that somebody asks for.
fn check_part(part: &[u8]) -> Result<(), PathError> {
    check_found(part)?;
    if part.iter().any(|b| *b < 0x20 || *b == 0x7f) {
        return Err(PathError::Control);
    }
    if part.contains(&b'\\') {
        return Err(PathError::Backslash);
    }
    if matches!(part.last(), Some(b'.' | b' ')) { Err(PathError::TrailingDotOrSpace) } else { Ok(()) }
}

/// Whether some supported file system takes this name for `.git`: any case; NTFS short names and streams
/// (`git~1`, `.git::$INDEX_ALLOCATION`); HFS+, which ignores some code points (the list git itself checks).
fn spells_dot_git(part: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(part) else { return false };
    let seen: String = text.chars().filter(|c| !ignored_by_hfs(*c)).collect::<String>().to_lowercase();
    seen == ".git" || seen == "git~1" || seen.starts_with(".git:") || seen.starts_with("git~1:")
}

fn ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Conflict form, then percent-encoding. Bytes that are not UTF-8 keep their own identity.
fn key_part(part: &[u8]) -> String {
    match std::str::from_utf8(part) {
        Ok(text) => percent_encode(fold(text).as_bytes()),
        Err(_) => percent_encode(&part.to_ascii_lowercase()),
    }
}

/// `casefold(NFC(text))`, normalised once more because folding can leave a composed form (U+0345 and friends).
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let composed: String = text.nfc().collect();
    caseless::default_case_fold_str(&composed).nfc().collect()
}

const fn is_key_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

fn percent_encode(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(bytes.len());
    for b in bytes {
        if is_key_byte(*b) {
            out.push(char::from(*b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn every_hostile_spelling_is_rejected_with_its_reason() {
        use PathError as E;
        let cases: &[(&str, E)] = &[
            ("/etc/passwd", E::Absolute),
            ("a//b", E::EmptyPart),
            ("a/", E::EmptyPart),
            ("./a", E::DotPart),
            ("a/../b", E::DotPart),
            ("..", E::DotPart),
            ("a\0b", E::Control),
            ("a\nb", E::Control),
            ("a\\b", E::Backslash),
            ("a.", E::TrailingDotOrSpace),
            ("dir /x", E::TrailingDotOrSpace),
            (".git/config", E::DotGit),
            (".GIT/hooks/pre-push", E::DotGit),
            ("sub/.Git", E::DotGit),
            ("git~1/config", E::DotGit),
            (".git::$INDEX_ALLOCATION/x", E::DotGit),
            (".g\u{200c}it/config", E::DotGit),
            ("\u{feff}.git", E::DotGit),
        ];
        for (text, why) in cases {
            assert_eq!(RepoPath::parse(text.as_bytes()).as_ref(), Err(why), "{text:?}");
        }
        assert_eq!(RepoPath::parse(&vec![b'a'; 1 << 20]), Err(E::TooLong));
        assert_eq!(RepoPath::parse("a/".repeat(40).as_bytes()), Err(E::TooDeep));
        assert_eq!(RepoPath::parse(&[b'a'; 256]), Err(E::PartTooLong));
    }

    #[test]
    fn limits_hold_at_the_bound_and_one_beyond() {
        assert!(RepoPath::parse(&[b'a'; 255]).is_ok());
        let forty = vec!["a"; 40].join("/");
        assert!(RepoPath::parse(forty.as_bytes()).is_ok());
        let exact = format!("{}/{}", vec!["a".repeat(200); 5].join("/"), "b".repeat(1_024 - 5 * 201));
        assert_eq!(exact.len(), 1_024);
        assert!(RepoPath::parse(exact.as_bytes()).is_ok());
        assert_eq!(RepoPath::parse(format!("{exact}b").as_bytes()), Err(PathError::TooLong));
    }

    #[test]
    fn twins_in_case_and_unicode_form_are_one_path() {
        assert_eq!(path("README.md"), path("readme.MD"));
        assert_eq!(path("caf\u{e9}"), path("cafe\u{301}"));
        assert_eq!(path("Stra\u{df}e"), path("STRASSE"));
        assert_ne!(path("a"), path("b"));
    }

    #[test]
    fn a_folder_covers_what_is_in_it_and_not_its_name_sake() {
        assert!(path("src/a").covers(&path("src/a/b.rs")));
        assert!(path("src/a").covers(&path("SRC/A")));
        assert!(!path("src/a").covers(&path("src/ab")));
        assert!(RepoPath::root().covers(&path("x")));
    }

    #[test]
    fn names_that_only_look_like_git_are_fine() {
        for ok in [".gitignore", ".github/workflows/ci.yml", "git", "git~2", "x.git", ".gita"] {
            assert!(RepoPath::parse(ok.as_bytes()).is_ok(), "{ok}");
        }
    }

    #[test]
    fn reserved_bytes_never_reach_a_key() {
        let p = path("@home/!build/50%/a b");
        assert_eq!(p.key(), "%40home/%21build/50%25/a%20b");
    }

    #[test]
    fn a_name_of_any_bytes_is_shown_in_one_line_and_typed_back_as_shown() {
        let cases: [(&[u8], &str); 5] = [
            (b"caf\xc3\xa9/a b", "caf\u{e9}/a b"),
            (b"\xff\xfe/x", "\\xff\\xfe/x"),
            (b"a\nb", "a\\x0ab"),
            (b"a\\x41", "a\\x5cx41"),
            ("\u{fffd}".as_bytes(), "\u{fffd}"),
        ];
        for (bytes, shown) in cases {
            let path = RepoPath::found(bytes).expect(shown);
            assert_eq!((path.shown(), path.as_path().as_os_str().as_bytes()), (shown, bytes));
            assert_eq!(typed(OsStr::new(shown)).as_os_str().as_bytes(), bytes);
        }
        assert_eq!(typed(OsStr::new("a\\b\\x4\\xzz")).as_os_str().as_bytes(), b"a\\b\\x4\\xzz", "no escape is none");
    }

    #[test]
    fn what_stands_on_a_disk_is_written_down_but_never_outside_or_in_gits_folder() {
        for ok in [&b"a\nb"[..], b"a\\b", b"a.", b"dir /x", b"\xff\xfe"] {
            assert!(RepoPath::found(ok).is_ok(), "{ok:?}");
        }
        for wrong in [&b"/a\n"[..], b"a\n/../b", b"a\n//b", b"a\n/.git/config", b"a./.GIT", b"a\0b", b".git ", b""] {
            assert!(RepoPath::found(wrong).map_or(true, |path| path.is_root()), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_typed_back_as_it_is_shown(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let path = Path::new(OsStr::from_bytes(&bytes));
            prop_assert_eq!(typed(OsStr::new(&show(path))), path);
        }

        #[test]
        fn any_bytes_are_taken_or_rejected_and_keys_stay_clean(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(p) = RepoPath::parse(&bytes) {
                let again = RepoPath::from_key(&p.key(), p.shown());
                prop_assert_eq!(again.as_ref(), Some(&p));
                let again = again.map(|again| again.as_path().to_owned());
                prop_assert_eq!(again.as_deref(), Some(p.as_path()));
                for part in p.key_parts() {
                    prop_assert!(!part.is_empty());
                    let clean = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'%'));
                    prop_assert!(clean, "{part}");
                }
            }
        }

        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,12}") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
