//! One word after expansion: literal runs, file name patterns, and parts known only when the command runs; and how
//! such a word becomes a path. It knows no program. Used by everything after `expand`.

use std::path::{Component, Path, PathBuf};

use crate::model::{Target, Word};

/// A run of one kind within a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bit {
    Lit(String),
    /// An unquoted pattern character or group.
    Pattern(String),
    /// `splits`: unquoted, so it may become several words or none.
    Unknown {
        source: String,
        splits: bool,
    },
}

/// A word: its bits in order; none for the empty word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Field(pub(crate) Vec<Bit>);

impl Field {
    pub(crate) fn literal(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self(if text.is_empty() { Vec::new() } else { vec![Bit::Lit(text)] })
    }

    pub(crate) fn unknown(source: impl Into<String>, splits: bool) -> Self {
        Self(vec![Bit::Unknown { source: source.into(), splits }])
    }

    pub(crate) fn push(&mut self, bit: Bit) {
        match bit {
            Bit::Lit(text) => self.push_text(&text),
            other => self.0.push(other),
        }
    }

    pub(crate) fn push_text(&mut self, text: &str) {
        if let Some(Bit::Lit(last)) = self.0.last_mut() {
            last.push_str(text);
        } else if !text.is_empty() {
            self.0.push(Bit::Lit(text.to_owned()));
        }
    }

    pub(crate) fn push_char(&mut self, c: char) {
        if let Some(Bit::Lit(last)) = self.0.last_mut() {
            last.push(c);
        } else {
            self.0.push(Bit::Lit(c.to_string()));
        }
    }

    /// Bytes it takes, for bounds.
    pub(crate) fn len(&self) -> usize {
        let bytes = self.0.iter().map(|bit| match bit {
            Bit::Lit(text) | Bit::Pattern(text) => text.len(),
            Bit::Unknown { source, .. } => source.len(),
        });
        bytes.sum::<usize>() + 1
    }

    /// The text, if it is all literal.
    pub(crate) fn known(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Bit::Lit(text)] => Some(text),
            _ => None,
        }
    }

    /// The literal text at its start.
    pub(crate) fn prefix(&self) -> &str {
        match self.0.first() {
            Some(Bit::Lit(text)) => text,
            _ => "",
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known().is_some()
    }

    pub(crate) fn has_unknown(&self) -> bool {
        self.0.iter().any(|bit| matches!(bit, Bit::Unknown { .. }))
    }

    pub(crate) fn splits(&self) -> bool {
        self.0.iter().any(|bit| matches!(bit, Bit::Unknown { splits: true, .. }))
    }

    /// Whether it could turn out to be an option, or several words.
    pub(crate) fn may_be_option(&self) -> bool {
        self.splits() || matches!(self.0.first(), Some(Bit::Unknown { .. } | Bit::Pattern(_))) && self.has_unknown()
    }

    /// The text with unknown parts as they are written.
    pub(crate) fn source(&self) -> String {
        self.0
            .iter()
            .map(|bit| match bit {
                Bit::Lit(text) | Bit::Pattern(text) => text.as_str(),
                Bit::Unknown { source, .. } => source.as_str(),
            })
            .collect()
    }

    pub(crate) fn word(&self) -> Word {
        if let Some(text) = self.known() {
            Word::Literal(text.to_owned())
        } else if self.has_unknown() {
            Word::Dynamic(self.source())
        } else {
            Word::Pattern(self.source())
        }
    }

    /// The rest of the field after a literal prefix.
    pub(crate) fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        if prefix.is_empty() {
            return Some(self.clone());
        }
        let rest = self.prefix().strip_prefix(prefix)?;
        let mut out = Self::literal(rest);
        for bit in &self.0[1..] {
            out.push(bit.clone());
        }
        Some(out)
    }

    /// The file (or files) it names from `cwd`.
    pub(crate) fn target(&self, cwd: Option<&Path>) -> Target {
        if self.has_unknown() || self.0.is_empty() {
            return Target::Unknown;
        }
        if let Some(text) = self.known() {
            return resolve(cwd, text).map_or(Target::Unknown, Target::File);
        }
        self.glob(cwd).unwrap_or(Target::Unknown)
    }

    /// The same, with everything below should it be a folder.
    pub(crate) fn tree(&self, cwd: Option<&Path>) -> Target {
        match self.target(cwd) {
            Target::File(path) => Target::Tree(path),
            other => other,
        }
    }

    fn glob(&self, cwd: Option<&Path>) -> Option<Target> {
        let before = match self.prefix().rfind('/') {
            Some(slash) => &self.prefix()[..=slash],
            None => "",
        };
        let rest = self.strip_prefix(before)?;
        let dir = if before.is_empty() { cwd.map(Path::to_path_buf) } else { resolve(cwd, before) }?;
        let mut pattern = String::new();
        for bit in &rest.0 {
            match bit {
                Bit::Pattern(text) => pattern.push_str(text),
                Bit::Lit(text) => pattern.push_str(text),
                Bit::Unknown { .. } => return None,
            }
        }
        if pattern.split('/').any(|part| part == "..") {
            return None;
        }
        Some(Target::Glob { dir, pattern: pattern.trim_end_matches('/').to_owned() })
    }
}

/// Where `cd` goes: the shell takes `..` off its own notion of the folder, not off where a link led.
pub(crate) fn folder(cwd: Option<&Path>, text: &str) -> Option<PathBuf> {
    resolve(cwd, text).map(|path| normalise(&path))
}

/// `text` as an absolute path. `..` stays: the kernel goes up from where a link led, and only the disk knows that.
pub(crate) fn resolve(cwd: Option<&Path>, text: &str) -> Option<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return None;
    }
    let path = Path::new(text);
    if path.is_absolute() {
        return Some(without_dots(path));
    }
    cwd.map(|cwd| without_dots(&cwd.join(path)))
}

fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

pub(crate) fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Devices and streams: writing there changes no file.
pub(crate) fn is_stream(path: &Path) -> bool {
    let text = path.to_string_lossy();
    matches!(
        text.as_ref(),
        "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/stdin" | "/dev/tty" | "/dev/zero" | "/dev/full"
    ) || ["/dev/fd/", "/dev/tcp/", "/dev/udp/", "/proc/self/fd/"].iter().any(|prefix| text.starts_with(prefix))
}

/// A connection that bash opens in the place of a file.
pub(crate) fn is_socket(path: &Path) -> bool {
    path.starts_with("/dev/tcp") || path.starts_with("/dev/udp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_way_up_and_a_folder_of_cd_does_not() {
        let cwd = Path::new("/w/a");
        assert_eq!(resolve(Some(cwd), "../b/./c/"), Some(cwd.join("../b/c")));
        assert_eq!(folder(Some(cwd), "../b/./c/"), Some(PathBuf::from("/w/b/c")));
        assert_eq!(resolve(None, "b"), None);
        assert_eq!(folder(None, "/x/../../y"), Some(PathBuf::from("/y")));
    }

    #[test]
    fn pattern_keeps_its_literal_folder() {
        let field = Field(vec![Bit::Lit("src/x".into()), Bit::Pattern("*".into()), Bit::Lit(".ts".into())]);
        assert_eq!(field.target(Some(Path::new("/w"))), Target::Glob { dir: "/w/src".into(), pattern: "x*.ts".into() });
    }
}
