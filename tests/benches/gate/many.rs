//! What fifty sessions that write at once get through against one, on the daemon's socket: each call is asked for, changes its
//! session's own file for true, and is reported; what stood before it and the call itself are durable when the answer comes. Beside it
//! the least a server can do for the same clients: it makes all that wait durable with one write and one sync. The hook's own process
//! is not part of it: fifty of them on this machine's cores would be measured instead.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rr_tests::daemon::Sandbox;
use serde_json::{Value, json};

use crate::floor::{Disk, NO_OBJECTION, whole_request};
use crate::report::verdict;

const WRITERS: usize = 50;
const RUN: Duration = Duration::from_secs(4);
/// The bar for what fifty get through, of what one does.
const GAIN_MIN: f64 = 8.0;

pub(crate) fn many(sandbox: &Sandbox) {
    let socket = sandbox.runtime.join("hook.sock");
    let place = tempfile::tempdir_in(&sandbox.state).expect("make a folder");
    let least = least(place.path());
    let mut writers: Vec<Writer> = (0..WRITERS).map(|n| Writer::start(sandbox, &socket, n)).collect();
    let one = rate(&mut writers[..1], &socket);
    let all = rate(&mut writers, &socket);
    let (least_one, least_all) = (rate(&mut writers[..1], &least), rate(&mut writers, &least));
    let (gain, best) = (all / one, least_all / least_one);
    println!(
        "gate.many.calls_per_s_{WRITERS}_sessions={all:.0} one_session={one:.0} ratio={gain:.1} bar={GAIN_MIN} {} least_{WRITERS}={least_all:.0} least_one={least_one:.0} least_ratio={best:.1} of_least={:.2}",
        verdict(gain >= GAIN_MIN),
        all / least_all
    );
}

/// Calls a second, each with its change and its report.
fn rate(writers: &mut [Writer], socket: &Path) -> f64 {
    let start = Instant::now();
    let done: usize = thread::scope(|scope| {
        let all: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(move || {
                    let mut done = 0;
                    while start.elapsed() < RUN {
                        writer.call(socket);
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("a writer")).sum()
    });
    done as f64 / start.elapsed().as_secs_f64()
}

struct Writer {
    session: String,
    repo: PathBuf,
    file: PathBuf,
    calls: usize,
}

impl Writer {
    fn start(sandbox: &Sandbox, socket: &Path, n: usize) -> Self {
        let file = sandbox.repo.join(format!("many/f{n:02}.rs"));
        let mut writer = Self { session: format!("many-{n:02}"), repo: sandbox.repo.clone(), file, calls: 0 };
        writer.event(socket, "SessionStart", &json!({"source": "startup"}));
        writer.call(socket);
        writer
    }

    fn call(&mut self, socket: &Path) {
        self.calls += 1;
        let text = format!("fn main() {{ {} }}\n", self.calls);
        let call = json!({
            "tool_name": "Write", "tool_use_id": format!("toolu_{:08}", self.calls),
            "tool_input": {"file_path": self.file, "content": text},
        });
        let said = self.event(socket, "PreToolUse", &call);
        assert!(!said.contains("\"deny\""), "it should have passed: {said}");
        std::fs::create_dir_all(self.file.parent().expect("in a folder")).expect("make the folder");
        std::fs::write(&self.file, text).expect("change the file");
        self.event(socket, "PostToolUse", &call);
    }

    fn event(&self, socket: &Path, name: &str, fields: &Value) -> String {
        let mut event = json!({
            "session_id": self.session, "cwd": self.repo, "hook_event_name": name, "permission_mode": "default",
            "transcript_path": "/home/u/.claude/projects/p/4fc1.jsonl",
        });
        if let (Some(event), Some(fields)) = (event.as_object_mut(), fields.as_object()) {
            event.extend(fields.clone());
        }
        let pid = std::process::id();
        let repo = self.repo.display();
        let hello =
            format!("version=1\nagent=claude\ncwd={repo}\nenv.CLAUDE_PID={pid}\nenv.CLAUDE_PROJECT_DIR={repo}\n");
        let parts = [frame(b'H', hello.as_bytes()), frame(b'D', event.to_string().as_bytes()), frame(b'E', b"")];
        let mut stream = UnixStream::connect(socket).expect("somebody listens");
        stream.write_all(&parts.concat()).expect("ask");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(answer.ends_with(b"Q\x01\0\0\0\0"), "{}", String::from_utf8_lossy(&answer));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_le_bytes();
    [&[kind], len.as_slice(), payload].concat()
}

/// The least server: what is asked before a change is answered after a sync that all who wait share, what is reported at once.
fn least(dir: &Path) -> PathBuf {
    let socket = dir.join("least.sock");
    let listener = UnixListener::bind(&socket).expect("listen");
    let (asked, waiting) = channel();
    let disk = Disk::new(dir);
    // Both end with the program.
    thread::spawn(move || answer_together(&waiting, &disk));
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept a call");
            let len = whole_request(&mut stream, &mut buffer);
            if String::from_utf8_lossy(&buffer[..len]).contains("PreToolUse") {
                asked.send(stream).expect("somebody answers");
            } else {
                stream.write_all(NO_OBJECTION).expect("answer a report");
            }
        }
    });
    socket
}

fn answer_together(waiting: &Receiver<UnixStream>, disk: &Disk) {
    let mut round = 0;
    while let Ok(first) = waiting.recv() {
        let all: Vec<UnixStream> = std::iter::once(first).chain(waiting.try_iter()).collect();
        disk.sync(round);
        round = (round + 1) % 256;
        for mut stream in all {
            stream.write_all(NO_OBJECTION).expect("answer a call");
        }
    }
}
