//! What `docs/many-hosts.md` says about two commands: three etcd members and two hosts by hand, a fleet over both, and nothing
//! left of them. The programs behind `cargo xtask etcd` and `cargo xtask hosts` are run as that runs them.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Sandbox, rrctl_program, signal, until};
use rr_tests::isolation::alone;
use rustix::process::Signal;

/// A program in the foreground, and what it says.
struct Shown {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Shown {
    fn start(program: &str, words: &[&str], sandbox: &Sandbox) -> Self {
        let mut command = Command::new(program);
        command.args(words).current_dir(sandbox.path()).env("TMPDIR", sandbox.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    fn says(&mut self, word: &str) -> String {
        let found = self.lines.by_ref().map_while(Result::ok).find(|line| line.contains(word));
        found.unwrap_or_else(|| panic!("it ended without saying {word:?}"))
    }

    fn end(mut self) {
        signal(self.child.id(), Signal::INT);
        assert!(self.child.wait().expect("it ends").success());
    }
}

#[test]
fn two_commands_bring_up_three_members_and_two_hosts() {
    // With a loopback of its own, since the ports are those of the commands.
    alone(async || {
        tokio::task::block_in_place(story);
        Ok(())
    });
}

fn story() {
    let sandbox = Sandbox::new();
    let mut etcd = Shown::start(env!("CARGO_BIN_EXE_rr-test-etcd"), &["--data", "etcd"], &sandbox);
    assert_eq!(etcd.says("kind: etcd").matches("http://127.0.0.1:").count(), 3);
    let mut hosts = Shown::start(env!("CARGO_BIN_EXE_rr-test-hosts"), &["2", "--data", "hosts"], &sandbox);
    hosts.says("End them");
    assert!(rrctl_program().is_file());

    // As in a shell that has read a host's `env`.
    let on = |host: u8, name: &str| {
        let variables = std::fs::read_to_string(sandbox.path().join(format!("hosts/h{host}/env"))).expect("read env");
        let script = format!("{variables}exec rrctl demo-agent --interactive --session {name}");
        Agent::of_command(sandbox.command("sh").args(["-c", &script]), name, &sandbox.repo)
    };
    let (mut one, mut two) = (on(1, "one"), on(2, "two"));
    one.write("a.txt", "1\n").must_pass();
    two.write("a.txt", "2\n").must_be_denied(&["a.txt is being edited by session", &format!("pid {}", one.pid())]);
    one.stop();
    until("the lock goes to the other host", || two.read("a.txt").passed() && two.write("a.txt", "2\n").passed());
    drop((one, two));
    hosts.end();
    etcd.end();
    let left = |name: &str| sandbox.path().join(name).exists();
    assert!(left("etcd/m0") && left("hosts/h1/state"), "what they hold stays");
    let sockets = std::fs::read_dir(sandbox.path()).expect("look").flatten();
    assert_eq!(sockets.filter(|e| e.file_name().to_string_lossy().starts_with("railroad-hosts")).count(), 0);
}
