//! Logs: one line an event, to standard error or to a file of the user alone. `RAILROAD_LOG` says how much (a level, or
//! `rr_fleet=debug,info`). What is worth a line is its writer's choice: whoever consumes an error logs it once.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that overrides the level.
pub const LEVEL_VARIABLE: &str = "RAILROAD_LOG";
/// A larger log is set aside at the next start (one old one is kept): a log must not fill the disk the store needs.
const LOG_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("open log {file}")]
    Open {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{text:?} is no log level ({why}): use error, warn, info, debug, trace, or target=level,...")]
    Level { text: String, why: String },
    #[error("logs were set up before in this process")]
    Twice,
}

/// Sets up the logs of this process: to `to` (appended, mode 0600), else to standard error.
///
/// # Errors
/// If the file cannot be opened, a level is none, or logs were set up before.
pub fn init(default_level: &str, to: Option<&Path>) -> Result<(), TelemetryError> {
    let wanted = std::env::var(LEVEL_VARIABLE).ok();
    let filter = filter(wanted.as_deref(), default_level)?;
    match to {
        None => start(filter, io::stderr),
        Some(file) => start(filter, Arc::new(open(file)?)),
    }
}

fn start<W>(filter: EnvFilter, writer: W) -> Result<(), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    subscriber(filter, writer).try_init().map_err(|_| TelemetryError::Twice)
}

fn subscriber<W>(filter: EnvFilter, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().compact().with_ansi(false).with_env_filter(filter).with_writer(writer).finish()
}

fn filter(wanted: Option<&str>, default_level: &str) -> Result<EnvFilter, TelemetryError> {
    let text = match wanted {
        Some(text) if !text.trim().is_empty() => text.trim(),
        _ => default_level,
    };
    EnvFilter::try_new(text).map_err(|e| TelemetryError::Level { text: text.to_owned(), why: e.to_string() })
}

fn open(file: &Path) -> Result<File, TelemetryError> {
    set_aside(file, LOG_BYTES_MAX)
        .and_then(|()| OpenOptions::new().append(true).create(true).mode(0o600).open(file))
        .map_err(|source| TelemetryError::Open { file: file.to_owned(), source })
}

fn set_aside(file: &Path, bytes_max: u64) -> io::Result<()> {
    match fs::metadata(file) {
        Ok(found) if found.is_file() && found.len() > bytes_max => fs::rename(file, file.with_extension("log.old")),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_log_is_plain_text_for_its_owner_alone_and_is_appended_to() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("daemon.log");
        for word in ["first", "second"] {
            let writer = Arc::new(open(&file).unwrap());
            let logs = subscriber(filter(None, "info").unwrap(), writer);
            tracing::subscriber::with_default(logs, || {
                tracing::info!(word, "said");
                tracing::debug!("not wanted");
            });
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("first") && text.contains("second"), "{text}");
        assert!(!text.contains("not wanted") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_variable_overrides_the_level_and_a_wrong_one_is_named() {
        assert_eq!(filter(Some("rr_fleet=debug"), "info").unwrap().to_string(), "rr_fleet=debug");
        assert_eq!(filter(Some(" "), "info").unwrap().to_string(), "info");
        let refused = filter(Some("rr_fleet=loud"), "info").unwrap_err().to_string();
        assert!(refused.contains("rr_fleet=loud"), "{refused}");
    }

    #[test]
    fn a_log_that_has_grown_too_long_is_set_aside_once() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("daemon.log");
        fs::write(&file, "0123456789").unwrap();
        set_aside(&file, 10).unwrap();
        assert!(file.exists());
        set_aside(&file, 9).unwrap();
        assert!(!file.exists() && temp.path().join("daemon.log.old").exists());
    }
}
