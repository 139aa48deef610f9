//! `people`: what becomes of files that somebody saves in an editor. That a save is seen is not for the file to say, for nobody is
//! stopped by it; whether it locks the file, and for how long, is.

use rr_core::time::Span;
use serde::Deserialize;

use super::health::positive;

/// As an agent's lock that is not touched (lock-protocol §2).
const IDLE: Span = Span::from_secs(600);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct People {
    /// A saved file is locked for who saved it, if it is free.
    pub locks: bool,
    /// Without a save for this long, a person's session is over and its locks are free.
    #[serde(deserialize_with = "positive")]
    pub idle: Span,
}

impl Default for People {
    fn default() -> Self {
        Self { locks: true, idle: IDLE }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::RepoConfig;
    use super::*;

    #[test]
    fn a_save_locks_for_ten_minutes_unless_the_file_says_otherwise() {
        let read = |text: &str| RepoConfig::parse(text, Path::new("railroad.yaml")).map(|config| config.people);
        assert_eq!(read("").unwrap(), People { locks: true, idle: Span::from_secs(600) });
        let said = read("people: { locks: false, idle: 90s }").unwrap();
        assert_eq!(said, People { locks: false, idle: Span::from_secs(90) });
        assert!(read("people: { idle: 0s }").unwrap_err().to_string().contains("longer than 0"));
        assert!(read("people: { lock: true }").unwrap_err().to_string().contains("did you mean `locks`?"));
    }
}
