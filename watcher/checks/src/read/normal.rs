//! What differs between two runs of the same breakage, and is therefore no part of a finding: where the tree stood,
//! lines and columns, addresses, durations, names of temporary files, colours. It knows no tool.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// A message is a line; the longest that are of use have a type in them.
const MESSAGE_CHARS_MAX: usize = 400;

/// A pattern that is part of the program.
pub(super) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of our own")
}

/// How paths in an output are to be read: where the tree stands, and in which folder of it the check ran.
pub(crate) struct Places {
    /// As given, and with links followed: tools print either.
    roots: Vec<String>,
    folder: String,
}

impl Places {
    pub(crate) fn new(root: &Path, folder: &str) -> Self {
        let real = root.canonicalize().unwrap_or_else(|_| PathBuf::from(root));
        let mut roots: Vec<String> = [root, &real].map(|p| p.to_string_lossy().trim_end_matches('/').to_owned()).into();
        roots.dedup();
        roots.retain(|r| !r.is_empty());
        Self { roots, folder: folder.trim_matches('/').to_owned() }
    }

    /// A path from the root of the tree; `None` for what lies outside it.
    pub(super) fn file(&self, said: &str) -> Option<String> {
        let said = said.strip_prefix("file://").unwrap_or(said).trim();
        let inside = self.roots.iter().find_map(|root| said.strip_prefix(root.as_str())?.strip_prefix('/'));
        let from_root = match inside {
            Some(path) => path.to_owned(),
            None if said.starts_with('/') || said.starts_with('<') || said.contains("://") || said.is_empty() => {
                return None;
            }
            None if self.folder.is_empty() => said.to_owned(),
            None => format!("{}/{said}", self.folder),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in from_root.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." {
                parts.pop()?;
            } else {
                parts.push(part);
            }
        }
        (!parts.is_empty()).then(|| parts.join("/"))
    }

    /// A message without what moves.
    pub(super) fn message(&self, text: &str) -> String {
        static MOVING: LazyLock<[(Regex, &str); 7]> = LazyLock::new(|| {
            [
                (regex(r"/(?:tmp|var/folders|private/tmp|dev/shm)/[^ '\x22`:)\]]+"), "(temporary file)"),
                (regex(r"0x[0-9a-fA-F]+"), "0x"),
                (regex(r"-[0-9a-f]{16}"), ""),
                (regex(r"(?:, |\()?lines? [0-9]+\)?"), ""),
                (regex(r":[0-9]+(?::[0-9]+)?"), ""),
                (regex(r"\([0-9]+,[0-9]+\)"), ""),
                (regex(r"[0-9]+(?:\.[0-9]+)? ?(?:ms|us|s|seconds?)(?-u:\b)"), "(time)"),
            ]
        });
        let mut message = text.trim().to_owned();
        for root in &self.roots {
            message = message.replace(&format!("{root}/"), "").replace(root.as_str(), ".");
        }
        for (moving, instead) in &*MOVING {
            message = moving.replace_all(&message, *instead).into_owned();
        }
        let words: Vec<&str> = message.split_ascii_whitespace().collect();
        words.join(" ").chars().take(MESSAGE_CHARS_MAX).collect()
    }
}

/// For text that nobody understands: counts and process ids are as likely to move as anything.
pub(super) fn without_numbers(text: &str) -> String {
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| regex(r"[0-9]+"));
    NUMBERS.replace_all(text, "#").into_owned()
}

/// Text without colours, titles of terminals, and what a carriage return painted over.
pub(super) fn without_escapes(text: &str) -> String {
    static ESCAPES: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"));
    let text = ESCAPES.replace_all(text, "");
    let painted = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
    text.split('\n').map(painted).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_the_root_of_the_tree_whoever_names_it() {
        let places = Places::new(Path::new("/slots/1"), "web");
        for said in
            ["src/a.ts", "./src/a.ts", "/slots/1/web/src/a.ts", "file:///slots/1/web/src/a.ts", "../web/src/a.ts"]
        {
            assert_eq!(places.file(said).as_deref(), Some("web/src/a.ts"), "{said}");
        }
        for outside in ["/usr/lib/x.py", "/slots/11/a.ts", "../../a.ts", "<stdin>", ""] {
            assert_eq!(places.file(outside), None, "{outside}");
        }
    }

    #[test]
    fn messages_of_two_runs_are_the_same_text() {
        let (a, b) = (Places::new(Path::new("/slots/1"), ""), Places::new(Path::new("/slots/2"), ""));
        for (one, other) in [
            ("at /slots/1/src/a.rs:3:5 in 0.21s", "at /slots/2/src/a.rs:40 in 17ms"),
            ("object 0x7ffe01 at line 3", "object 0xff at line 1234"),
            ("cannot open /tmp/.tmpA1/x", "cannot open /tmp/.tmpZ9/x/y"),
            ("deps/one-0123456789abcdef", "deps/one-fedcba9876543210"),
        ] {
            assert_eq!(a.message(one), b.message(other));
        }
        assert_ne!(a.message("expected `u32`"), a.message("expected `u64`"));
        assert_eq!(without_escapes("\u{1b}[31mred\u{1b}[0m 10%\r20%\r\n"), "20%\n");
    }
}
