//! The hooks inside a settings file: text in, text out. Owns the list of events, the handlers' form, and how they join
//! what stands there (key order, foreign keys and indentation stay). Refuses to touch files. Next: `../install.rs`.

use std::path::Path;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::{InstallError, Options};

/// One event the hook listens to.
pub(super) struct Event {
    pub(super) name: &'static str,
    /// Tool events take a matcher; `*` covers reads too, for pause and the journal.
    matches_tools: bool,
    /// Only before a call does a failing hook stop something useful: elsewhere it would end prompts and turns.
    blocks_on_failure: bool,
    timeout_s: u32,
}

/// Far above the hook's own 2 s: reaching it means that the hook itself is broken.
const TIMEOUT_S: u32 = 10;

/// Sets how long the agent waits at its end, where 1.5 s is the default.
const TIMEOUT_AT_END_S: u32 = 5;

const fn event(name: &'static str) -> Event {
    Event { name, matches_tools: false, blocks_on_failure: false, timeout_s: TIMEOUT_S }
}

const fn tool_event(name: &'static str) -> Event {
    Event { matches_tools: true, ..event(name) }
}

pub(super) const EVENTS: [Event; 12] = [
    event("SessionStart"),
    event("UserPromptSubmit"),
    Event { blocks_on_failure: true, ..tool_event("PreToolUse") },
    tool_event("PostToolUse"),
    tool_event("PostToolUseFailure"),
    event("PostToolBatch"),
    event("SubagentStart"),
    event("SubagentStop"),
    event("Stop"),
    event("ConfigChange"),
    event("CwdChanged"),
    Event { timeout_s: TIMEOUT_AT_END_S, ..event("SessionEnd") },
];

/// The hook's file name and first argument: how a handler is known as ours, whatever version wrote it.
const HOOK_NAME: &str = "rr-hook";
const HOOK_MARK: &str = " --agent claude";

/// The handlers to be installed.
pub(super) struct Wanted {
    command: String,
}

impl Wanted {
    pub(super) fn new(options: &Options) -> Result<Wanted, InstallError> {
        let mut command =
            format!("{}{HOOK_MARK} --daemon {}", quoted(&options.hook_path)?, quoted(&options.daemon_path)?);
        if options.allow_when_unavailable {
            command.push_str(" --on-unavailable allow");
        }
        if hook_of(&command).is_none() {
            let what = format!("the hook program must be called {HOOK_NAME}");
            return Err(InstallError::Shape { path: options.hook_path.clone(), what });
        }
        Ok(Wanted { command })
    }

    fn group(&self, event: &Event) -> Value {
        let mut handler = json!({ "type": "command", "command": self.command, "timeout": event.timeout_s });
        if event.blocks_on_failure {
            handler["onFailure"] = json!("block");
        }
        if event.matches_tools { json!({ "matcher": "*", "hooks": [handler] }) } else { json!({ "hooks": [handler] }) }
    }
}

/// One word for a POSIX shell.
pub(super) fn quoted(path: &Path) -> Result<String, InstallError> {
    let text = path.to_str().filter(|text| text.starts_with('/') && !text.contains('\n'));
    let text = text.ok_or_else(|| InstallError::Path { path: path.to_owned() })?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// The program path inside a command of ours; `None` if the command is not ours.
pub(super) fn hook_of(command: &str) -> Option<String> {
    let (program, _) = command.split_once(HOOK_MARK)?;
    let inner =
        program.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).map(|path| path.replace(r"'\''", "'"));
    let path = inner.unwrap_or_else(|| program.trim_matches('"').to_owned());
    (Path::new(&path).file_name()? == HOOK_NAME).then_some(path)
}

/// The settings with our handlers in them; the very same bytes if they are there already.
pub(super) fn merge(path: &Path, text: Option<&[u8]>, wanted: &Wanted) -> Result<Vec<u8>, InstallError> {
    let style = Style::of(text.unwrap_or_default());
    let mut root = match text {
        Some(text) if !text.trim_ascii().is_empty() => parse(path, text)?,
        _ => Map::new(),
    };
    if let Some(text) = text.filter(|_| is_complete(&root, wanted)) {
        return Ok(text.to_vec());
    }
    strip(&mut root);
    let hooks = root.entry("hooks").or_insert_with(|| json!({}));
    let hooks = hooks.as_object_mut().ok_or_else(|| shape(path, "\"hooks\" is not an object"))?;
    for event in &EVENTS {
        let groups = hooks.entry(event.name).or_insert_with(|| json!([]));
        let groups = groups.as_array_mut();
        let groups = groups.ok_or_else(|| shape(path, &format!("\"hooks.{}\" is not a list", event.name)))?;
        groups.push(wanted.group(event));
    }
    Ok(style.write(&root))
}

/// The settings without our handlers: `first`, if nothing else has changed since; nothing, if nothing is left of a file
/// that was ours alone.
pub(super) fn take_out(path: &Path, text: &[u8], first: Option<&[u8]>) -> Result<Option<Vec<u8>>, InstallError> {
    let mut root = parse(path, text)?;
    strip(&mut root);
    match first.map(|first| parse_or_empty(path, first)).transpose() {
        Ok(Some(mut before)) => {
            strip(&mut before);
            if same_order(&before, &root) {
                return Ok(first.map(<[u8]>::to_vec));
            }
        }
        Ok(None) if root.is_empty() => return Ok(None),
        // A backup that somebody broke must not keep us installed.
        Ok(None) | Err(_) => {}
    }
    Ok(Some(Style::of(text).write(&root)))
}

/// A quick look before any parsing.
pub(super) fn mentions_us(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains(HOOK_NAME) && text.contains(HOOK_MARK)
}

pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Map<String, Value>, InstallError> {
    let value: Value = serde_json::from_slice(text).map_err(|source| InstallError::Json {
        path: path.to_owned(),
        line: source.line(),
        column: source.column(),
        source,
    })?;
    match value {
        Value::Object(root) => match first_inexact_number(text) {
            None => Ok(root),
            Some(number) => Err(shape(path, &format!("the number {number} could not be written back unchanged"))),
        },
        _ => Err(shape(path, "the top level is not an object")),
    }
}

/// A number that would be spelt differently after a rewrite (`1e5`, more digits than fit): refused rather than altered.
/// `text` is valid JSON.
fn first_inexact_number(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    // Every second piece between unescaped quotes is a string.
    let unescaped = text.replace("\\\\", "").replace("\\\"", "");
    let outside = unescaped.split('"').step_by(2);
    let words = outside.flat_map(|piece| piece.split(|c: char| c.is_whitespace() || "{}[],:".contains(c)));
    let mut numbers = words.filter(|word| word.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
    let rewritten = |word: &str| serde_json::from_str::<Value>(word).map(|value| value.to_string());
    numbers.find(|word| rewritten(word).ok().as_deref() != Some(*word)).map(str::to_owned)
}

fn parse_or_empty(path: &Path, text: &[u8]) -> Result<Map<String, Value>, InstallError> {
    if text.trim_ascii().is_empty() { Ok(Map::new()) } else { parse(path, text) }
}

fn shape(path: &Path, what: &str) -> InstallError {
    InstallError::Shape { path: path.to_owned(), what: what.to_owned() }
}

fn is_complete(root: &Map<String, Value>, wanted: &Wanted) -> bool {
    EVENTS.iter().all(|event| {
        let groups = root.get("hooks").and_then(|hooks| hooks.get(event.name)).and_then(Value::as_array);
        let ours: Vec<&Value> = groups.into_iter().flatten().filter(|group| handlers(group).any(is_ours)).collect();
        matches!(ours[..], [only] if *only == wanted.group(event))
    })
}

pub(super) fn handlers(group: &Value) -> impl Iterator<Item = &Value> {
    group.get("hooks").and_then(Value::as_array).into_iter().flatten()
}

fn is_ours(handler: &Value) -> bool {
    handler.get("command").and_then(Value::as_str).and_then(hook_of).is_some()
}

/// Removes our handlers, then every list and object that is empty without them.
fn strip(root: &mut Map<String, Value>) {
    let Some(hooks) = root.get_mut("hooks").and_then(Value::as_object_mut) else {
        return;
    };
    for groups in hooks.values_mut().filter_map(Value::as_array_mut) {
        groups.retain_mut(|group| {
            let Some(handlers) = group.get_mut("hooks").and_then(Value::as_array_mut) else {
                return true;
            };
            let before = handlers.len();
            handlers.retain(|handler| !is_ours(handler));
            handlers.len() == before || !handlers.is_empty()
        });
    }
    hooks.retain(|_, groups| groups.as_array().is_none_or(|groups| !groups.is_empty()));
    if hooks.is_empty() {
        // `shift_remove` keeps the order of the rest.
        root.shift_remove("hooks");
    }
}

/// Equal including the order of keys, which comparing the maps would ignore.
fn same_order(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    serde_json::to_string(left).ok() == serde_json::to_string(right).ok()
}

/// How a file is written: its indentation, its line ends, and whether it ends in one.
struct Style {
    indent: String,
    line_end: &'static str,
    ends_in_newline: bool,
}

impl Style {
    fn of(text: &[u8]) -> Style {
        let text = String::from_utf8_lossy(text);
        let blank =
            |line: &str| line.chars().take_while(|character| matches!(character, ' ' | '\t')).collect::<String>();
        let indent = text.lines().map(blank).find(|blank| !blank.is_empty());
        Style {
            indent: indent.unwrap_or_else(|| "  ".to_owned()),
            line_end: if text.contains("\r\n") { "\r\n" } else { "\n" },
            ends_in_newline: text.is_empty() || text.ends_with('\n'),
        }
    }

    fn write(&self, root: &Map<String, Value>) -> Vec<u8> {
        let mut out = Vec::new();
        let formatter = PrettyFormatter::with_indent(self.indent.as_bytes());
        let written = root.serialize(&mut Serializer::with_formatter(&mut out, formatter));
        // Maps with text keys always serialise, and a Vec takes every byte.
        written.expect("a JSON value is written to memory");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        // Newlines inside strings are escaped, so every one here ends a line.
        let mut text = if self.line_end == "\n" { text } else { text.replace('\n', self.line_end) };
        if self.ends_in_newline {
            text.push_str(self.line_end);
        }
        text.into_bytes()
    }
}
