//! JSON that is none, or not the one expected: cut off, of the wrong types, nested, doubled, not text. Each is denied with its
//! reason, takes no lock, and leaves the daemon as it was.

use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::{Value, json};

use super::support::{ask, before, converse, frame, hook_command, must_be_well, question, run_hook, write_of};

const UNREAD: &str = "Railroad could not read this call, so it was not let through";

#[test]
fn a_call_cut_off_at_any_byte_is_denied_and_takes_no_lock() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let call = write_of(&sandbox, "cut.txt").to_string();
    for cut in 0..call.len() {
        ask(&sandbox, &call.as_bytes()[..cut]).must_deny(&[UNREAD, "not valid JSON", "rrctl doctor"]);
    }
    assert!(sandbox.locks().is_empty() && sandbox.sessions().is_empty(), "nothing came of it");
    ask(&sandbox, call.as_bytes()).must_pass();
    assert_eq!(sandbox.holder("cut.txt").as_deref(), Some("raw"));
}

#[test]
fn the_hook_carries_a_cut_off_call_to_its_denial() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let call = write_of(&sandbox, "cut.txt").to_string();
    for cut in [0, 1, call.len() / 2, call.len() - 1] {
        run_hook(hook_command(&sandbox), &call.as_bytes()[..cut]).must_deny(&[UNREAD]);
    }
    assert!(sandbox.locks().is_empty());
}

#[test]
fn a_conversation_cut_off_at_any_byte_has_no_effect() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let bytes = question(&sandbox, write_of(&sandbox, "cut.txt").to_string().as_bytes());
    for cut in 0..bytes.len() {
        let said = converse(&sandbox, &bytes[..cut]);
        assert!(said.exit.is_none() && said.stdout.is_empty(), "cut at {cut}: {}", said.shown());
    }
    assert!(sandbox.locks().is_empty() && sandbox.sessions().is_empty(), "a part of a question is none");
    must_be_well(&sandbox);
}

#[test]
fn frames_that_make_no_sense_get_no_answer_and_harm_nobody() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let hello = frame(b'H', b"version=1\nagent=claude\n");
    let twice = [&hello[..], &hello, &frame(b'E', b"")].concat();
    let longer = [&hello[..], &[b'D', 1, 0, 1, 0], &[b'x'; 65_537]].concat();
    for bytes in [
        vec![0; 4096],
        vec![0xff; 4096],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        frame(b'E', b""),
        frame(b'Q', &[0]),
        twice,
        longer,
        [&hello[..], &frame(b'?', b"")].concat(),
    ] {
        let said = converse(&sandbox, &bytes);
        assert!(said.exit.is_none() && said.stdout.is_empty(), "{}", said.shown());
    }
    must_be_well(&sandbox);
}

#[test]
fn a_field_that_decides_and_has_the_wrong_type_denies_the_call() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let good = write_of(&sandbox, "typed.txt");
    for field in ["session_id", "cwd", "hook_event_name", "tool_name", "tool_input", "tool_input.file_path"] {
        for odd in odd_values() {
            if field == "tool_name" && odd == json!("") {
                // An unknown tool that names this file: it is locked for it.
                continue;
            }
            if field == "hook_event_name" && odd == json!("") {
                // An event that we do not know gates nothing.
                continue;
            }
            let said = ask(&sandbox, with(&good, field, &odd).to_string().as_bytes());
            let reason = said.must_deny(&[]);
            assert!(reason.contains(UNREAD), "{field} = {odd}: {reason}");
        }
    }
    assert_eq!(sandbox.holder("typed.txt"), None);
    assert!(!sandbox.repo.join("typed.txt").exists());
    must_be_well(&sandbox);
}

#[test]
fn a_field_that_decides_nothing_may_have_any_type() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let good = write_of(&sandbox, "typed.txt");
    for field in ["tool_use_id", "tool_input.content", "agent_id", "permission_mode", "transcript_path", "new_field"] {
        for odd in odd_values() {
            ask(&sandbox, with(&good, field, &odd).to_string().as_bytes()).must_pass();
            assert_eq!(sandbox.holder("typed.txt").as_deref(), Some("raw"), "{field} = {odd}: guarded all the same");
        }
    }
    must_be_well(&sandbox);
}

#[test]
fn every_event_with_every_field_of_every_type_is_survived() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let events = ["SessionStart", "UserPromptSubmit", "PostToolUse", "PostToolUseFailure", "PostToolBatch", "Stop"];
    let more = ["SubagentStop", "ConfigChange", "SessionEnd", "TheYearAfterNext"];
    let fields =
        ["source", "prompt", "tool_name", "tool_input", "tool_calls", "background_tasks", "file_path", "reason"];
    for event in events.iter().chain(&more) {
        for field in fields {
            for odd in odd_values() {
                let mut call = write_of(&sandbox, "typed.txt");
                call["hook_event_name"] = json!(event);
                call[field] = odd;
                let said = ask(&sandbox, call.to_string().as_bytes());
                assert!(said.exit.is_some(), "{event} with {field}: {}", said.shown());
                assert!(!String::from_utf8_lossy(&said.stdout).contains("allow"), "never an allow: {}", said.shown());
            }
        }
    }
    must_be_well(&sandbox);
}

#[test]
fn input_that_is_no_single_json_object_is_denied() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let call = write_of(&sandbox, "odd.txt").to_string();
    let path = sandbox.repo.join("odd.txt");
    let inside = |bytes: &[u8]| {
        let (head, tail) = call.split_once("\"x\"").expect("the content");
        [head.as_bytes(), bytes, tail.as_bytes()].concat()
    };
    let doubled = call.replacen('{', "{\"session_id\":\"other\",", 1);
    let escaped = call.replacen("\"file_path\"", &format!("\"file\\u005fpath\":{path:?},\"file_path\""), 1);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "not valid JSON"),
        ("blank", b" \n\t ".to_vec(), "not valid JSON"),
        ("an array", b"[]".to_vec(), "expected an object"),
        ("a text", b"\"PreToolUse\"".to_vec(), "expected an object"),
        ("two objects", [call.as_bytes(), call.as_bytes()].concat(), "trailing"),
        ("rubbish behind it", format!("{call}x").into_bytes(), "trailing"),
        ("a byte order mark", [b"\xef\xbb\xbf", call.as_bytes()].concat(), "not valid JSON"),
        ("zeros", vec![0; 1024], "not valid JSON"),
        ("a key twice", doubled.into_bytes(), "stands twice"),
        ("a key twice, once escaped", escaped.into_bytes(), "stands twice"),
        ("no UTF-8", inside(b"\"\xff\xfe\""), "not valid JSON"),
        ("an overlong slash", inside(b"\"\xc0\xaf\""), "not valid JSON"),
        ("half a surrogate pair", inside(b"\"\\ud800\""), "not valid JSON"),
        ("a raw newline in a text", inside(b"\"\n\""), "not valid JSON"),
        ("a number that is none", inside(b"NaN"), "not valid JSON"),
        ("a number without end", inside(b"1e999"), "not valid JSON"),
        ("10,000 arrays", inside(&nested(b'[', b']', 10_000)), "recursion limit"),
        ("10,000 open arrays", vec![b'['; 10_000], "recursion limit"),
        ("16 MB of open objects", b"{\"a\":".repeat(3_000_000), "recursion limit"),
    ];
    for (what, input, why) in cases {
        let reason = ask(&sandbox, &input).must_deny(&[UNREAD]);
        assert!(reason.contains(why), "{what}: {reason}");
    }
    assert!(sandbox.locks().is_empty() && !path.exists());
    must_be_well(&sandbox);
}

#[test]
fn the_hook_carries_input_that_is_no_json_to_its_denial() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let deep = nested(b'[', b']', 10_000);
    for input in [&b""[..], b"\xff\xfe\xfd", b"{\"a\":1,\"a\":2}", &deep] {
        run_hook(hook_command(&sandbox), input).must_deny(&[UNREAD]);
    }
}

/// Without a daemon the hook looks into the input itself; it must not be fooled either.
#[test]
fn without_a_daemon_the_same_input_is_denied_by_the_hook_alone() {
    let sandbox = Sandbox::new();
    let read = before(&sandbox, "Read", &json!({"file_path": "README.md"})).to_string();
    let write = write_of(&sandbox, "alone.txt").to_string();
    let twice = write.replacen('{', "{\"tool_name\":\"Read\",", 1);
    let hidden = write.replacen("\"x\"", r#""\",\"tool_name\":\"Read\",\"z\":\"""#, 1);
    let cut = &read[..read.len() - 1];
    let deep = [b"{\"a\":".repeat(10_000), read.clone().into_bytes()].concat();
    for input in [&b""[..], b"\xff", write.as_bytes(), twice.as_bytes(), hidden.as_bytes(), cut.as_bytes(), &deep] {
        run_hook(hook_command(&sandbox), input).must_deny(&["nothing coordinates it right now", "rrctl up"]);
    }
    let said = run_hook(hook_command(&sandbox), read.as_bytes());
    said.must_pass();
    assert!(said.context().contains("could not be asked"), "{}", said.shown());
}

fn nested(open: u8, close: u8, depth: usize) -> Vec<u8> {
    [vec![open; depth], vec![close; depth]].concat()
}

fn odd_values() -> [Value; 8] {
    [json!(null), json!(true), json!(7), json!(-1.5), json!(""), json!([]), json!({}), json!([["x"]])]
}

/// The object with one field, by its dotted name, set to something else.
fn with(call: &Value, field: &str, value: &Value) -> Value {
    let mut call = call.clone();
    match field.split_once('.') {
        Some((outer, inner)) => call[outer][inner] = value.clone(),
        None => call[field] = value.clone(),
    }
    call
}
