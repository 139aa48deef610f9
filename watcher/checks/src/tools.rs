//! Which versions of its programs a verdict was reached with. Each program is asked once; a new version is seen after
//! the next start of the watcher. A toolchain that the repository pins is part of the tree and needs no asking.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::find::{Check, Origin, When};
use crate::run::{Limits, Runner};

/// Node starts in 40 ms, a cold rustup in a second.
const ASKING_TAKES_AT_MOST: Duration = Duration::from_secs(20);
/// What a shell answers for a program that is not there.
const NOT_FOUND: i32 = 127;
const VERSION_CHARS_MAX: usize = 120;
/// Programs of repositories are few; a name out of a script could be anything.
const PROGRAMS_MAX: usize = 256;

#[derive(Debug, Default)]
pub struct ToolVersions {
    known: Mutex<BTreeMap<String, String>>,
}

impl ToolVersions {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `cargo 1.95.0 (...); rustc 1.95.0 (...)`: the versions of what a check needs, in its order.
    pub async fn of(&self, check: &Check, runner: &Runner, root: &Path) -> String {
        let mut versions = Vec::new();
        for program in &check.needs {
            let known = self.known.lock().ok().and_then(|known| known.get(program).cloned());
            let version = match known {
                Some(version) => version,
                None => self.ask(program, check, runner, root).await,
            };
            versions.push(version);
        }
        versions.join("; ")
    }

    async fn ask(&self, program: &str, check: &Check, runner: &Runner, root: &Path) -> String {
        let flag = if program == "go" { "version" } else { "--version" };
        let run = format!("{program} {flag}");
        let question = Check::new("version", &run, When::Edit, Origin::Configured);
        let question = Check { needs: Vec::new(), folder: check.folder.clone(), path: check.path.clone(), ..question };
        let limits = Limits { wall_clock: ASKING_TAKES_AT_MOST, free_bytes_floor: 0, ..Limits::default() };
        let ended = runner.ended(&question, root, &limits, &CancellationToken::new()).await;
        let first = ended.output.text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
        // Many small programs have no version; that they are there is all there is to know.
        let unknown = format!("{program} ?");
        let Some(status) = ended.status.filter(|s| s.code() != Some(NOT_FOUND)) else {
            // Not remembered: it may be there the next time.
            return unknown;
        };
        let has_said = status.success() && !first.is_empty();
        let version = if has_said { first.chars().take(VERSION_CHARS_MAX).collect() } else { unknown };
        if let Ok(mut known) = self.known.lock()
            && known.len() < PROGRAMS_MAX
        {
            known.insert(program.to_owned(), version.clone());
        }
        version
    }
}
