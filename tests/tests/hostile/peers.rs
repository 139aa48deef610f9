//! Whoever else can reach the socket: another user, another process under a foreign name, and crowds that say nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::support::{
    HOOK_MAX, ask, before, connect, converse, frame, hook_command, log_of, must_be_well, question, question_of,
    run_hook, write_of,
};

/// `nobody` on every Linux.
const OTHER_UID: u32 = 65_534;
/// Tells the child of the test below which socket to try; it is this same program.
const SOCKET: &str = "RAILROAD_TEST_SOCKET";
const QUESTION: &str = "RAILROAD_TEST_QUESTION";
/// Far more than the daemon serves at once (64) and lets wait (1,024).
const CROWD: usize = 2_000;

/// No test by itself: what the other user does. It prints what became of it.
#[test]
fn child_of_another_user() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let question = fs::read(std::env::var_os(QUESTION).expect("a question")).expect("readable by all");
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => {
            println!("OUTCOME cannot connect: {:?}", error.kind());
            return;
        }
    };
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set a time limit");
    drop(stream.write_all(&question));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    println!("OUTCOME connected, {} bytes of answer", answer.len());
}

/// What another user gets of a socket.
fn as_other_user(sandbox: &Sandbox, socket: &str) -> Option<String> {
    // Where the build lies may be closed to others: so a copy of this program is what they run.
    let place = tempfile::Builder::new().prefix("rr-o").tempdir().expect("folder");
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open it to others");
    let program = place.path().join("peer");
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("copy");
    let asked = place.path().join("question");
    fs::write(&asked, question(sandbox, write_of(sandbox, "others.txt").to_string().as_bytes())).expect("write");
    [place.path(), &program, &asked].iter().for_each(|path| open(path));
    let mut command = Command::new(program);
    command.args(["--exact", "peers::child_of_another_user", "--nocapture"]).current_dir("/");
    command.env(SOCKET, sandbox.runtime.join(socket)).env(QUESTION, asked).uid(OTHER_UID).gid(OTHER_UID);
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().find_map(|line| line.split_once("OUTCOME ")).unwrap_or_else(|| panic!("{output:?}")).1.to_owned())
}

#[test]
fn another_user_cannot_connect_and_is_refused_where_it_can() {
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED: only root can be another user: another_user_cannot_connect_and_is_refused_where_it_can");
        return;
    }
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mode = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    // The folder above is closed as well: only what the product closes shall count.
    mode(sandbox.path().to_owned(), 0o755);
    for socket in ["hook.sock", "api.sock"] {
        let outcome = as_other_user(&sandbox, socket).expect("root can be another user");
        assert_eq!(outcome, "cannot connect: PermissionDenied", "{socket}");
    }
    mode(sandbox.runtime.clone(), 0o755);
    for socket in ["hook.sock", "api.sock"] {
        mode(sandbox.runtime.join(socket), 0o777);
        let outcome = as_other_user(&sandbox, socket).expect("root can be another user");
        assert_eq!(outcome, "connected, 0 bytes of answer", "{socket}");
    }
    assert_eq!(log_of(&sandbox).matches("refused a connection of another user").count(), 2);
    assert!(sandbox.locks().is_empty() && sandbox.sessions().is_empty());
    must_be_well(&sandbox);
}

#[test]
fn the_hook_trusts_no_folder_that_others_can_write() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let command = hook_command(&sandbox);
    fs::set_permissions(&sandbox.runtime, fs::Permissions::from_mode(0o777)).expect("chmod");
    let said = run_hook(command, write_of(&sandbox, "a.txt").to_string().as_bytes());
    said.must_deny(&["the socket folder", "can be written by other users", "rrctl doctor"]);
    fs::set_permissions(&sandbox.runtime, fs::Permissions::from_mode(0o700)).expect("chmod");
    assert!(sandbox.locks().is_empty());
}

#[test]
fn a_running_agents_session_id_is_of_no_use_to_another_process() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("held.txt", "one\n").must_pass();
    let mut forger = Agent::silent(&sandbox, "one", &sandbox.repo, &[]);
    let foreign = ["belongs to another running process", "under a foreign name is not let through"];
    for file in ["held.txt", "free.txt"] {
        let reason = forger.write(file, "forged\n").must_be_denied(&foreign).to_owned();
        assert!(reason.contains(&format!("pid {}", one.pid())), "{reason}");
        forger.shell(&format!("echo forged > {file}")).must_be_denied(&foreign);
    }
    // Nor can it end the session, or give away what it holds.
    forger.stop();
    forger.session_end();
    assert_eq!(sandbox.holder("held.txt").as_deref(), Some("one"));
    assert_eq!(sandbox.text("held.txt"), "one\n");
    assert!(!sandbox.repo.join("free.txt").exists());
    one.edit("held.txt", "one", "two").must_pass();
}

/// The same on the bare socket, with all that an agent's environment would say.
#[test]
fn a_process_that_only_claims_an_agents_pid_is_no_agent() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("held.txt", "one\n").must_pass();
    let pid = one.pid().to_string();
    let mut call = before(&sandbox, "Write", &json!({"file_path": sandbox.repo.join("held.txt"), "content": "x"}));
    call["session_id"] = json!("one");
    for env in [&[][..], &[("CLAUDE_PID", pid.as_str()), ("CLAUDE_CODE_SESSION_ID", "one")], &[("CLAUDE_PID", "1")]] {
        let said = converse(&sandbox, &question_of(&sandbox, call.to_string().as_bytes(), env));
        said.must_deny(&["belongs to another running process"]);
    }
    for event in ["Stop", "SessionEnd"] {
        call["hook_event_name"] = json!(event);
        ask(&sandbox, call.to_string().as_bytes()).must_pass();
    }
    assert_eq!(sandbox.holder("held.txt").as_deref(), Some("one"));
}

#[test]
fn a_dead_agents_session_id_can_be_resumed() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    one.kill9();
    until("its lock is gone", || sandbox.holder("a.txt").is_none());
    let mut again = Agent::silent(&sandbox, "one", &sandbox.repo, &[]);
    again.event("SessionStart", &json!({"source": "resume"}));
    again.read("a.txt").must_pass();
    again.edit("a.txt", "1", "2").must_pass();
    assert_eq!(sandbox.text("a.txt"), "2\n");
    assert_eq!(sandbox.sessions().len(), 1);
}

/// A resumed session at the very moment its predecessor dies: it is denied or it holds the lock, never neither.
#[test]
fn a_session_resumed_at_once_is_never_unguarded() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    for round in 0..5 {
        let file = format!("f{round}.txt");
        let mut one = Agent::start(&sandbox, "one");
        one.write(&file, "1\n").must_pass();
        one.kill9();
        let mut again = Agent::silent(&sandbox, "one", &sandbox.repo, &[]);
        until("it may write", || {
            // What an earlier life has read is not trusted: it reads again, as its denial says.
            again.read(&file);
            let done = again.write(&file, "2\n");
            assert!(done.denied() || sandbox.holder(&file).as_deref() == Some("one"), "{done:?}");
            again.prompt("again");
            done.passed()
        });
        again.session_end();
    }
}

/// Raises how many files this process, and a daemon that it starts, may have open; how many connections that leaves.
fn room_for_a_crowd() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(now).unwrap_or(usize::MAX).saturating_sub(200).min(CROWD);
    if room < CROWD {
        eprintln!("LESS THAN ASKED: the limit on open files allows {room} connections instead of {CROWD}");
    }
    room
}

#[test]
fn two_thousand_half_open_connections_let_nothing_pass_unguarded() {
    let sandbox = Sandbox::new();
    let room = room_for_a_crowd();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("first.txt", "1\n").must_pass();
    let half = frame(b'H', b"version=1\nagent=claude\n");
    let crowd: Vec<UnixStream> = (0..room)
        .map(|n| {
            let mut stream = connect(&sandbox);
            match n % 4 {
                0 => {}
                1 => drop(stream.write_all(&half[..half.len() / 2])),
                2 => drop(stream.write_all(&half)),
                _ => drop(stream.write_all(b"D\xff\xff\0\0half a frame")),
            }
            stream
        })
        .collect();
    // While the crowd stands there, the coordinator's door is another one.
    assert_eq!(sandbox.sessions().len(), 1, "people still get an answer");
    for n in 0..10 {
        let (file, start) = (format!("f{n}.txt"), Instant::now());
        let done = one.write(&file, "1\n");
        assert!(start.elapsed() < HOOK_MAX * 2, "both hooks of a call answer within their budget");
        if done.passed() {
            assert_eq!(sandbox.holder(&file).as_deref(), Some("one"), "passed, so it is guarded");
        } else {
            done.must_be_denied(&["nothing coordinates it right now", "rrctl up"]);
            assert!(!sandbox.repo.join(&file).exists());
        }
    }
    // Within the deadlines the crowd is gone by itself: it is not even asked to leave.
    until("an honest call is served", || one.write("last.txt", "1\n").passed());
    assert_eq!(sandbox.holder("last.txt").as_deref(), Some("one"));
    assert_eq!(sandbox.holder("first.txt").as_deref(), Some("one"), "nothing was lost meanwhile");
    drop(crowd);
    must_be_well(&sandbox);
}

/// With as few files as many machines allow by default, and fewer: the daemon asks for more itself.
#[test]
fn a_crowd_is_survived_by_a_daemon_that_was_given_few_files() {
    let sandbox = Sandbox::new();
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(256), maximum: limit.maximum };
    if setrlimit(Resource::Nofile, few).is_err() {
        eprintln!("SKIPPED: the limit on open files cannot be set here");
        return;
    }
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let room = room_for_a_crowd() / 2;
    let crowd: Vec<UnixStream> = (0..room).map(|_| connect(&sandbox)).collect();
    for n in 0..5 {
        let (file, start) = (format!("f{n}.txt"), Instant::now());
        let done = one.write(&file, "1\n");
        assert!(start.elapsed() < HOOK_MAX * 2, "both hooks of a call answer within their budget");
        let guarded = || sandbox.holder(&file).as_deref() == Some("one");
        assert!(done.denied() && !sandbox.repo.join(&file).exists() || guarded(), "{done:?}");
    }
    until("an honest call is served", || one.write("last.txt", "1\n").passed());
    assert!(!log_of(&sandbox).contains("Too many open files"), "{}", log_of(&sandbox));
    drop(crowd);
}

/// A crowd that comes back as fast as it is turned away.
#[test]
fn a_crowd_that_keeps_coming_lets_nothing_pass_unguarded_and_stops_no_pause() {
    let sandbox = Sandbox::new();
    let room = room_for_a_crowd() / 2;
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = sandbox.runtime.join("hook.sock");
            let mut crowd = std::collections::VecDeque::new();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                crowd.extend(UnixStream::connect(&socket));
                if crowd.len() > room {
                    crowd.pop_front();
                }
            }
        });
        for n in 0..5 {
            let file = format!("f{n}.txt");
            let done = one.write(&file, "1\n");
            let guarded = || sandbox.holder(&file).as_deref() == Some("one");
            assert!(done.denied() && !sandbox.repo.join(&file).exists() || guarded(), "{done:?}");
        }
        let paused = sandbox.rrctl(&["pause-all"]);
        assert!(paused.status.success(), "{paused:?}");
        one.write("paused.txt", "1\n").must_be_denied(&[]);
        assert!(!sandbox.repo.join("paused.txt").exists());
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // What the crowd has left in the socket's queue is served first: till then the hook can say no more than that nobody answers.
    until("the reason is told", || one.write("paused.txt", "1\n").must_be_denied(&[]).contains("The fleet is paused"));
    assert!(!sandbox.repo.join("paused.txt").exists());
}
