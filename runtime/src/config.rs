//! The two files a person writes: `railroad.yaml` of a repository ([`RepoConfig`]) and `config.yaml` of a machine
//! ([`MachineConfig`]). Here is what both share: how they are read, and errors that say file, line, column and what was
//! probably meant. A key that nothing enforces yet is refused, never silently accepted.

mod health;
mod last_good;
mod machine;
mod people;
mod policy;
mod repo;
#[cfg(test)]
mod schema_tests;
mod slots;
mod suggest;
mod words;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use health::{CheckEntry, CheckLimits, Health, OnBreak, PauseScope, RevertMode, When};
pub use last_good::LastGood;
pub use machine::{Beginning, FILE_VARIABLE, Listen, Loaded, MachineConfig, Row, StoreConfig, StoreKind, TlsFiles};
pub use people::People;
pub use repo::{AcrossWorktrees, Approvals, LockMode, Locks, OnAgentDeath, OnUnavailable, REPO_FILE, RepoConfig};
pub use slots::CHECKS_SLOT;

/// Far above any file a person writes; a larger one is a mistake or an attack.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Nodes and events of one file: hundreds of times a real one, and nothing that aliases blow up.
const NODES_MAX: usize = 20_000;
/// Anchors and aliases are for short-hands, not for tables.
const ALIASES_MAX: usize = 100;
const DEPTH_MAX: usize = 16;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read {file}")]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{file} is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge { file: PathBuf },
    #[error("{file}:{line}:{column}: {what}{}\n{snippet}", meant(.suggestion.as_deref()))]
    Wrong { file: PathBuf, line: u64, column: u64, what: String, suggestion: Option<String>, snippet: String },
    #[error(
        "{file}:{line}:{column}: `{key}` is not enforced by this version, and what is not enforced is not accepted: remove it\n{snippet}"
    )]
    NotEnforced { file: PathBuf, line: u64, column: u64, key: String, snippet: String },
    #[error("{place}: {what}")]
    Unsafe { place: String, what: String },
    #[error("environment {variable} ({key}): {what}{}", meant(.suggestion.as_deref()))]
    Environment { variable: &'static str, key: &'static str, what: String, suggestion: Option<String> },
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |s| format!("; did you mean `{s}`?"))
}

/// Reads one document. An empty one is all defaults.
fn parse<T>(text: &str, file: &Path, not_enforced: &[&str]) -> Result<T, ConfigError>
where
    T: DeserializeOwned + Default,
{
    if text.len() as u64 > FILE_BYTES_MAX {
        let file = file.to_owned();
        return Err(ConfigError::TooLarge { file });
    }
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_documents: 1,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_depth: DEPTH_MAX,
        },
    };
    serde_yaml::from_str_with_options::<Option<T>>(text, options)
        .map(Option::unwrap_or_default)
        .map_err(|error| explain(&error, file, not_enforced))
}

fn explain(error: &serde_yaml::Error, file: &Path, not_enforced: &[&str]) -> ConfigError {
    use serde_yaml::Error as E;
    let at = error.location();
    let (line, column) = at.map_or((1, 1), |l| (l.line(), l.column()));
    let snippet = snippet(error, file);
    let (what, suggestion) = match error.without_snippet() {
        E::SerdeUnknownField { field, .. } if not_enforced.contains(&field.as_str()) => {
            let (file, key) = (file.to_owned(), field.clone());
            return ConfigError::NotEnforced { file, line, column, key, snippet };
        }
        E::SerdeUnknownField { field, expected, .. } => {
            let meant = suggest::nearest(field, expected);
            (format!("unknown key `{field}`{}", choice(meant, "known here", expected)), meant)
        }
        E::SerdeUnknownVariant { variant, expected, .. } => {
            let meant = suggest::nearest(variant, expected);
            (format!("unknown value `{variant}`{}", choice(meant, "one of", expected)), meant)
        }
        other => (plain(other), None),
    };
    ConfigError::Wrong { file: file.to_owned(), line, column, what, suggestion: suggestion.map(str::to_owned), snippet }
}

/// What there is to choose from, where no word is near: agents are shown the first words of an error only, and a suggestion
/// must be among them.
fn choice(meant: Option<&str>, label: &str, expected: &[&str]) -> String {
    if meant.is_some() { String::new() } else { format!(" ({label}: {})", expected.join(", ")) }
}

/// The message without its position, which stands in front of it already.
fn plain(error: &serde_yaml::Error) -> String {
    let text = error.render_with_formatter(&serde_yaml::UserMessageFormatter);
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let Some(at) = error.location() else {
        return line.to_owned();
    };
    let (line_no, column) = (at.line(), at.column());
    let line = line.strip_suffix(&format!(" at line {line_no}, column {column}")).unwrap_or(line);
    let line = line.strip_prefix(&format!("line {line_no} column {column}: ")).unwrap_or(line);
    line.to_owned()
}

/// The lines of the source with a mark below, as the parser draws them, under its headline.
fn snippet(error: &serde_yaml::Error, file: &Path) -> String {
    let name = file.display().to_string();
    let drawn = error.render_with_options(serde_yaml::render_options! {
        formatter: &serde_yaml::UserMessageFormatter,
        source_name: Some(name.as_str()),
    });
    let below = drawn.lines().skip_while(|line| !line.trim_start().starts_with("-->"));
    below.collect::<Vec<_>>().join("\n")
}

/// Reads a whole configuration file; `None` if there is none. A pipe or device in its place is refused unopened: it would
/// keep us waiting.
fn read(file: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source: io::Error| ConfigError::Read { file: file.to_owned(), source };
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(failed(io::Error::other("not a regular file"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    }
    let mut text = String::new();
    let mut limited = match File::open(file) {
        Ok(open) => open.take(FILE_BYTES_MAX + 1),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    limited.read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { file: file.to_owned() });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_no_error_and_a_folder_or_a_huge_file_is_one() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("railroad.yaml");
        assert!(matches!(read(&file), Ok(None)));
        assert!(matches!(read(temp.path()), Err(ConfigError::Read { .. })));
        let bytes = usize::try_from(FILE_BYTES_MAX).unwrap();
        std::fs::write(&file, "#".repeat(bytes)).unwrap();
        assert!(matches!(read(&file), Ok(Some(_))));
        std::fs::write(&file, "#".repeat(bytes + 1)).unwrap();
        assert!(matches!(read(&file), Err(ConfigError::TooLarge { .. })));
    }

    #[test]
    fn aliases_that_blow_up_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let row = vec![format!("*a{}", n - 1); 8].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{row}]\n"));
        }
        let refused = parse::<std::collections::BTreeMap<String, serde_json::Value>>(&text, Path::new("f"), &[]);
        assert!(refused.is_err());
    }
}
