//! What one hook call costs as a whole process, beside two floors in the same run: `/bin/true`, and a program that only
//! exchanges the same bytes. Owns the measuring; the server here answers at once, so no verdict is part of the figure.
//! Prints one line a figure. Next: `floor.rs`, `../static_build.rs` for how both programs are compiled.

#[path = "../static_build.rs"]
mod static_build;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

/// Enough for a 99th percentile of six values.
const ROUNDS: usize = 600;

/// First calls fault in the programs' pages.
const WARM_UP: usize = 30;

/// The hook's own limit on a call, and a process's start and end.
const SILENT_US_MAX: u64 = 2_100_000;

/// The target of the design for the program's size.
const SIZE_MAX: u64 = 1024 * 1024;

const INPUT: &[u8] = br#"{"session_id":"4fc1c5a6-0000-0000-0000-000000000000","transcript_path":"/home/u/.claude/projects/p/4fc1.jsonl","cwd":"/home/u/p","prompt_id":"b342","permission_mode":"default","hook_event_name":"PreToolUse","tool_name":"Edit","tool_input":{"file_path":"/home/u/p/src/a.rs","old_string":"one","new_string":"two","replace_all":false},"tool_use_id":"toolu_01"}"#;

/// A context note of usual length, then exit code 0.
const TEXT: &[u8] =
    br#"{"hookSpecificOutput":{"hookEventName":"PreToolUse","additionalContext":"src/a.rs: 2 others wait"}}"#;

fn main() {
    let folder = std::env::temp_dir().join(format!("rr-hook-bench-{}", std::process::id()));
    fs::create_dir(&folder).expect("make the bench folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("close the bench folder");
    let socket = folder.join("hook.sock");
    let listener = UnixListener::bind(&socket).expect("bind the bench socket");
    let last_request = folder.join("request");
    let saved = last_request.clone();
    thread::spawn(move || serve(&listener, &saved));

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let hook = build(&here.join("src/main.rs"), &folder.join("rr-hook"), &[]);
    let mut courier = Command::new(&hook);
    courier.args(["--agent", "claude", "--socket"]).arg(&socket);
    assert_eq!(once(&mut courier).1, TEXT, "the courier printed something else");
    // The floor carries the bytes of the call just made.
    let request = [("RR_FLOOR_REQUEST", last_request.as_path())];
    let floor = build(&here.join("benches/floor.rs"), &folder.join("floor"), &request);
    let mut bare = Command::new(&floor);
    bare.arg(&socket);
    assert_eq!(once(&mut bare).1, TEXT, "the floor printed something else");

    let mut times = [const { Vec::new() }; 3];
    let programs = [&mut courier, &mut bare, &mut Command::new("/bin/true")];
    for round in 0..WARM_UP + ROUNDS {
        for turn in 0..programs.len() {
            // In turns: each finds the processor's caches as another one left them.
            let which = (round + turn) % programs.len();
            let took = once(programs[which]).0;
            if round >= WARM_UP {
                times[which].push(took);
            }
        }
    }
    report(times, fs::metadata(&hook).expect("look at the hook").len());
    silent(&hook, &folder);
    fs::remove_dir_all(&folder).expect("remove the bench folder");
}

/// A sidecar that takes the call and never answers.
fn silent(hook: &Path, folder: &Path) {
    let socket = folder.join("silent.sock");
    let _listener = UnixListener::bind(&socket).expect("bind a silent socket");
    let mut command = Command::new(hook);
    command.args(["--agent", "claude", "--socket"]).arg(&socket);
    let (took, said) = once(&mut command);
    let denied = String::from_utf8_lossy(&said).contains("\"permissionDecision\":\"deny\"");
    let verdict = if denied && took <= SILENT_US_MAX { "ok" } else { "MISSED" };
    println!("hook.silent_sidecar_us={took} denied={denied} bar={SILENT_US_MAX} {verdict}");
}

fn report(times: [Vec<u64>; 3], size: u64) {
    let [hook, floor, nothing] = times.map(|mut times| {
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    });
    ratio("hook.p50_us", hook.0, "true_us", nothing.0, 1.0);
    ratio("hook.p50_us", hook.0, "floor_us", floor.0, 1.3);
    ratio("hook.p99_us", hook.1, "floor_us", floor.1, 2.0);
    let verdict = if size <= SIZE_MAX { "ok" } else { "MISSED" };
    println!("hook.size_bytes={size} bar={SIZE_MAX} {verdict}");
}

fn ratio(name: &str, value: u64, floor_name: &str, floor: u64, bar: f64) {
    #[allow(clippy::cast_precision_loss)] // microseconds of one process
    let ratio = value as f64 / floor as f64;
    let verdict = if ratio <= bar { "ok" } else { "MISSED" };
    println!("{name}={value} {floor_name}={floor} ratio={ratio:.2} bar={bar:.2} {verdict}");
}

/// Microseconds from before the start until the end was seen, and what was printed.
fn once(command: &mut Command) -> (u64, Vec<u8>) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().expect("start a program");
    // Two of the three programs do not read it.
    drop(child.stdin.take().expect("its stdin is a pipe").write_all(INPUT));
    let out = child.wait_with_output().expect("wait for a program");
    let took = u64::try_from(started.elapsed().as_micros()).expect("less than an age");
    assert!(out.status.success());
    (took, out.stdout)
}

fn build(source: &Path, out: &Path, env: &[(&str, &Path)]) -> PathBuf {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let linkage = static_build::compile(&rustc, &target, None, source, out, env).expect("compile a program");
    println!("# {} is {linkage:?}", out.file_name().expect("a program has a name").display());
    out.to_owned()
}

/// Answers each request as soon as it is complete, and keeps the first one as it came.
fn serve(listener: &UnixListener, saved: &Path) {
    let frame = |kind: u8, text: &[u8]| {
        let len = u32::try_from(text.len()).expect("a short text");
        [&[kind][..], &len.to_le_bytes(), text].concat()
    };
    let answer = [frame(b'O', TEXT), frame(b'Q', &[0])].concat();
    let mut buffer = vec![0; 64 * 1024];
    for stream in listener.incoming() {
        let mut stream = stream.expect("accept a call");
        let len = whole_request(&mut stream, &mut buffer);
        if !saved.exists() {
            fs::write(saved, &buffer[..len]).expect("keep the first request");
        }
        stream.write_all(&answer).expect("answer a call");
    }
}

fn whole_request(stream: &mut UnixStream, buffer: &mut [u8]) -> usize {
    let mut len = 0;
    while !buffer[..len].ends_with(b"E\0\0\0\0") {
        let got = stream.read(&mut buffer[len..]).expect("read a call");
        assert!(got > 0, "a call ended early");
        len += got;
    }
    len
}
