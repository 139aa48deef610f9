//! Two daemons, ten daemons, and what a dead one leaves behind: one lives, the others say which.

use std::fs;
use std::process::{Command, Stdio};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program, until};

fn up(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command(rrctl_program());
    command.arg("up").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_second_daemon_ends_with_4_and_names_the_first_which_goes_on() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    let socket = fs::metadata(sandbox.runtime.join("hook.sock")).expect("there").modified().expect("stamp");
    for _ in 0..3 {
        let second = up(&sandbox).output().expect("it runs");
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(4), "{said}");
        assert!(said.contains(&format!("a daemon runs already (pid {})", daemon.pid())), "{said}");
        assert!(said.contains("rrctl down"), "{said}");
    }
    assert_eq!(sandbox.daemon_pid(), Some(daemon.pid()));
    let now = fs::metadata(sandbox.runtime.join("hook.sock")).expect("there").modified().expect("stamp");
    assert_eq!(now, socket, "the first one's socket was not replaced");
    one.write("b.txt", "1\n").must_pass();
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"));
}

#[test]
fn of_ten_daemons_started_at_once_one_lives() {
    let sandbox = Sandbox::new();
    let mut all: Vec<_> = (0..10).map(|_| up(&sandbox).spawn().expect("it starts")).collect();
    until("one of them answers", || sandbox.daemon_pid().is_some());
    until("all others have ended", || all.iter_mut().filter_map(|c| c.try_wait().expect("look")).count() == 9);
    let living = sandbox.daemon_pid().expect("one lives");
    let mut told = 0;
    for mut child in all {
        if child.id() == living {
            assert!(child.try_wait().expect("look").is_none());
            let mut one = Agent::start(&sandbox, "one");
            one.write("a.txt", "1\n").must_pass();
            assert_eq!(sandbox.daemon_pid(), Some(living));
            drop(one);
            child.kill().expect("kill");
            child.wait().expect("wait");
            continue;
        }
        let output = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        told += usize::from(said.contains("a daemon runs already"));
    }
    assert_eq!(told, 9);
}

#[test]
fn of_ten_started_into_the_background_one_lives_and_all_are_content() {
    let sandbox = Sandbox::new();
    let detach = |_| {
        let mut command = sandbox.command(rrctl_program());
        command.args(["up", "--detach"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let all: Vec<_> = (0..10).map(detach).collect();
    for child in all {
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{output:?}");
    }
    let living = sandbox.daemon_pid().expect("one lives");
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    assert_eq!((sandbox.daemon_pid(), sandbox.sessions().len()), (Some(living), 1));
}

/// What a killed daemon leaves: sockets nobody listens on, a pid file, perhaps of a pid that somebody else has now.
#[test]
fn leftovers_of_a_dead_daemon_are_in_nobodys_way() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    daemon.kill9();
    assert!(sandbox.runtime.join("hook.sock").exists() && sandbox.runtime.join("daemon.pid").exists());
    // This very process lives, and is no daemon: it must be neither believed nor ended.
    fs::write(sandbox.runtime.join("daemon.pid"), format!("{} 1 another-boot\n", std::process::id())).expect("write");
    daemon.restart();
    assert_eq!(sandbox.daemon_pid(), Some(daemon.pid()));
    daemon.kill9();
    for rubbish in ["", "rubbish", "99999999999999999999 1 x", "-1 -1 x", "0 0 x"] {
        fs::write(sandbox.runtime.join("daemon.pid"), rubbish).expect("write");
        let down = sandbox.rrctl(&["down", "--wait"]);
        assert!(down.status.code().is_some_and(|code| code != 101), "{down:?}");
    }
    daemon.restart();
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
}

#[test]
fn a_file_where_the_socket_belongs_is_replaced_or_refused_and_never_followed() {
    let sandbox = Sandbox::new();
    drop(Daemon::start(&sandbox));
    let precious = sandbox.path().join("precious");
    fs::write(&precious, "mine").expect("write");
    let socket = sandbox.runtime.join("hook.sock");
    drop(fs::remove_file(&socket));
    std::os::unix::fs::symlink(&precious, &socket).expect("link");
    let _daemon = Daemon::start(&sandbox);
    assert_eq!(fs::read_to_string(&precious).expect("there"), "mine");
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
}
