//! Anthropic Messages: reads a request into a [`Conversation`], writes an answer as events or as one message.
//!
//! The only place that knows this wire format. The position in the script is written into what the agent
//! sends back by itself: call ids `toolu_<script>_<step>_<i>` and the mark `[<script>#<step>]` in each text.

use serde_json::{Value, json};

use super::ToolResult;
use super::script::Answer;

/// What one request says.
pub(super) struct Conversation {
    /// The last `script=<name>` in the user's words.
    pub(super) script: Option<String>,
    /// One after the highest step found in the model's own turns.
    pub(super) step: usize,
    /// Names of the tools offered.
    pub(super) tools: Vec<String>,
    pub(super) tool_results: Vec<ToolResult>,
    pub(super) user_texts: Vec<String>,
}

pub(super) fn read(request: &Value) -> Conversation {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let blocks_of = |role: &'static str| {
        messages.iter().filter(move |message| message["role"] == role).flat_map(|message| blocks(&message["content"]))
    };
    let user_texts: Vec<String> = blocks_of("user").filter_map(|block| text_of(&block)).collect();
    let script = user_texts.iter().rev().find_map(|text| script_named_in(text));
    let said: Vec<Value> = blocks_of("assistant").collect();
    let step = script.as_deref().map_or(0, |name| next_step(name, &said));
    Conversation {
        step,
        tools: request["tools"].as_array().into_iter().flatten().filter_map(|tool| string(&tool["name"])).collect(),
        tool_results: blocks_of("user")
            .filter(|block| block["type"] == "tool_result")
            .map(|b| tool_result(&b))
            .collect(),
        user_texts,
        script,
    }
}

/// Content is either a bare string or a list of blocks.
fn blocks(content: &Value) -> Vec<Value> {
    match content {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        Value::Array(blocks) => blocks.clone(),
        _ => Vec::new(),
    }
}

fn text_of(block: &Value) -> Option<String> {
    (block["type"] == "text").then(|| string(&block["text"])).flatten()
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn tool_result(block: &Value) -> ToolResult {
    let texts: Vec<String> = blocks(&block["content"]).into_iter().filter_map(|block| text_of(&block)).collect();
    ToolResult {
        tool_use_id: string(&block["tool_use_id"]).unwrap_or_default(),
        is_error: block["is_error"].as_bool().unwrap_or(false),
        text: texts.join("\n"),
    }
}

fn script_named_in(text: &str) -> Option<String> {
    let (_, rest) = text.rsplit_once("script=")?;
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    (!name.is_empty()).then_some(name)
}

fn next_step(script: &str, said: &[Value]) -> usize {
    said.iter().filter_map(|block| step_of(script, block)).max().map_or(0, |step| step + 1)
}

fn step_of(script: &str, block: &Value) -> Option<usize> {
    if let Some(id) = block["id"].as_str() {
        let (step, index) = id.strip_prefix("toolu_")?.strip_prefix(script)?.strip_prefix('_')?.split_once('_')?;
        index.parse::<usize>().ok()?;
        return step.parse().ok();
    }
    let (_, rest) = block["text"].as_str()?.rsplit_once(&format!("[{script}#"))?;
    rest.split_once(']')?.0.parse().ok()
}

/// The answer's blocks with their marks, and why the model stopped.
fn content(script: &str, step: usize, answer: &Answer) -> (Vec<Value>, &'static str) {
    match answer {
        Answer::Words(words) => {
            (vec![json!({"type": "text", "text": format!("{words} [{script}#{step}]")})], "end_turn")
        }
        Answer::Calls(calls) => {
            let mut blocks = vec![json!({"type": "text", "text": format!("Step. [{script}#{step}]")})];
            blocks.extend(calls.iter().enumerate().map(|(i, (name, input))| {
                json!({"type": "tool_use", "id": format!("toolu_{script}_{step}_{i}"), "name": name, "input": input})
            }));
            (blocks, "tool_use")
        }
    }
}

/// The whole answer as one message, for a client that did not ask for a stream.
pub(super) fn message(model: &Value, script: &str, step: usize, answer: &Answer) -> Value {
    let (blocks, stop_reason) = content(script, step, answer);
    json!({
        "id": format!("msg_{script}_{step}"), "type": "message", "role": "assistant", "model": model,
        "content": blocks, "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": 100, "output_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
    })
}

/// The same answer as server-sent events.
pub(super) fn events(model: &Value, script: &str, step: usize, answer: &Answer) -> String {
    let mut start = message(model, script, step, answer);
    let blocks = start["content"].take();
    let stop_reason = start["stop_reason"].take();
    start["content"] = json!([]);
    let mut events = vec![json!({"type": "message_start", "message": start})];
    for (index, block) in blocks.as_array().into_iter().flatten().enumerate() {
        events.extend(block_events(index, block));
    }
    let usage = json!({"input_tokens": 100, "output_tokens": 20});
    events.push(
        json!({"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null}, "usage": usage}),
    );
    events.push(json!({"type": "message_stop"}));
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        .collect()
}

/// A block opens empty, is filled by one delta and closes.
fn block_events(index: usize, block: &Value) -> [Value; 3] {
    let mut opened = block.clone();
    let delta = if block["type"] == "text" {
        opened["text"] = json!("");
        json!({"type": "text_delta", "text": block["text"]})
    } else {
        opened["input"] = json!({});
        json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})
    };
    [
        json!({"type": "content_block_start", "index": index, "content_block": opened}),
        json!({"type": "content_block_delta", "index": index, "delta": delta}),
        json!({"type": "content_block_stop", "index": index}),
    ]
}

pub(super) fn error(message: &str) -> Value {
    json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(messages: &Value) -> Conversation {
        read(&json!({"messages": messages, "tools": [{"name": "Write"}]}))
    }

    #[test]
    fn the_position_is_read_from_the_models_own_turns() {
        let start = asked(&json!([{"role": "user", "content": "play script=a_1 now"}]));
        assert_eq!((start.script.as_deref(), start.step), (Some("a_1"), 0));
        let later = asked(&json!([
            {"role": "user", "content": [{"type": "text", "text": "play script=a"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_a_0_0", "name": "Write", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_a_0_0", "content": "no", "is_error": true}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Step. [a#1]"}, {"type": "tool_use", "id": "toolu_a_9_0_0"}]},
        ]));
        assert_eq!((later.script.as_deref(), later.step), (Some("a"), 2));
        assert_eq!(later.tool_results[0].text, "no");
        assert!(later.tool_results[0].is_error);
    }

    #[test]
    fn the_last_script_named_wins_and_tool_results_name_none() {
        let both = asked(&json!([
            {"role": "user", "content": [{"type": "text", "text": "script=a then script=b"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "script=c"}]},
        ]));
        assert_eq!(both.script.as_deref(), Some("b"));
    }

    #[test]
    fn a_call_streams_its_input_as_one_delta() {
        let calls = Answer::Calls(vec![("Write".to_owned(), json!({"file_path": "/p/a"}))]);
        let events = events(&json!("m"), "a", 3, &calls);
        assert!(events.contains(r#""id":"toolu_a_3_0""#), "{events}");
        assert!(events.contains(r#"{\"file_path\":\"/p/a\"}"#), "{events}");
        assert!(events.contains(r#""stop_reason":"tool_use""#), "{events}");
        assert!(events.starts_with("event: message_start\n"), "{events}");
    }
}
