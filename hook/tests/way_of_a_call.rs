//! Stories of whole calls: the real program against a scripted sidecar on a real socket. Owns the promises that only
//! show from outside: exact bytes, time limits, and that every failure ends in a refusal.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const WRITE: &[u8] = br#"{"hook_event_name":"PreToolUse","tool_name":"Write","tool_input":{}}"#;
const READ: &[u8] = br#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{}}"#;
const DENY: &str = r#""permissionDecision":"deny""#;

/// The budget is 2 s, which the bench `courier` measures. This only tells a hook that ends from one that waits for ever.
const IN_TIME: Duration = Duration::from_secs(30);

/// A private folder, removed at the end.
struct Run(PathBuf);

impl Run {
    fn new() -> Run {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rr-hook-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        // A run with this pid that was killed has left its own.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        Run(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A sidecar that serves one connection with `script` and returns what that returns.
    fn sidecar<T: Send + 'static>(&self, script: impl FnOnce(UnixStream) -> T + Send + 'static) -> JoinHandle<T> {
        let listener = UnixListener::bind(self.file("hook.sock")).unwrap();
        thread::spawn(move || script(listener.accept().unwrap().0))
    }

    fn hook(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rr-hook"));
        command.args(["--agent", "claude"]).args(more).env_clear().env("RAILROAD_RUNTIME_DIR", &self.0);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The whole program: `input` on stdin, closed at once.
    fn ask(&self, input: &[u8], more: &[&str]) -> Output {
        let mut child = self.hook(more).spawn().unwrap();
        // A hook that has decided early closes its stdin: fine.
        drop(child.stdin.take().unwrap().write_all(input));
        child.wait_with_output().unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// All frames up to and with `E` or `X`.
fn request(stream: &mut UnixStream) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        let mut header = [0; 5];
        stream.read_exact(&mut header).unwrap();
        let len = u32::from_le_bytes(header[1..].try_into().unwrap()) as usize;
        assert!(len <= 65_536);
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).unwrap();
        frames.push((header[0], payload));
        if matches!(header[0], b'E' | b'X') {
            return frames;
        }
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&[kind][..], &len.to_le_bytes(), payload].concat()
}

fn input_of(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    frames.iter().filter(|frame| frame.0 == b'D').flat_map(|frame| frame.1.clone()).collect()
}

fn assert_denied(out: &Output, because: &str) {
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{text}");
    assert!(text.contains(DENY) && text.contains(because), "{text}");
    assert!(text.starts_with('{') && text.ends_with("}\n") && text.lines().count() == 1, "{text}");
}

/// Answers nothing and keeps the connection until the hook has ended.
fn silence(mut stream: UnixStream) {
    drop(stream.read_to_end(&mut Vec::new()));
}

#[test]
fn the_agents_bytes_go_in_and_the_sidecars_bytes_come_out() {
    let run = Run::new();
    let sidecar = run.sidecar(|mut stream| {
        let frames = request(&mut stream);
        let answer = [frame(b'O', b"one "), frame(b'R', b"why"), frame(b'O', b"two"), frame(b'Q', &[2])].concat();
        stream.write_all(&answer).unwrap();
        frames
    });
    let mut child = run.hook(&[]).env("CLAUDE_PID", "42").env("ANTHROPIC_API_KEY", "hush").spawn().unwrap();
    child.stdin.take().unwrap().write_all(WRITE).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!((&out.stdout[..], &out.stderr[..], out.status.code()), (&b"one two"[..], &b"why"[..], Some(2)));
    let hello = b"version=1\nagent=claude\ncwd=/\nenv.CLAUDE_PID=42\n".to_vec();
    let want = [(b'H', hello), (b'D', WRITE.to_vec()), (b'E', Vec::new())];
    assert_eq!(sidecar.join().unwrap(), want);
}

/// Serves one call and returns its input.
fn echo(mut stream: UnixStream) -> Vec<u8> {
    let frames = request(&mut stream);
    stream.write_all(&frame(b'Q', &[0])).unwrap();
    input_of(&frames)
}

fn spawn_with(run: &Run, stdin: impl Into<Stdio>) -> Child {
    run.hook(&[]).stdin(stdin).spawn().unwrap()
}

#[test]
fn a_socket_a_file_and_no_stdin_are_read_like_a_pipe() {
    let run = Run::new();
    fs::write(run.file("input"), WRITE).unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(WRITE).unwrap();
    drop(ours);
    let file = fs::File::open(run.file("input")).unwrap();
    let cases: [(Stdio, &[u8]); 3] =
        [(OwnedFd::from(theirs).into(), WRITE), (file.into(), WRITE), (Stdio::null(), b"")];
    for (stdin, want) in cases {
        let sidecar = run.sidecar(echo);
        let out = spawn_with(&run, stdin).wait_with_output().unwrap();
        assert_eq!((out.status.code(), &out.stdout[..]), (Some(0), &b""[..]));
        assert_eq!(sidecar.join().unwrap(), want);
        fs::remove_file(run.file("hook.sock")).unwrap();
    }
}

#[test]
fn input_that_comes_late_and_in_pieces_is_carried_whole() {
    let run = Run::new();
    let sidecar = run.sidecar(echo);
    let mut child = run.hook(&[]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Wait until the hook has its watchdog, that is: until it found stdin empty.
    let tasks = format!("/proc/{}/task", child.id());
    while fs::read_dir(&tasks).unwrap().count() < 2 {
        thread::yield_now();
    }
    let (first, second) = WRITE.split_at(10);
    stdin.write_all(first).unwrap();
    stdin.write_all(second).unwrap();
    drop(stdin);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(sidecar.join().unwrap(), WRITE);
}

#[test]
fn large_input_is_streamed_and_too_large_input_is_marked() {
    const MAX: usize = 16 * 1024 * 1024;
    for (len, end, carried) in [(200_000, b'E', 200_000), (MAX, b'E', MAX), (MAX + 1, b'X', MAX)] {
        let run = Run::new();
        let sidecar = run.sidecar(|mut stream| {
            let frames = request(&mut stream);
            stream.write_all(&frame(b'Q', &[0])).unwrap();
            (input_of(&frames).len(), frames.last().unwrap().0)
        });
        let out = run.ask(&vec![b' '; len], &[]);
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stdout));
        assert_eq!(sidecar.join().unwrap(), (carried, end), "{len} bytes");
    }
}

#[test]
fn an_answer_before_the_end_of_the_input_is_taken() {
    let run = Run::new();
    let sidecar = run.sidecar(|mut stream| {
        // Closed with input unread: the hook's next write fails, its answer is there all the same.
        stream.write_all(&[frame(b'O', b"early"), frame(b'Q', &[0])].concat()).unwrap();
    });
    let out = run.ask(&vec![b'x'; 4 * 1024 * 1024], &[]);
    sidecar.join().unwrap();
    assert_eq!((out.status.code(), &out.stdout[..]), (Some(0), &b"early"[..]));
}

#[test]
fn half_an_answer_and_a_broken_one_are_never_printed() {
    let broken: [(Vec<u8>, &str); 7] = [
        (vec![], "ends too early"),
        (frame(b'O', b"half"), "ends too early"),
        ([frame(b'O', b"half"), b"Q\x01\0\0\0".to_vec()].concat(), "ends too early"),
        ([frame(b'O', b"half"), frame(b'Q', b"")].concat(), "not one byte"),
        ([frame(b'O', b"half"), frame(b'Z', b"")].concat(), "unknown kind"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "too long"),
        (frame(b'V', b"9"), "different versions (1 and 9)"),
    ];
    for (answer, because) in broken {
        let run = Run::new();
        let sidecar = run.sidecar(move |mut stream| {
            request(&mut stream);
            stream.write_all(&answer).unwrap();
        });
        let out = run.ask(WRITE, &[]);
        sidecar.join().unwrap();
        assert_denied(&out, because);
        assert!(!String::from_utf8_lossy(&out.stdout).contains("half"));
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let run = Run::new();
    let sidecar = run.sidecar(|mut stream| {
        request(&mut stream);
        let piece = frame(b'O', &[b'x'; 65_536]);
        while stream.write_all(&piece).is_ok() {}
    });
    assert_denied(&run.ask(WRITE, &[]), "too long");
    sidecar.join().unwrap();
}

#[test]
fn a_long_answer_in_many_frames_is_printed_whole() {
    let run = Run::new();
    let sidecar = run.sidecar(|mut stream| {
        request(&mut stream);
        for _ in 0..8 {
            stream.write_all(&frame(b'O', &[b'x'; 65_536])).unwrap();
        }
        stream.write_all(&frame(b'Q', &[0])).unwrap();
    });
    let out = run.ask(WRITE, &[]);
    sidecar.join().unwrap();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(0), 8 * 65_536));
}

#[test]
fn without_a_sidecar_changing_calls_are_denied_and_reading_ones_pass_with_a_note() {
    let run = Run::new();
    assert_denied(&run.ask(WRITE, &[]), "no socket at");
    assert_denied(&run.ask(b"", &[]), "no socket at");
    let note = String::from_utf8(run.ask(READ, &[]).stdout).unwrap();
    assert!(note.contains("additionalContext") && !note.contains("permissionDecision"), "{note}");
    let allowed = String::from_utf8(run.ask(WRITE, &["--on-unavailable", "allow"]).stdout).unwrap();
    assert!(allowed.contains("additionalContext") && !allowed.contains("permissionDecision"), "{allowed}");
    drop(UnixListener::bind(run.file("hook.sock")).unwrap());
    assert_denied(&run.ask(WRITE, &[]), "nobody listens");
}

#[test]
fn a_refusal_that_cannot_be_printed_blocks_by_exit_code() {
    let run = Run::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = run.hook(&[]).stdin(Stdio::null()).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("could not print"));
}

#[test]
fn a_command_line_that_is_not_understood_denies() {
    let run = Run::new();
    assert_denied(&run.ask(READ, &["--on-unavailabel", "allow"]), "unknown argument --on-unavailabel");
}

#[test]
fn a_folder_that_others_can_write_is_not_trusted() {
    let run = Run::new();
    let _listener = UnixListener::bind(run.file("hook.sock")).unwrap();
    fs::set_permissions(&run.0, fs::Permissions::from_mode(0o777)).unwrap();
    assert_denied(&run.ask(WRITE, &[]), "can be written by other users");
}

#[test]
fn stdin_that_never_ends_is_denied_in_time() {
    let run = Run::new();
    let _listener = UnixListener::bind(run.file("hook.sock")).unwrap();
    let (_ours, theirs) = UnixStream::pair().unwrap();
    for stdin in [Stdio::piped(), OwnedFd::from(theirs).into()] {
        let started = Instant::now();
        let mut child = spawn_with(&run, stdin);
        let held = child.stdin.take();
        let out = child.wait_with_output().unwrap();
        assert_denied(&out, "did not finish its message");
        assert!(started.elapsed() < IN_TIME);
        drop(held);
    }
}

#[test]
fn a_sidecar_that_never_answers_is_denied_in_time_and_leaves_a_mark_until_one_does() {
    let run = Run::new();
    let mark = run.file("hook.stalled");
    let sidecar = run.sidecar(silence);
    let started = Instant::now();
    assert_denied(&run.ask(WRITE, &[]), "did not answer in time");
    assert!(started.elapsed() < IN_TIME);
    assert!(mark.exists());
    sidecar.join().unwrap();
    fs::remove_file(run.file("hook.sock")).unwrap();
    let sidecar = run.sidecar(echo);
    assert_eq!(run.ask(WRITE, &[]).stdout, b"");
    sidecar.join().unwrap();
    assert!(!mark.exists());
}

#[test]
fn a_sidecar_that_reads_nothing_is_denied_in_time() {
    let run = Run::new();
    let _listener = UnixListener::bind(run.file("hook.sock")).unwrap();
    let started = Instant::now();
    assert_denied(&run.ask(&vec![b' '; 4 * 1024 * 1024], &[]), "did not answer in time");
    assert!(started.elapsed() < IN_TIME);
}

#[test]
fn a_listener_whose_queue_is_full_is_denied_in_time() {
    let run = Run::new();
    let _listener = UnixListener::bind(run.file("hook.sock")).unwrap();
    // std asks for the longest queue; it is full at one more than its length.
    let longest = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    for _ in 0..=longest.trim().parse::<u32>().unwrap() {
        drop(UnixStream::connect(run.file("hook.sock")).unwrap());
    }
    fs::write(run.file("hook.stalled"), b"").unwrap();
    let started = Instant::now();
    assert_denied(&run.ask(WRITE, &[]), "did not answer in time");
    assert!(started.elapsed() < IN_TIME);
}

fn script(path: &Path, text: &str) -> String {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn an_absent_or_dead_sidecar_is_started_and_then_asked() {
    for dead in [false, true] {
        let run = Run::new();
        if dead {
            drop(UnixListener::bind(run.file("hook.sock")).unwrap());
        }
        let folder = run.0.display();
        let waiting = UnixListener::bind(run.file("waiting.sock")).unwrap();
        let start = format!("echo \"$@\" > {folder}/words; /bin/mv {folder}/waiting.sock {folder}/hook.sock");
        let program = script(&run.file("starter"), &start);
        let sidecar = thread::spawn(move || echo(waiting.accept().unwrap().0));
        let out = run.ask(WRITE, &["--daemon", &program]);
        assert_eq!((out.status.code(), &out.stdout[..]), (Some(0), &b""[..]));
        assert_eq!(sidecar.join().unwrap(), WRITE);
        assert_eq!(fs::read_to_string(run.file("words")).unwrap(), "up --detach\n");
    }
}

#[test]
fn a_start_that_fails_is_denied_in_time() {
    let run = Run::new();
    let started = Instant::now();
    assert_denied(&run.ask(WRITE, &["--daemon", "/nowhere/rrctl"]), "cannot start one");
    let program = script(&run.file("starter"), "exit 1");
    assert_denied(&run.ask(WRITE, &["--daemon", &program]), "did not listen in time");
    assert!(started.elapsed() < IN_TIME);
}

/// What an agent does with exit code 101 is to go on. The bug lets a failure of the hook end so.
#[cfg(debug_assertions)]
#[test]
fn b13_a_hook_that_ends_in_101_when_it_fails_is_found() {
    let run = Run::new();
    let failing = |bug: &str| {
        let mut command = run.hook(&[]);
        command.env("RAILROAD_TEST_FAULT", "1").env("RAILROAD_TEST_BUG", bug).stdin(Stdio::null());
        command.output().unwrap()
    };
    let refused = failing("");
    assert_eq!(refused.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&refused.stdout).contains(DENY));
    assert_eq!(failing("B13").status.code(), Some(101), "it was not found");
}
