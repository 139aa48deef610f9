//! A repository's configuration while people edit it: a bad edit keeps the last good version and says so (D15). The file is
//! looked at on each use and read only if it has changed; nothing is watched.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::repo::{REPO_FILE, RepoConfig};
use super::{ConfigError, read};
use crate::clock::unix_ms;

/// A file changed this recently may change once more without a new time stamp: file systems stamp by a coarse clock. It is
/// read again until its stamp is older.
const SETTLED_AFTER_MS: i64 = 2_000;

/// What tells one version of the file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    len: u64,
    inode: (u64, u64),
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Never,
    Absent,
    Version(Stamp),
}

/// The configuration in force for one working tree, and what is wrong with its file now.
#[derive(Debug)]
pub struct LastGood {
    file: PathBuf,
    seen: Seen,
    /// The same one as long as the file is.
    good: Arc<RepoConfig>,
    was_good: bool,
    error: Option<ConfigError>,
}

impl LastGood {
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { file: root.join(REPO_FILE), seen: Seen::Never, good: Arc::default(), was_good: false, error: None }
    }

    /// The configuration in force: of the file as it is now, or of its last good version together with the error of the
    /// present one. No file: the defaults.
    pub fn current(&mut self) -> (&Arc<RepoConfig>, Option<&ConfigError>) {
        match look(&self.file) {
            Ok(None) => self.take(Seen::Absent, Ok(RepoConfig::default())),
            Ok(Some(stamp)) if self.seen == Seen::Version(stamp) => {}
            Ok(Some(stamp)) => {
                let seen = if is_settled(&stamp) { Seen::Version(stamp) } else { Seen::Never };
                let now = read(&self.file).and_then(|text| {
                    let text = text.unwrap_or_default();
                    RepoConfig::parse(&text, &self.file)
                });
                self.take(seen, now);
            }
            Err(source) => {
                let file = self.file.clone();
                self.take(Seen::Never, Err(ConfigError::Read { file, source }));
            }
        }
        (&self.good, self.error.as_ref())
    }

    /// Whether some version of the file has been good: it then goes on when a later one is not.
    #[must_use]
    pub fn was_good(&self) -> bool {
        self.was_good
    }

    fn take(&mut self, seen: Seen, now: Result<RepoConfig, ConfigError>) {
        self.seen = seen;
        match now {
            Ok(good) => {
                self.was_good = self.seen != Seen::Absent;
                if *self.good != good {
                    self.good = Arc::new(good);
                }
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
    }
}

fn look(file: &Path) -> io::Result<Option<Stamp>> {
    match fs::metadata(file) {
        Ok(m) => Ok(Some(Stamp {
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
            len: m.len(),
            inode: (m.dev(), m.ino()),
        })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The wall clock decides only whether to read once more than needed.
fn is_settled(stamp: &Stamp) -> bool {
    let now = i64::try_from(unix_ms()).unwrap_or(i64::MAX);
    let last = stamp.modified.0.max(stamp.changed.0);
    now.saturating_sub(last.saturating_mul(1_000)) > SETTLED_AFTER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(config: &mut LastGood) -> (String, bool) {
        let (good, error) = config.current();
        (good.fleet.as_ref().map_or("none", |f| f.as_str()).to_owned(), error.is_some())
    }

    #[test]
    fn a_bad_edit_keeps_the_last_good_version_and_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join(REPO_FILE);
        let mut config = LastGood::new(temp.path());
        assert_eq!(fleet(&mut config), ("none".to_owned(), false), "no file");
        fs::write(&file, "fleet: one").unwrap();
        assert_eq!(fleet(&mut config), ("one".to_owned(), false));
        fs::write(&file, "fleet: [").unwrap();
        assert_eq!(fleet(&mut config), ("one".to_owned(), true));
        assert_eq!(fleet(&mut config), ("one".to_owned(), true), "still told");
        fs::write(&file, "fleet: two").unwrap();
        assert_eq!(fleet(&mut config), ("two".to_owned(), false));
        fs::remove_file(&file).unwrap();
        assert_eq!(fleet(&mut config), ("none".to_owned(), false));
    }

    #[test]
    fn a_broken_policy_keeps_the_last_good_policy() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join(REPO_FILE);
        let mut config = LastGood::new(temp.path());
        let blocked = |config: &mut LastGood| {
            let (good, error) = config.current();
            let words = good.policy().blocklist.iter().filter_map(|e| e.words.clone()).map(|w| w.to_string()).collect();
            (words, error.map(ToString::to_string))
        };
        fs::write(&file, "blocklist: [terraform destroy]\n").unwrap();
        let good: Vec<String> = vec!["terraform destroy".to_owned()];
        assert_eq!(blocked(&mut config), (good.clone(), None));
        for (broken, told) in [
            ("blocklist: [terraform destroy\n", "railroad.yaml:"),
            ("blocklist:\n  - \"rm -rf | sh\"\n", "joins commands"),
            ("blocklst: []\n", "did you mean `blocklist`?"),
            ("blocklist: []\nscopes: { a: { may: [../x] } }\n", "../x"),
        ] {
            fs::write(&file, broken).unwrap();
            let (words, error) = blocked(&mut config);
            assert_eq!(words, good, "{broken}");
            assert!(error.expect(broken).contains(told), "{broken}");
        }
        fs::write(&file, "blocklist: [dropdb]\n").unwrap();
        assert_eq!(blocked(&mut config), (vec!["dropdb".to_owned()], None));
    }

    #[test]
    fn a_file_that_is_broken_at_first_sight_leaves_the_defaults_and_an_error() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(REPO_FILE), "flet: one").unwrap();
        let mut config = LastGood::new(temp.path());
        let (good, error) = config.current();
        assert_eq!(**good, RepoConfig::default());
        assert!(error.unwrap().to_string().contains("did you mean `fleet`?"));
    }

    #[test]
    fn two_edits_of_one_length_within_one_tick_are_both_seen() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join(REPO_FILE);
        let mut config = LastGood::new(temp.path());
        for n in 100..400 {
            fs::write(&file, format!("fleet: f{n}")).unwrap();
            assert_eq!(fleet(&mut config), (format!("f{n}"), false));
        }
    }

    #[test]
    fn a_settled_file_is_not_read_again() {
        let old = Stamp { modified: (1, 0), changed: (1, 0), len: 1, inode: (1, 1) };
        assert!(is_settled(&old));
        let now = i64::try_from(unix_ms() / 1_000).unwrap();
        assert!(!is_settled(&Stamp { changed: (now, 0), ..old }));
        assert!(!is_settled(&Stamp { modified: (now + 3_600, 0), ..old }), "a stamp ahead of the clock");
    }
}
