//! What stood at a path at one moment, named by its contents: the journal writes it down, snapshots keep the bytes, a rollback
//! compares and puts it back. It knows no disk; a [`BlobId`] is git's name for the bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Git's name for some bytes: the SHA-1 of its blob, whatever hash the work repository itself uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 20]);

/// One path at one moment. Owner and times are not part of it: git keeps neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Content {
    /// Nothing is there.
    Absent,
    /// A file with its permission bits (`0o777` at most).
    File { blob: BlobId, mode: u16 },
    /// A symbolic link; the blob is its target.
    Link { blob: BlobId },
    /// A folder: what is below it has contents of its own.
    Folder,
    /// A socket, a device, a file too large or unreadable: it is there, and its bytes are not kept.
    Unkept,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a content id: {0:?}")]
pub struct ContentError(String);

impl Content {
    /// The bytes it names, where it names any.
    #[must_use]
    pub fn blob(&self) -> Option<BlobId> {
        match self {
            Self::File { blob, .. } | Self::Link { blob } => Some(*blob),
            Self::Absent | Self::Folder | Self::Unkept => None,
        }
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl FromStr for BlobId {
    type Err = ContentError;

    fn from_str(text: &str) -> Result<Self, ContentError> {
        let wrong = || ContentError(text.chars().take(64).collect());
        if text.len() != 40 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut bytes = [0; 20];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::File { blob, mode } => write!(f, "{mode:03o}:{blob}"),
            Self::Link { blob } => write!(f, "link:{blob}"),
            Self::Folder => f.write_str("folder"),
            Self::Unkept => f.write_str("unkept"),
        }
    }
}

impl FromStr for Content {
    type Err = ContentError;

    fn from_str(text: &str) -> Result<Self, ContentError> {
        match text {
            "absent" => return Ok(Self::Absent),
            "folder" => return Ok(Self::Folder),
            "unkept" => return Ok(Self::Unkept),
            _ => {}
        }
        let wrong = || ContentError(text.chars().take(64).collect());
        let (kind, blob) = text.split_once(':').ok_or_else(wrong)?;
        let blob = blob.parse().map_err(|_| wrong())?;
        if kind == "link" {
            return Ok(Self::Link { blob });
        }
        match u16::from_str_radix(kind, 8) {
            Ok(mode) if kind.len() == 3 && kind.bytes().all(|b| b.is_ascii_digit()) => Ok(Self::File { blob, mode }),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Content {
    type Error = ContentError;

    fn try_from(text: String) -> Result<Self, ContentError> {
        text.parse()
    }
}

impl From<Content> for String {
    fn from(content: Content) -> Self {
        content.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_reads_back_as_it_was_written_and_nothing_else_does() {
        let blob = BlobId(std::array::from_fn(|i| u8::try_from(i * 13).unwrap_or(0)));
        let all = [
            Content::Absent,
            Content::Folder,
            Content::Unkept,
            Content::Link { blob },
            Content::File { blob, mode: 0o644 },
            Content::File { blob, mode: 0o007 },
        ];
        for content in all {
            assert_eq!(content.to_string().parse(), Ok(content));
        }
        for wrong in ["", "644", "644:", "1000:00", "link:zz", "9:9", &format!("+64:{blob}"), &format!("6440:{blob}")] {
            assert!(wrong.parse::<Content>().is_err(), "{wrong}");
        }
    }
}
