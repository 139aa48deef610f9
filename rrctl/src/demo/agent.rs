//! One agent with the tool loop of Claude Code: it asks the hook before each call, acts only when nothing objects, reports
//! afterwards. Owns its session's name and its calls' ids; what it works on is decided by `script` or `steer`.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use super::hook::{Heard, Hook};
use super::tools::{self, ToolError};

pub(crate) struct Agent {
    hook: Hook,
    session: String,
    project: PathBuf,
    calls: u64,
}

/// A call that was let through and waits to be made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) tool: String,
    pub(crate) input: Value,
}

/// What was made of a call.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) result: Result<String, ToolError>,
    pub(crate) took: std::time::Duration,
}

impl Agent {
    pub(crate) fn new(hook: Hook, session: String, project: PathBuf) -> Self {
        Self { hook, session, project, calls: 0 }
    }

    /// Any event of the agent's life, with the fields that belong to it.
    pub(crate) fn event(&self, name: &str, fields: &Value) -> io::Result<Heard> {
        let mut event = json!({
            "session_id": self.session, "cwd": self.project, "hook_event_name": name,
            "transcript_path": self.project.join(".transcript.jsonl"), "permission_mode": "default",
        });
        if let (Some(event), Some(fields)) = (event.as_object_mut(), fields.as_object()) {
            event.extend(fields.clone());
        }
        self.hook.ask(&event, &self.session, &self.project)
    }

    /// A new call, with its path made absolute as the real tools do before their hooks run.
    pub(crate) fn call(&mut self, tool: &str, mut input: Value) -> Call {
        if let Some(path) = input["file_path"].as_str() {
            input["file_path"] = json!(self.project.join(path));
        }
        self.calls += 1;
        // Of one length, so that they sort as they were made.
        Call { id: format!("toolu_{}_{:08}", std::process::id(), self.calls), tool: tool.to_owned(), input }
    }

    pub(crate) fn before(&self, call: &Call) -> io::Result<Heard> {
        self.event("PreToolUse", &fields_of(call))
    }

    /// Makes the call. Only for calls that [`Self::before`] let through.
    pub(crate) fn act(&self, call: &Call) -> Done {
        let start = Instant::now();
        let result = tools::act(&call.tool, &call.input, &self.project, &self.session);
        Done { result, took: start.elapsed() }
    }

    pub(crate) fn after(&self, call: &Call, done: &Done) -> io::Result<Heard> {
        let mut fields = fields_of(call);
        fields["duration_ms"] = json!(u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX));
        match &done.result {
            Ok(output) => {
                fields["tool_response"] = json!({"stdout": output, "filePath": call.input["file_path"]});
                self.event("PostToolUse", &fields)
            }
            Err(error) => {
                fields["error"] = json!(error.to_string());
                fields["is_interrupt"] = json!(false);
                self.event("PostToolUseFailure", &fields)
            }
        }
    }
}

fn fields_of(call: &Call) -> Value {
    json!({"tool_name": call.tool, "tool_input": call.input, "tool_use_id": call.id})
}
