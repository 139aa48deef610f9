//! What every story here types with: the real program in a home of its own, and what it said.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Variables of whoever runs the tests that would reach into the home.
const FOREIGN: [&str; 4] = ["RAILROAD_CONFIG", "RAILROAD_LOG", "RAILROAD_SESSION", "CLAUDE_CODE_SESSION_ID"];

/// `rrctl` as the person with this home types it, in the repository there.
pub(crate) fn rrctl(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rrctl"));
    command.args(words).current_dir(home.join("repo")).stdin(Stdio::null()).env("HOME", home);
    command.env("RAILROAD_STATE_DIR", home.join("state")).env("RAILROAD_RUNTIME_DIR", home.join("run"));
    command.env("XDG_CONFIG_HOME", home.join("config")).env("CLAUDE_CONFIG_DIR", home.join("claude"));
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code().expect("an exit code"), out: text(output.stdout), err: text(output.stderr) }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("no JSON: {e}: {self:?}"))
    }
}
