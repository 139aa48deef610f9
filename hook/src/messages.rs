//! Every sentence this program says by itself, and the JSON it is wrapped in. Owns the wording (what happened, what it
//! means, what to do next); refuses to decide which sentence is due. Next: `fallback.rs`, which chooses.

use crate::trouble::Trouble;

/// A refusal in the agent's own form: one complete line, which denies with its reason at exit code 0. No other form
/// was seen to do both.
pub(crate) fn deny(trouble: &Trouble) -> Vec<u8> {
    pre_tool_use(&format!(
        r#""permissionDecision":"deny","permissionDecisionReason":{}"#,
        quoted(&format!(
            "Railroad denied this call because nothing coordinates it right now: {trouble}. \
             Nothing was changed. Reading tools still work; calls that change anything, shell commands included, stay \
             denied until the coordinator answers. Ask the person to run `rrctl up` in a terminal (`rrctl doctor` \
             finds the cause), then repeat the call."
        ))
    ))
}

/// For a call that passes although nobody was asked.
pub(crate) fn passed(trouble: &Trouble) -> Vec<u8> {
    pre_tool_use(&format!(
        r#""additionalContext":{}"#,
        quoted(&format!(
            "Railroad could not be asked about this call: {trouble}. It was let through, but nothing is coordinated: \
             other agents may be changing the same files. Repair: `rrctl up`; `rrctl doctor` finds the cause."
        ))
    ))
}

/// For the start of a session or a prompt, where agents take in context.
pub(crate) fn context(event: &str, trouble: &Trouble, changes_are_denied: bool) -> Vec<u8> {
    let effect = if changes_are_denied {
        "Calls that change anything are denied until it answers"
    } else {
        "Calls are let through uncoordinated"
    };
    let text =
        format!("Railroad's coordinator is unreachable: {trouble}. {effect}. Repair: `rrctl up`, `rrctl doctor`.");
    output(event, &format!(r#""additionalContext":{}"#, quoted(&text)))
}

fn pre_tool_use(fields: &str) -> Vec<u8> {
    output("PreToolUse", fields)
}

/// `event` is one of this program's own words and needs no escaping.
fn output(event: &str, fields: &str) -> Vec<u8> {
    format!("{{\"hookSpecificOutput\":{{\"hookEventName\":\"{event}\",{fields}}}}}\n").into_bytes()
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_and_names_the_repair() {
        let line = String::from_utf8(deny(&Trouble::Absent("/tmp/a\"b\n\\c/hook.sock".into()))).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with("}}\n"));
        assert!(
            line.starts_with(r#"{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","#)
        );
        assert!(line.contains(r#"/tmp/a\"b\u000a\\c/hook.sock"#));
        assert!(line.contains("`rrctl up`") && line.contains("`rrctl doctor`"));
    }

    #[test]
    fn a_note_never_says_allow() {
        let note = String::from_utf8(passed(&Trouble::NoAnswer)).unwrap();
        assert!(note.contains("additionalContext") && !note.contains("permissionDecision"));
    }
}
