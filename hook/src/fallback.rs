//! What to say when nobody could be asked. Owns the one rule this program applies itself: what may change something is
//! refused, what only reads passes with a note. Refuses to know how asking failed. Next: `messages.rs` for the words.

use crate::args::OnUnavailable;
use crate::messages;
use crate::scan::{self, Subject};
use crate::trouble::Trouble;

/// What is printed and how the program ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) code: u8,
}

/// Tools that change neither the repository nor anything a second agent works with: they look things up, fetch, keep
/// the agent's own list, or ask the person. Everything else may write, tools of MCP servers and future ones included.
const READING_TOOLS: [&str; 15] = [
    "Read",
    "Glob",
    "Grep",
    "LS",
    "NotebookRead",
    "WebFetch",
    "WebSearch",
    "TodoRead",
    "TodoWrite",
    "TaskList",
    "TaskGet",
    "TaskOutput",
    "ToolSearch",
    "ListMcpResourcesTool",
    "AskUserQuestion",
];

/// Decides without the sidecar. Input that cannot be understood is answered like a changing call: for any other event
/// the agent ignores that refusal, so it is safe wherever it goes.
pub(crate) fn answer(input: &[u8], trouble: &Trouble, policy: OnUnavailable) -> Answer {
    let denies = policy == OnUnavailable::Deny;
    let stdout = match scan::subject(input) {
        Subject::Event { name, tool } if name == "PreToolUse" => before_a_call(tool.as_deref(), trouble, denies),
        Subject::Event { name, .. } => other_event(&name, trouble, denies),
        Subject::Odd => before_a_call(None, trouble, denies),
    };
    Answer { stdout, ..Answer::default() }
}

fn before_a_call(tool: Option<&str>, trouble: &Trouble, denies: bool) -> Vec<u8> {
    let reads = tool.is_some_and(|tool| READING_TOOLS.contains(&tool));
    if reads || !denies { messages::passed(trouble) } else { messages::deny(trouble) }
}

/// Nothing is gated here: silence, except where a session or a turn begins and the agent can still plan for it.
fn other_event(name: &str, trouble: &Trouble, denies: bool) -> Vec<u8> {
    match name {
        "SessionStart" | "UserPromptSubmit" | "SubagentStart" => messages::context(name, trouble, denies),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(input: &str, policy: OnUnavailable) -> String {
        let answer = answer(input.as_bytes(), &Trouble::NoAnswer, policy);
        assert_eq!((answer.code, answer.stderr.len()), (0, 0));
        String::from_utf8(answer.stdout).unwrap()
    }

    fn call(tool: &str) -> String {
        format!(r#"{{"hook_event_name":"PreToolUse","tool_name":"{tool}","tool_input":{{}}}}"#)
    }

    const DENY: &str = r#""permissionDecision":"deny""#;

    #[test]
    fn changing_unknown_and_foreign_tools_are_denied() {
        for tool in ["Write", "Edit", "Bash", "Agent", "mcp__db__query", "read", "ReadX", "FutureTool"] {
            assert!(said(&call(tool), OnUnavailable::Deny).contains(DENY), "{tool}");
        }
    }

    #[test]
    fn reading_tools_pass_with_a_note() {
        for tool in READING_TOOLS {
            let text = said(&call(tool), OnUnavailable::Deny);
            assert!(text.contains("additionalContext") && !text.contains("permissionDecision"), "{tool}");
        }
    }

    #[test]
    fn input_that_is_not_understood_is_denied() {
        for input in ["", "{", "hello", r#"{"hook_event_name":"PreToolUse","tool_name":"Read""#, "\u{0}"] {
            assert!(said(input, OnUnavailable::Deny).contains(DENY), "{input:?}");
        }
        assert!(said(r#"{"hook_event_name":"PreToolUse"}"#, OnUnavailable::Deny).contains(DENY));
    }

    #[test]
    fn a_user_who_chose_allow_gets_a_note_and_never_an_approval() {
        for input in [call("Write"), String::new(), call("Bash")] {
            let text = said(&input, OnUnavailable::Allow);
            assert!(text.contains("additionalContext") && !text.contains("permissionDecision"), "{input:?}");
        }
    }

    #[test]
    fn events_that_gate_nothing_are_silent_or_noted() {
        for name in ["PostToolUse", "PostToolBatch", "Stop", "ConfigChange", "CwdChanged", "SessionEnd", "Future"] {
            assert_eq!(said(&format!(r#"{{"hook_event_name":"{name}"}}"#), OnUnavailable::Deny), "", "{name}");
        }
        let start = said(r#"{"hook_event_name":"SessionStart"}"#, OnUnavailable::Deny);
        assert!(start.contains(r#""hookEventName":"SessionStart","additionalContext""#) && start.contains("denied"));
    }
}
