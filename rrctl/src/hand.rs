//! What every command is handed: how to answer, and where this user's files are. Next: `cmd`.

use std::future::Future;

use rr_runtime::dirs::Dirs;
use serde::Serialize;

use crate::exit::Failure;
use crate::out;

/// The person who typed, as far as commands care.
pub(crate) struct Hand {
    pub(crate) dirs: Dirs,
    json: bool,
}

impl Hand {
    pub(crate) fn new(json: bool) -> Result<Self, Failure> {
        let dirs = Dirs::from_env().map_err(|e| Failure::at("find this user's folders", &e))?;
        Ok(Self { dirs, json })
    }

    pub(crate) const fn wants_json(&self) -> bool {
        self.json
    }

    /// Answers in the way that was asked for: the value as JSON, or the text.
    pub(crate) fn answer<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { out::json(value) } else { out::text(&text()) }
    }

    /// The name that pauses and resumes are recorded under.
    pub(crate) fn who(&self) -> String {
        rr_runtime::host::user_name()
    }

    /// Runs a command that waits for others. One thread is enough for one person.
    pub(crate) fn wait_for(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|e| Failure::at("start the command's runtime", &e))?.block_on(work)
    }
}
