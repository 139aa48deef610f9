//! Claude Code: its hook events and the answers it obeys (verified against 2.1.329).
//! A denial is one line of its own JSON with exit 0; what cannot be understood is denied, never passed (H15, H28).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Output;
use crate::call::{Action, Answer, Event, Kind, ToolCall, Verdict};
use crate::json::object;
use crate::proposed::{Proposal, Replace};
use crate::repos::DISK_PATH_BYTES_MAX;

/// Claude cuts longer texts and shows 2 KB of them; ours stay below that so that nothing is lost.
const CONTEXT_BYTES_MAX: usize = 6_000;

/// Tools that change no file of a work tree, by their documented behaviour.
const HARMLESS: [&str; 26] = [
    "Glob",
    "Grep",
    "LS",
    "WebFetch",
    "WebSearch",
    "TodoWrite",
    "TodoRead",
    "Task",
    "Agent",
    "ToolSearch",
    "Skill",
    "AskUserQuestion",
    "ExitPlanMode",
    "EnterPlanMode",
    "BashOutput",
    "KillShell",
    "KillBash",
    "TaskCreate",
    "TaskList",
    "TaskGet",
    "TaskUpdate",
    "TaskOutput",
    "TaskStop",
    "ListMcpResourcesTool",
    "ReadMcpResourceTool",
    "SendMessage",
];

/// First words of MCP tool names that read by any reasonable meaning of the word.
const READING_WORDS: [&str; 11] =
    ["read", "get", "list", "search", "find", "query", "show", "view", "describe", "fetch", "status"];

/// Argument names that hold paths in the MCP servers seen so far.
const PATH_WORDS: [&str; 12] = [
    "path",
    "file",
    "filename",
    "uri",
    "target",
    "destination",
    "dest",
    "dst",
    "source",
    "src",
    "directory",
    "notebook",
];

/// What could not be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    /// What the agent and its user read of it.
    pub text: String,
    /// Whether the event may be one that a tool waits for.
    pub gates_a_tool: bool,
}

pub(crate) fn decode(input: &[u8]) -> Result<Event, Misread> {
    let map = object(input).map_err(|e| misread(format!("the hook's input is not valid JSON: {e}"), true))?;
    let name = text(&map, "hook_event_name").ok_or_else(|| misread("the input names no hook event".into(), true))?;
    let gates = name == "PreToolUse";
    let need = |key: &str| text(&map, key).ok_or_else(|| misread(format!("{key} is missing or no text"), gates));
    let session = need("session_id")?.to_owned();
    if session.is_empty() || session.len() > 200 {
        return Err(misread("session_id is empty or longer than 200 bytes".into(), gates));
    }
    let cwd = PathBuf::from(need("cwd")?);
    if !cwd.is_absolute() || cwd.as_os_str().len() > DISK_PATH_BYTES_MAX {
        return Err(misread("cwd is not an absolute path, or longer than 4,096 bytes".into(), gates));
    }
    let agent_id = text(&map, "agent_id").map(str::to_owned);
    let kind = kind(name, &map, &cwd)?;
    Ok(Event { session, agent_id, cwd, kind })
}

fn kind(name: &str, map: &Map<String, Value>, cwd: &Path) -> Result<Kind, Misread> {
    let owned = |key: &str| text(map, key).unwrap_or_default().to_owned();
    Ok(match name {
        "SessionStart" => Kind::SessionStart { resumed: owned("source") != "startup" },
        "UserPromptSubmit" => Kind::Prompt { text: owned("prompt") },
        "PreToolUse" => Kind::Before(call(map, cwd, true)?),
        "PostToolUse" => Kind::After { call: call(map, cwd, false)?, ok: true },
        "PostToolUseFailure" => Kind::After { call: call(map, cwd, false)?, ok: false },
        "PostToolBatch" => Kind::BatchOver { ids: batch_ids(map) },
        "Stop" => Kind::TurnOver { busy: is_busy(map) },
        "SubagentStop" => Kind::SubagentOver,
        "SessionEnd" => Kind::SessionOver,
        "ConfigChange" => Kind::SettingsChanged { file: text(map, "file_path").map(PathBuf::from) },
        _ => Kind::Other,
    })
}

fn call(map: &Map<String, Value>, cwd: &Path, gates: bool) -> Result<ToolCall, Misread> {
    let tool = text(map, "tool_name").ok_or_else(|| misread("tool_name is missing or no text".into(), gates))?;
    let id = text(map, "tool_use_id").unwrap_or(tool).to_owned();
    let empty = Map::new();
    let input = match map.get("tool_input") {
        Some(Value::Object(input)) => input,
        None | Some(Value::Null) => &empty,
        Some(_) => return Err(misread("tool_input is no object".into(), gates)),
    };
    let action = action(tool, input, cwd).map_err(|why| misread(why, gates))?;
    // A command is told whole by its action.
    let told = !gates || matches!(action, Action::Shell { .. } | Action::Read(_) | Action::Harmless);
    let input = if told { Map::new() } else { input.clone() };
    Ok(ToolCall { id, tool: tool.to_owned(), action, input })
}

/// What a file tool would make of its file.
pub(crate) fn proposal(call: &ToolCall) -> Option<Proposal> {
    let replace = |edit: &Map<String, Value>| {
        let part = |key: &str| text(edit, key).map(str::to_owned);
        let all = edit.get("replace_all").and_then(Value::as_bool).unwrap_or_default();
        Some(Replace { old: part("old_string")?, new: part("new_string")?, all })
    };
    match call.tool.as_str() {
        "Write" => Some(Proposal::Whole(text(&call.input, "content")?.to_owned())),
        "Edit" => Some(Proposal::Edited(vec![replace(&call.input)?])),
        "MultiEdit" => {
            let edits = call.input.get("edits")?.as_array()?;
            Some(Proposal::Edited(edits.iter().map(|edit| replace(edit.as_object()?)).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn action(tool: &str, input: &Map<String, Value>, cwd: &Path) -> Result<Action, String> {
    let path = |key: &str| match text(input, key) {
        Some(p) if !p.is_empty() => Ok(vec![cwd.join(p)]),
        _ => Err(format!("{tool} without a {key}")),
    };
    Ok(match tool {
        "Read" => Action::Read(path("file_path")?),
        "Write" => Action::Write { paths: path("file_path")?, whole: true },
        "Edit" | "MultiEdit" => Action::Write { paths: path("file_path")?, whole: false },
        "NotebookEdit" => Action::Write { paths: path("notebook_path")?, whole: false },
        "Bash" | "PowerShell" | "Monitor" => match text(input, "command") {
            Some(command) => Action::Shell { command: command.to_owned() },
            None if tool == "Monitor" => Action::Harmless,
            None => return Err(format!("{tool} without a command")),
        },
        _ if HARMLESS.contains(&tool) => Action::Harmless,
        _ => foreign(tool, input, cwd),
    })
}

/// A tool that we do not know: what it names is taken for written, unless its name says that it reads.
fn foreign(tool: &str, input: &Map<String, Value>, cwd: &Path) -> Action {
    let mut paths = Vec::new();
    named_paths(input, cwd, &mut paths);
    let name = tool.rsplit("__").next().unwrap_or(tool).to_lowercase();
    let reads = tool.starts_with("mcp__") && READING_WORDS.iter().any(|w| name.split(['_', '-']).next() == Some(w));
    match reads {
        true if paths.is_empty() => Action::Harmless,
        true => Action::Read(paths),
        false => Action::Unknown { paths },
    }
}

fn named_paths(input: &Map<String, Value>, cwd: &Path, paths: &mut Vec<PathBuf>) {
    for (key, value) in input {
        let key = key.to_lowercase();
        let names_a_path = PATH_WORDS.iter().any(|w| key.contains(w));
        match value {
            Value::String(text) if names_a_path => paths.extend(as_path(text, cwd)),
            Value::Array(items) => {
                let texts = items.iter().filter(|_| names_a_path).filter_map(Value::as_str);
                paths.extend(texts.filter_map(|t| as_path(t, cwd)));
                items.iter().filter_map(Value::as_object).for_each(|o| named_paths(o, cwd, paths));
            }
            Value::Object(inner) => named_paths(inner, cwd, paths),
            _ => {}
        }
    }
}

fn as_path(text: &str, cwd: &Path) -> Option<PathBuf> {
    let text = text.strip_prefix("file://").unwrap_or(text);
    let is_text = text.is_empty() || text.contains("://") || text.contains('\n') || text.contains('\0');
    (!is_text).then(|| cwd.join(text))
}

fn batch_ids(map: &Map<String, Value>) -> Vec<String> {
    let calls = map.get("tool_calls").and_then(Value::as_array);
    let ids = calls.into_iter().flatten().filter_map(|c| c.get("tool_use_id")?.as_str());
    ids.map(str::to_owned).collect()
}

/// Background sub-agents go on after the main turn has stopped.
fn is_busy(map: &Map<String, Value>) -> bool {
    map.get("background_tasks").and_then(Value::as_array).is_some_and(|tasks| !tasks.is_empty())
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

#[allow(clippy::needless_pass_by_value)] // Every caller makes the text for it.
fn misread(why: String, gates_a_tool: bool) -> Misread {
    Misread { text: crate::messages::misread(&why), gates_a_tool }
}

/// The output for input that could not be understood. An event that gates nothing ignores the denial.
pub(crate) fn encode_misread(misread: &Misread) -> Output {
    if !misread.gates_a_tool {
        return Output::default();
    }
    line(&pre_tool(Some(&misread.text), None))
}

pub(crate) fn encode(kind: &Kind, answer: &Answer) -> Output {
    let context = joined(&answer.context);
    match (kind, &answer.verdict) {
        (Kind::Before(_), Verdict::Pass) if context.is_none() => Output::default(),
        (Kind::Before(_), Verdict::Pass) => line(&pre_tool(None, context)),
        (Kind::Before(_), Verdict::Deny(reason)) => line(&pre_tool(Some(reason), context)),
        (Kind::Before(_), Verdict::DenyAndStop(reason)) => {
            let mut value = pre_tool(Some(reason), context);
            value["continue"] = json!(false);
            value["stopReason"] = json!(reason);
            line(&value)
        }
        // Exit 2 is the one answer that keeps the hooks as they were.
        (Kind::SettingsChanged { .. }, Verdict::Deny(reason) | Verdict::DenyAndStop(reason)) => {
            Output { stderr: reason.clone().into_bytes(), exit: 2, ..Output::default() }
        }
        (_, _) => match (event_with_context(kind), context) {
            (Some(event), Some(context)) => {
                line(&json!({"hookSpecificOutput": {"hookEventName": event, "additionalContext": context}}))
            }
            _ => Output::default(),
        },
    }
}

fn event_with_context(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::SessionStart { .. } => Some("SessionStart"),
        Kind::Prompt { .. } => Some("UserPromptSubmit"),
        Kind::After { ok: true, .. } => Some("PostToolUse"),
        Kind::After { ok: false, .. } => Some("PostToolUseFailure"),
        _ => None,
    }
}

fn pre_tool(deny: Option<&str>, context: Option<String>) -> Value {
    let mut inner = json!({"hookEventName": "PreToolUse"});
    if let Some(reason) = deny {
        inner["permissionDecision"] = json!("deny");
        inner["permissionDecisionReason"] = json!(reason);
    }
    if let Some(context) = context {
        inner["additionalContext"] = json!(context);
    }
    json!({"hookSpecificOutput": inner})
}

fn joined(context: &[String]) -> Option<String> {
    let mut all = String::new();
    for fact in context {
        if all.len() + fact.len() > CONTEXT_BYTES_MAX {
            all.push_str("(more: rrctl status)");
            break;
        }
        all.push_str(fact);
        all.push('\n');
    }
    let trimmed = all.trim_end();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

fn line(value: &Value) -> Output {
    let mut stdout = value.to_string().into_bytes();
    stdout.push(b'\n');
    Output { stdout, ..Output::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pre(tool: &str, input: &Value) -> Vec<u8> {
        json!({"session_id": "s1", "cwd": "/p", "hook_event_name": "PreToolUse", "tool_name": tool,
               "tool_input": input, "tool_use_id": "t1"})
        .to_string()
        .into_bytes()
    }

    fn action_of(tool: &str, input: &Value) -> Action {
        match decode(&pre(tool, input)).expect("decodes").kind {
            Kind::Before(call) => call.action,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_file_tool_yields_its_path() {
        let w = |p: &str, whole| Action::Write { paths: vec![PathBuf::from(p)], whole };
        assert_eq!(action_of("Write", &json!({"file_path": "/p/a", "content": "x"})), w("/p/a", true));
        assert_eq!(action_of("Edit", &json!({"file_path": "/p/a", "old_string": "x"})), w("/p/a", false));
        assert_eq!(action_of("MultiEdit", &json!({"file_path": "b", "edits": []})), w("/p/b", false));
        assert_eq!(action_of("NotebookEdit", &json!({"notebook_path": "n.ipynb"})), w("/p/n.ipynb", false));
        assert_eq!(action_of("Read", &json!({"file_path": "/p/a"})), Action::Read(vec!["/p/a".into()]));
    }

    #[test]
    fn an_mcp_tool_that_names_files_writes_them_unless_its_name_reads() {
        let input =
            json!({"path": "a.txt", "options": {"dest_files": ["b.txt"]}, "url": "https://x/y", "text": "c.txt"});
        let both = vec![PathBuf::from("/p/b.txt"), PathBuf::from("/p/a.txt")];
        match action_of("mcp__fs__put", &input) {
            Action::Unknown { mut paths } => {
                paths.sort();
                paths.reverse();
                assert_eq!(paths, both);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(action_of("mcp__fs__read_file", &json!({"path": "a"})), Action::Read(vec!["/p/a".into()]));
        assert_eq!(action_of("mcp__db__get_rows", &json!({"table": "t"})), Action::Harmless);
        assert_eq!(action_of("BrandNewTool", &json!({})), Action::Unknown { paths: vec![] });
    }

    #[test]
    fn input_of_the_wrong_shape_is_denied_where_a_tool_waits_and_ignored_elsewhere() {
        let wrong = [
            json!({"session_id": 7, "cwd": "/p", "hook_event_name": "PreToolUse", "tool_name": "Write"}),
            json!({"session_id": "s", "cwd": "p", "hook_event_name": "PreToolUse", "tool_name": "Write"}),
            json!({"session_id": "s", "cwd": "/p", "hook_event_name": "PreToolUse"}),
            json!({"session_id": "s", "cwd": "/p", "hook_event_name": "PreToolUse", "tool_name": "Write", "tool_input": []}),
            json!({"session_id": "s", "cwd": "/p", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {}}),
            json!({"cwd": "/p"}),
        ];
        for input in wrong {
            let bad = decode(input.to_string().as_bytes()).expect_err("refused");
            let said = String::from_utf8(encode_misread(&bad).stdout).expect("text");
            assert!(said.contains(r#""permissionDecision":"deny""#), "{input}: {said}");
        }
        let stop = decode(json!({"cwd": "/p", "hook_event_name": "Stop"}).to_string().as_bytes()).expect_err("refused");
        assert_eq!(encode_misread(&stop), Output::default());
    }

    #[test]
    fn no_objection_is_silence_and_never_an_allow() {
        let kind = decode(&pre("Write", &json!({"file_path": "/p/a"}))).expect("decodes").kind;
        assert_eq!(encode(&kind, &Answer::default()), Output::default());
        let noted = encode(&kind, &Answer::with(vec!["fact".into()]));
        let said = String::from_utf8(noted.stdout).expect("text");
        assert!(said.contains("fact") && !said.contains("permissionDecision"), "{said}");
    }

    #[test]
    fn a_denial_is_one_complete_line_with_exit_0() {
        let kind = decode(&pre("Write", &json!({"file_path": "/p/a"}))).expect("decodes").kind;
        let out = encode(&kind, &Answer::deny("held by s2\nsince 1 m".into()));
        assert_eq!(out.exit, 0);
        assert_eq!(out.stdout.iter().filter(|b| **b == b'\n').count(), 1);
        let value: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        assert_eq!(value["hookSpecificOutput"]["hookEventName"], "PreToolUse");
        let stop = encode(&kind, &Answer { verdict: Verdict::DenyAndStop("spinning".into()), ..Answer::default() });
        let value: Value = serde_json::from_slice(&stop.stdout).expect("JSON");
        assert_eq!(
            (&value["continue"], &value["hookSpecificOutput"]["permissionDecision"]),
            (&json!(false), &json!("deny"))
        );
    }

    #[test]
    fn context_stays_below_what_the_agent_shows() {
        let facts = vec!["x".repeat(2_500); 4];
        assert!(joined(&facts).expect("some").len() < CONTEXT_BYTES_MAX + 100);
    }
}
