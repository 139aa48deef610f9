//! What an ended run means: green, red, or nothing about the tree. The runner's own reasons come first, then what the
//! system did to the process, then what tools are known to print when the machine and not the code failed them. A
//! finding in a tool's own format outweighs such words: programs under test print them too.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::Ended;
use crate::find::Check;
use crate::outcome::{Outcome, Why};
use crate::read::{Finding, Findings, findings};

/// How a shell says that a program was ended by a signal.
const SIGNAL_BASE: i32 = 128;
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
/// With less than this many times the floor free, a word about a full disk is believed whatever else was printed.
const NEARLY_FULL: u64 = 4;

pub(super) fn outcome(ended: Ended, check: &Check, root: &Path, took: Duration) -> Outcome {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if ended.by_us.is_none() && ended.status.is_some_and(|s| s.success()) {
        return Outcome::Green { took_ms };
    }
    let found = findings(&ended.output.text, root, &check.folder);
    match infrastructure(&ended, &found) {
        Some(why) => Outcome::Infrastructure { retry: why.passes_by_itself(), why, output: ended.output, took_ms },
        None => Outcome::Red { nature: found.nature(), findings: found, output: ended.output, took_ms },
    }
}

fn infrastructure(ended: &Ended, found: &Findings) -> Option<Why> {
    let text = &ended.output.text;
    if let Some(why) = &ended.by_us {
        let waits = *why == Why::TimedOut && last_line(text).contains("waiting for file lock");
        return Some(if waits { Why::LockTimeout } else { why.clone() });
    }
    let Some(status) = ended.status else { return Some(Why::CouldNotStart("how it ended is not known".to_owned())) };
    // The shell of a check says of a program in it what the system says of the shell.
    let code = status.code();
    let signal = status.signal().or_else(|| code.map(|c| c - SIGNAL_BASE)).filter(|s| (1..=64).contains(s));
    match signal {
        Some(SIGXFSZ) => return Some(Why::NoSpace),
        Some(SIGHUP | SIGINT | SIGKILL | SIGTERM | SIGXCPU) => return Some(Why::Killed),
        _ => {}
    }
    let is_nearly_full = ended.least_free_bytes < ended.free_bytes_floor.saturating_mul(NEARLY_FULL);
    match code {
        _ if is_nearly_full && NO_SPACE.is_match(text) => Some(Why::NoSpace),
        _ if found.are_known() && speaks_of_code(found) => None,
        Some(NOT_FOUND | NOT_EXECUTABLE) => Some(Why::MissingTool(missing(text))),
        _ => said(text),
    }
}

/// Errors that a program has when the machine lets it down, as often as for reasons of its own.
const OF_THE_MACHINE: [&str; 5] = ["EOFError", "MemoryError", "OSError", "BlockingIOError", "TimeoutError"];

/// Whether the findings are more than what a tool says when it could not do its work at all.
fn speaks_of_code(found: &Findings) -> bool {
    let is_of_code =
        |f: &Finding| (f.code != "error" || f.file.is_some()) && !OF_THE_MACHINE.contains(&f.code.as_str());
    found.0.iter().any(is_of_code)
}

/// What a tool says that was let down by the machine.
fn said(text: &str) -> Option<Why> {
    let missing_tool =
        || MISSING.captures(text).map(|c| c.iter().skip(1).flatten().map(|m| m.as_str().to_owned()).next());
    match () {
        () if NO_SPACE.is_match(text) => Some(Why::NoSpace),
        () if OUT_OF_MEMORY.is_match(text) => Some(Why::OutOfMemory),
        () if KILLED.is_match(text) => Some(Why::Killed),
        () if TOO_MANY.is_match(text) => Some(Why::TooManyProcesses),
        () if LOCKED.is_match(text) => Some(Why::LockTimeout),
        () if NETWORK.is_match(text) => Some(Why::Network),
        () if ASKS.is_match(text) || asks_at_last(text) => Some(Why::NeedsInput),
        () => missing_tool().map(|tool| Why::MissingTool(tool.unwrap_or_else(|| "a tool".to_owned()))),
    }
}

macro_rules! pattern {
    ($name:ident, $($part:literal)|+) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(concat!("(?m)", pattern!(@ $($part)|+))).expect("a pattern of our own"));
    };
    (@ $first:literal $(| $rest:literal)*) => { concat!("(?:", $first, ")" $(, "|(?:", $rest, ")")*) };
}

pattern!(
    NO_SPACE,
    "No space left on device" | "ENOSPC" | "Disk quota exceeded" | "File too large" | "File size limit exceeded"
);
pattern!(
    OUT_OF_MEMORY,
    "JavaScript heap out of memory"
        | "memory allocation of [0-9]+ bytes failed"
        | "^MemoryError$"
        | "fatal error: runtime: (?:out of memory|cannot allocate memory)"
        | "[Cc]annot allocate memory"
        | "LLVM ERROR: out of memory"
);
pattern!(
    KILLED,
    "\\(signal: (?:9|15), SIG(?:KILL|TERM)"
        | "^ +SIG(?:KILL|TERM) \\["
        | "signal: killed$"
        | "^Killed$"
        | "terminated by signal 9"
);
pattern!(
    TOO_MANY,
    "[Cc]annot fork"
        | "fork: (?:retry: )?Resource temporarily unavailable"
        | "failed to spawn thread"
        | "Too many open files"
);
pattern!(LOCKED, "index\\.lock': File exists" | "failed to lock file" | "EBUSY: resource busy" | "database is locked");
pattern!(
    NETWORK,
    "Could(?:n't| not) resolve host"
        | "spurious network error"
        | "failed to download (?:from|`)"
        | "EAI_AGAIN"
        | "getaddrinfo ENOTFOUND"
        | "npm (?:ERR!|error) (?:network|code ECONN|code ETIMEDOUT)"
        | "dial tcp"
        | "Temporary failure in name resolution"
        | "Network is unreachable"
        | "[Cc]onnection timed out"
        | "failed to fetch `https?:"
        | "Unable to update registry"
);
pattern!(
    ASKS,
    "EOFError: EOF when reading a line"
        | "terminal prompts disabled"
        | "[Ii]nput is not a (?:terminal|TTY)"
        | "stdin is not a (?:terminal|tty|TTY)"
        | "the input device is not a TTY"
        | "\\[(?:y/N|Y/n|yes/no)\\]"
        | "Host key verification failed"
);
pattern!(
    MISSING,
    "error: no such command: `([^`]+)`"
        | "No module named (mypy|pyright|ruff|pytest)$"
        | "linker `([^`]+)` not found"
        | "'([a-z-]+)' is not installed for the"
        | "toolchain '([^']+)' is not installed"
        | "(go) >= [0-9.]+ \\(running go"
        | "^xargs: ([^:]+): No such file or directory"
        | "([A-Za-z0-9_.-]+): (?:command )?not found$"
);

fn missing(text: &str) -> String {
    let named = MISSING.captures(text).and_then(|c| c.iter().skip(1).flatten().map(|m| m.as_str().to_owned()).next());
    named.unwrap_or_else(|| "a tool that it calls".to_owned())
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default()
}

/// A question is the only thing that a program prints without ending the line.
fn asks_at_last(text: &str) -> bool {
    let last = last_line(text);
    !text.ends_with('\n') && last.trim_end().ends_with(['?', ':', ']', '>']) && last.len() < 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::{Origin, When};
    use crate::outcome::Output;

    fn of(status: i32, text: &str) -> Outcome {
        let output = Output { text: text.to_owned(), printed_bytes: text.len() as u64, left_out_bytes: 0 };
        let status = Some(std::process::ExitStatus::from_raw(status));
        let ended = Ended { status, by_us: None, output, least_free_bytes: u64::MAX, free_bytes_floor: 1 };
        let check = Check::new("one", "true", When::Commit, Origin::Configured);
        outcome(ended, &check, Path::new("/slots/1"), Duration::from_millis(3))
    }

    fn why(status: i32, text: &str) -> Option<Why> {
        match of(status, text) {
            Outcome::Infrastructure { why, .. } => Some(why),
            Outcome::Green { .. } | Outcome::Red { .. } => None,
        }
    }

    const FAILED: i32 = 1 << 8;

    #[test]
    fn what_tools_print_when_the_machine_failed_them_is_infrastructure() {
        let tool = |name: &str| Some(Why::MissingTool(name.to_owned()));
        for (code, text, expected) in [
            (1, "error: could not write output: No space left on device (os error 28)", Some(Why::NoSpace)),
            (1, "OSError: [Errno 27] File too large", Some(Why::NoSpace)),
            (
                134,
                "FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed - JavaScript heap out of memory",
                Some(Why::OutOfMemory),
            ),
            (
                101,
                "error: could not compile `a`\n\nCaused by:\n  process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)",
                Some(Why::Killed),
            ),
            (
                101,
                "error: failed to download from `https://index`\n\nCaused by:\n  [6] Could not resolve host: index",
                Some(Why::Network),
            ),
            (1, "npm error code EAI_AGAIN", Some(Why::Network)),
            (127, "sh: 1: nosuch: not found", tool("nosuch")),
            (127, "sh: line 1: nosuch: command not found", tool("nosuch")),
            (101, "error: no such command: `nextest`", tool("nextest")),
            (1, "/usr/bin/python3: No module named mypy", tool("mypy")),
            (1, "EOFError: EOF when reading a line", Some(Why::NeedsInput)),
            (1, "Proceed? ", Some(Why::NeedsInput)),
            (128, "fatal: Unable to create '/r/.git/index.lock': File exists.", Some(Why::LockTimeout)),
        ] {
            assert_eq!(why(code << 8, text), expected, "{text}");
        }
    }

    #[test]
    fn a_finding_outweighs_words_that_a_program_under_test_prints_too() {
        for text in [
            "test disk::full ... FAILED\nNo space left on device",
            "src/a.ts(1,1): error TS2322: Could not resolve host",
            "--- FAIL: TestDial (0.00s)\n    a_test.go:3: dial tcp: refused",
        ] {
            assert_eq!(why(FAILED, text), None, "{text}");
        }
        assert_eq!(why(FAILED, "assertion failed"), None);
    }

    #[test]
    fn signals_from_outside_are_infrastructure_and_crashes_are_not() {
        for signal in [SIGKILL, SIGTERM, SIGINT] {
            assert_eq!(why(signal, ""), Some(Why::Killed));
            assert_eq!(why((SIGNAL_BASE + signal) << 8, ""), Some(Why::Killed));
        }
        assert_eq!(why(SIGXFSZ, ""), Some(Why::NoSpace));
        let (segv, abort) = (11, 6);
        assert_eq!((why(segv, ""), why(abort, "")), (None, None));
    }
}
