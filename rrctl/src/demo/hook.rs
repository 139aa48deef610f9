//! One hook call as an agent makes it: the event's JSON on the hook's standard input, its answer read back. Owns how an
//! answer is understood, by the agent's rules and not by ours; knows no tool. Next: `agent` obeys it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What an agent takes from a hook's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Why the call is denied, if it is.
    pub(crate) denied: Option<String>,
    /// What the model is told besides.
    pub(crate) context: Option<String>,
    /// The agent is to stop altogether.
    pub(crate) stop: bool,
}

/// The installed hook, as an agent's settings name it.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) program: PathBuf,
    /// The `rrctl` by which the hook may start a daemon that is not there.
    pub(crate) daemon: Option<PathBuf>,
}

impl Hook {
    /// Asks, and waits for the answer; the hook program answers within its own limit.
    pub(crate) fn ask(&self, event: &Value, session: &str, project: &Path) -> io::Result<Heard> {
        let mut command = Command::new(&self.program);
        command.args(["--agent", "claude"]);
        if let Some(daemon) = &self.daemon {
            command.arg("--daemon").arg(daemon);
        }
        command.env("CLAUDE_PID", std::process::id().to_string());
        command.env("CLAUDE_CODE_SESSION_ID", session).env("CLAUDE_PROJECT_DIR", project);
        command.current_dir(project).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(event.to_string().as_bytes()) {
                // It may answer before it has read everything.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        Ok(hear(&output.stdout, &stderr, output.status.code()))
    }
}

/// Exit code 2 blocks whatever was printed; otherwise what looks like JSON is read as JSON.
fn hear(stdout: &[u8], stderr: &str, code: Option<i32>) -> Heard {
    let said: Value = serde_json::from_slice(stdout).unwrap_or_default();
    let inner = &said["hookSpecificOutput"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let denies = inner["permissionDecision"] == "deny" || said["decision"] == "block";
    let reason = text(&inner["permissionDecisionReason"]).or_else(|| text(&said["reason"])).unwrap_or_default();
    let denied = match (code, denies) {
        (Some(2), _) => Some(stderr.trim().to_owned()),
        (_, true) => Some(reason),
        _ => None,
    };
    Heard { denied, context: text(&inner["additionalContext"]), stop: said["continue"] == false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_passes_a_denial_denies_and_exit_2_blocks() {
        assert_eq!(hear(b"", "", Some(0)), Heard::default());
        let deny = br#"{"continue":false,"hookSpecificOutput":{"permissionDecision":"deny","permissionDecisionReason":"held","additionalContext":"fact"}}"#;
        let want = Heard { denied: Some("held".into()), context: Some("fact".into()), stop: true };
        assert_eq!(hear(deny, "", Some(0)), want);
        assert_eq!(hear(b"", "no\n", Some(2)).denied.as_deref(), Some("no"));
    }
}
