//! Input of every size, and input that does not end: the hook answers within its budget, and neither it nor the daemon
//! grows with what an agent sends.

use std::io::Write as _;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::json;

use super::support::{HOOK_MAX, before, hook_command, must_be_well, resident_mib, run_hook, told};

const LIMIT: usize = 16 << 20;
const GIB: u64 = 1 << 30;
/// One whole input as bytes, as parsed text, and room: a daemon without limits would be at a gigabyte.
const RESIDENT_MIB_MAX: u64 = 192;

/// A `Write` whose JSON has exactly this many bytes.
fn write_of_len(sandbox: &Sandbox, len: usize) -> Vec<u8> {
    let call = |content: &str| {
        let input = json!({"file_path": sandbox.repo.join("large.txt"), "content": content});
        before(sandbox, "Write", &input).to_string()
    };
    let rest = len - call("").len();
    call(&"x".repeat(rest)).into_bytes()
}

#[test]
fn sixteen_mebibytes_are_taken_and_guarded() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    for len in [LIMIT - 1, LIMIT] {
        let said = run_hook(hook_command(&sandbox), &write_of_len(&sandbox, len));
        assert!(said.took < HOOK_MAX, "{}", said.shown());
        said.must_pass();
        assert_eq!(sandbox.holder("large.txt").as_deref(), Some("raw"));
    }
    assert!(resident_mib(daemon.pid()) < RESIDENT_MIB_MAX, "{} MiB", resident_mib(daemon.pid()));
}

#[test]
fn one_byte_more_is_denied_with_what_to_do_instead() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let said = run_hook(hook_command(&sandbox), &write_of_len(&sandbox, LIMIT + 1));
    said.must_deny(&["at most 16 MiB", "was not let through", "Write the file in parts"]);
    assert!(said.took < HOOK_MAX && sandbox.locks().is_empty());
    must_be_well(&sandbox);
}

#[test]
fn a_gibibyte_is_not_even_read() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let said = stream(&sandbox, |mut stdin, sent| {
        let piece = [b'x'; 64 << 10];
        let start = b"{\"session_id\":\"raw\",\"hook_event_name\":\"PreToolUse\",\"tool_name\":\"Write\",\"pad\":\"";
        drop(stdin.write_all(start));
        while sent.load(Ordering::Relaxed) < GIB && stdin.write_all(&piece).is_ok() {
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    });
    said.0.must_deny(&["at most 16 MiB"]);
    assert!(said.1 < 2 * LIMIT as u64, "the hook read on: {} bytes", said.1);
    assert!(resident_mib(daemon.pid()) < RESIDENT_MIB_MAX, "{} MiB", resident_mib(daemon.pid()));
    must_be_well(&sandbox);
}

#[test]
fn input_that_does_not_end_is_denied_within_the_hooks_budget() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (silent, _) = stream(&sandbox, |stdin, _| {
        thread::sleep(HOOK_MAX);
        drop(stdin);
    });
    silent.must_deny(&["nothing coordinates it right now", "rrctl up"]);
    let (dripping, _) = stream(&sandbox, |mut stdin, sent| {
        while stdin.write_all(b" ").is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(20));
        }
    });
    dripping.must_deny(&["nothing coordinates it right now", "rrctl up"]);
    must_be_well(&sandbox);
}

/// Many hooks at once, each with all that one may send: every one is answered, and the daemon stays within bounds.
#[test]
fn many_large_calls_at_once_are_each_denied_or_guarded() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let input = Arc::new(write_of_len(&sandbox, LIMIT));
    drop(hook_command(&sandbox));
    let all: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| run_hook(hook_command(&sandbox), &input))).collect();
        calls.into_iter().map(|call| call.join().expect("it ended")).collect()
    });
    for said in all {
        assert!(said.took < HOOK_MAX * 2 && said.exit == Some(0), "{}", said.shown());
        assert!(said.reason().is_some() || said.stdout.is_empty(), "{}", said.shown());
    }
    assert!(resident_mib(daemon.pid()) < 3 * RESIDENT_MIB_MAX, "{} MiB", resident_mib(daemon.pid()));
    must_be_well(&sandbox);
}

/// A hook whose input comes from `source`; what it said, and how much of it was taken.
fn stream(
    sandbox: &Sandbox,
    source: impl FnOnce(ChildStdin, &AtomicU64) + Send + 'static,
) -> (super::support::Said, u64) {
    let mut command = hook_command(sandbox);
    let start = Instant::now();
    let mut child = command.spawn().expect("the hook starts");
    let stdin = child.stdin.take().expect("a pipe");
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    thread::spawn(move || source(stdin, &count));
    let output = child.wait_with_output().expect("the hook ends");
    let said = told(output, start.elapsed());
    assert!(said.took < HOOK_MAX, "{}", said.shown());
    (said, sent.load(Ordering::Relaxed))
}
