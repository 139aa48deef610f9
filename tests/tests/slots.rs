//! Story: counted slots. Of the commands that `railroad.yaml` names, a host runs only so many at a time, whoever starts them: agents
//! by the gate, people and scripts by `rrctl run`. Who waits is told; who dies is out of line; while one builds, the others leave
//! its dependencies alone.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rr_tests::agent::{Agent, Decision};
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program, signal, until};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Writes its beginning and its end to a file; in between it waits for another file, if one is named.
const BUILD: &str = "#!/bin/sh\n\
    echo \"+ $2\" >> \"$1\"\n\
    [ -z \"$3\" ] || while [ ! -e \"$3\" ]; do sleep 0.02; done\n\
    echo \"- $2\" >> \"$1\"\n";

struct Shop {
    sandbox: Sandbox,
}

impl Shop {
    fn new(of: usize) -> Self {
        let sandbox = Sandbox::new();
        let shop = Self { sandbox };
        shop.furnish(of);
        shop
    }

    fn furnish(&self, of: usize) {
        let config = format!(
            "slots: {{ build: {{ of: {of}, match: [build.sh, cargo test] }} }}\nlocks: {{ exclusive: [versions.txt] }}\n"
        );
        self.sandbox.commit(&[
            ("railroad.yaml", &config),
            ("build.sh", BUILD),
            ("Cargo.toml", "[package]\nname = \"a\"\n"),
            ("versions.txt", "1\n"),
            ("src/a.rs", "1\n"),
        ]);
        let script = self.sandbox.repo.join("build.sh");
        fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("make it a program");
        self.sandbox.git(&["commit", "--quiet", "--all", "--message=a program"]);
    }

    fn record(&self) -> PathBuf {
        self.sandbox.path().join("builds.txt")
    }

    fn build(&self, name: &str) -> String {
        format!("./build.sh {} {name}", self.record().display())
    }

    /// A build that goes on until [`Self::end`].
    fn long_build(&self, name: &str) -> String {
        format!("{} {}", self.build(name), self.gate(name).display())
    }

    fn gate(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(format!("end-of-{name}"))
    }

    fn end(&self, name: &str) {
        fs::write(self.gate(name), "").expect("write");
    }

    fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.record()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// By names of this test's own: what an agent's commands leave running is found by its name, on the whole machine.
    fn agent(&self, name: &str) -> Agent {
        self.agent_in(name, &self.sandbox.repo)
    }

    fn agent_in(&self, name: &str, folder: &Path) -> Agent {
        Agent::start_in(&self.sandbox, &format!("{name}-{}", std::process::id()), folder)
    }

    fn begins(&self, name: &str) {
        let line = format!("+ {name}");
        until("the build begins", || self.events().contains(&line));
    }

    /// The most builds that ran at one time.
    fn most_at_once(&self) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for event in self.events() {
            now = if event.starts_with('+') { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        assert_eq!(now, 0, "one has not ended");
        most
    }

    fn lines(&self) -> Vec<Value> {
        self.sandbox.json(&["slots"])["slots"].as_array().cloned().expect("a list")
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("rrctl runs")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(rrctl_program());
        command.arg("run").args(words);
        command
    }

    /// `rrctl run` that has its slot.
    fn start(&self, words: &[&str]) -> Child {
        let child = self.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("rrctl runs");
        let pid = format!("(pid {})", child.id());
        until("it has the slot", || {
            self.lines().iter().any(|l| l["has_it"] == true && l["who"].as_str().is_some_and(|who| who.contains(&pid)))
        });
        child
    }

    fn is_empty(&self) {
        until("nobody is in line any more", || self.lines().is_empty());
    }
}

fn bash(command: &str) -> Value {
    json!({ "command": command })
}

fn is_told(agent: &mut Agent) {
    until("it is told that it is its turn", || {
        agent.prompt("and now?").context.contains("It is your turn: the slot `build` is kept for you")
    });
}

/// Builds as an agent does: goes on with other work while it must wait, and comes back when it is told.
fn builds(agent: &mut Agent, command: &str) -> Decision {
    let said = agent.shell(command);
    if said.passed() {
        return said.must_pass();
    }
    said.must_be_denied(&["needs the slot `build` of this machine", "Do other work"]);
    is_told(agent);
    agent.shell(command).must_pass()
}

#[test]
fn five_agents_build_and_never_two_at_once() {
    let shop = Shop::new(1);
    let _daemon = Daemon::start(&shop.sandbox);
    std::thread::scope(|all| {
        for name in ["a", "b", "c", "d", "e"] {
            let shop = &shop;
            all.spawn(move || {
                let mut agent = shop.agent(name);
                builds(&mut agent, &format!("{} && sleep 0.1 && {}", shop.build(name), shop.build(name)));
                agent.session_end();
            });
        }
    });
    assert_eq!(shop.events().len(), 20, "all have built: {:?}", shop.events());
    assert_eq!(shop.most_at_once(), 1);
    for pair in shop.events().chunks(4) {
        assert!(pair.iter().all(|e| e[2..] == pair[0][2..]), "one command is one holder: {:?}", shop.events());
    }
    shop.is_empty();
}

#[test]
fn of_two_slots_two_are_used_and_the_third_is_told_who_has_them_and_when_it_is_its_turn() {
    let shop = Shop::new(2);
    let _daemon = Daemon::start(&shop.sandbox);
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| shop.agent(name));
    let first = one.pre("Bash", &bash(&shop.build("one"))).must_pass();
    let second = two.pre("Bash", &bash(&format!("cd . && sh -c '{}'", shop.build("two")))).must_pass();
    let pids = [&one, &two].map(|agent| format!("pid {}", agent.pid()));
    let said = three.pre("Bash", &bash(&shop.build("three")));
    said.must_be_denied(&["2 run at a time", &pids[0], &pids[1], "build.sh", "You are next in line", "kept for you"]);
    three.pre("Bash", &bash("ls src")).must_pass();
    let places: Vec<_> = shop.lines().iter().map(|l| (l["slot"].clone(), l["has_it"].clone())).collect();
    assert_eq!(places, [true, true, false].map(|has| (json!("build"), json!(has))));
    let status = String::from_utf8(shop.sandbox.rrctl(&["status"]).stdout).expect("text");
    assert!(status.contains("Slots     2 in use, 1 waiting: rrctl slots\n"), "{status}");
    two.act(&second.id);
    two.post(&second.id);
    is_told(&mut three);
    three.shell(&shop.build("three")).must_pass();
    one.act(&first.id);
    one.post(&first.id);
    shop.is_empty();
}

/// Both would write it; that must not make one of them wait for the other's commit.
#[test]
fn two_builds_that_may_run_at_a_time_do_not_keep_each_other_out_by_the_lock_file() {
    let shop = Shop::new(2);
    let _daemon = Daemon::start(&shop.sandbox);
    let [mut one, mut two] = ["one", "two"].map(|name| shop.agent(name));
    one.pre("Bash", &bash("cargo test")).must_pass();
    two.pre("Bash", &bash("cargo test")).must_pass();
    assert!(shop.lines().iter().all(|line| line["has_it"] == true));
    two.stop();
    one.stop();
    shop.is_empty();
    // Somebody who changes it keeps it, as ever.
    one.write("Cargo.lock", "mine").must_pass();
    two.pre("Bash", &bash("cargo test")).must_be_denied(&["Cargo.lock is being edited by session"]);
    shop.is_empty();
}

#[test]
fn a_killed_agent_is_out_of_line_and_the_next_has_its_slot() {
    let shop = Shop::new(1);
    let _daemon = Daemon::start(&shop.sandbox);
    let [mut one, mut two] = ["one", "two"].map(|name| shop.agent(name));
    one.pre("Bash", &bash(&shop.build("one"))).must_pass();
    two.shell(&shop.build("two")).must_be_denied(&["the slot `build`"]);
    one.kill9();
    is_told(&mut two);
    two.shell(&shop.build("two")).must_pass();
    shop.is_empty();
}

#[test]
fn a_build_in_the_background_keeps_its_slot_until_it_ends_over_a_restart_of_the_sidecar_too() {
    let shop = Shop::new(1);
    let mut daemon = Daemon::start(&shop.sandbox);
    let [mut one, mut two] = ["one", "two"].map(|name| shop.agent(name));
    // A server that a build leaves running has no slot.
    let pid = shop.sandbox.path().join("server.pid");
    let server = format!("(sleep 600 > /dev/null 2>&1 & echo $! > {})", pid.display());
    one.shell(&format!("{} && {server}", shop.build("zero"))).must_pass();
    let server = fs::read_to_string(pid).expect("its pid").trim().parse().expect("a pid");
    shop.is_empty();
    one.shell(&format!("{} > /dev/null 2>&1 &", shop.long_build("one"))).must_pass();
    shop.begins("one");
    two.shell(&shop.build("two")).must_be_denied(&["the slot `build`"]);
    let own = one.shell(&shop.build("again"));
    own.must_be_denied(&["an earlier command of yours, which still runs, has it"]);
    one.prompt("something else");
    daemon.kill9();
    daemon.restart();
    two.shell(&shop.build("two")).must_be_denied(&["the slot `build`"]);
    one.shell("ls").must_pass();
    two.prompt("again");
    two.shell(&shop.build("two")).must_be_denied(&["the slot `build`"]);
    shop.end("one");
    is_told(&mut two);
    two.shell(&shop.build("two")).must_pass();
    assert_eq!(shop.most_at_once(), 1);
    signal(server, Signal::KILL);
}

#[test]
fn a_turn_that_ends_leaves_the_line() {
    let shop = Shop::new(1);
    let _daemon = Daemon::start(&shop.sandbox);
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| shop.agent(name));
    let first = one.pre("Bash", &bash(&shop.build("one"))).must_pass();
    two.shell(&shop.build("two")).must_be_denied(&["You are next"]);
    three.shell(&shop.build("three")).must_be_denied(&["1 other(s) are ahead"]);
    two.stop();
    until("the place is given up", || shop.lines().len() == 2);
    one.act(&first.id);
    one.post(&first.id);
    is_told(&mut three);
    three.stop();
    shop.is_empty();
}

/// G2.
#[test]
fn dependencies_are_left_alone_while_another_builds_here() {
    let shop = Shop::new(1);
    let _daemon = Daemon::start(&shop.sandbox);
    let [mut one, mut two] = ["one", "two"].map(|name| shop.agent(name));
    let elsewhere = shop.sandbox.path().join("elsewhere");
    shop.sandbox.git(&["worktree", "add", "--quiet", "-b", "other", &elsewhere.display().to_string()]);
    let mut three = shop.agent_in("three", &elsewhere);
    let build = one.pre("Bash", &bash(&shop.build("one"))).must_pass();
    let pid = format!("pid {}", one.pid());
    let words = ["is about dependencies", &pid, "the slot `build`", "Other files are free"];
    two.edit("Cargo.toml", "\"a\"", "\"b\"").must_be_denied(&words);
    two.edit("versions.txt", "1", "2").must_be_denied(&words);
    two.pre("Bash", &bash("cargo add serde")).must_be_denied(&words);
    two.edit("src/a.rs", "1", "2").must_pass();
    three.edit("versions.txt", "1", "3").must_pass();
    three.stop();
    one.edit("Cargo.toml", "\"a\"", "\"c\"").must_pass();
    one.act(&build.id);
    one.post(&build.id);
    one.stop();
    two.prompt("again");
    two.read("Cargo.toml").must_pass();
    two.edit("Cargo.toml", "\"c\"", "\"b\"").must_pass();
}

#[test]
fn rrctl_run_hands_on_streams_exit_codes_and_signals_and_gives_the_slot_back() {
    let shop = Shop::new(1);
    let _daemon = Daemon::start(&shop.sandbox);
    let done = shop.run(&["--slot", "build", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(done.status.code(), Some(7));
    assert_eq!((&*done.stdout, &*done.stderr), (&b"out\n"[..], &b"err\n"[..]));
    shop.is_empty();
    for (how, number) in [(Signal::TERM, 15), (Signal::KILL, 9)] {
        let mut child = shop.start(&["--slot", "build", "--", "sleep", "600"]);
        let busy = shop.run(&["--slot", "build", "--no-wait", "--", "true"]);
        let told = String::from_utf8_lossy(&busy.stderr).into_owned();
        assert_eq!(busy.status.code(), Some(4), "{told}");
        assert!(told.contains("the slot `build` is not free") && told.contains(": sleep 600 has it"), "{told}");
        let mut waiting = shop.command(&["--slot", "build", "--", "echo", "done"]);
        let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rrctl runs");
        until("it is in line", || shop.lines().len() == 2);
        signal(child.id(), how);
        assert_eq!(child.wait().expect("ended").signal(), Some(number));
        let waited = waiting.wait_with_output().expect("ended");
        assert_eq!((waited.status.code(), &*waited.stdout), (Some(0), &b"done\n"[..]));
        let told = String::from_utf8_lossy(&waited.stderr).into_owned();
        assert!(told.contains("rrctl: waiting for the slot `build`: ") && told.contains("you are next"), "{told}");
        shop.is_empty();
    }
    let unknown = shop.run(&["--slot", "biuld", "--", "true"]);
    assert_eq!(unknown.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("it has build"));
    let missing = shop.run(&["--slot", "build", "--", "no-such-program-anywhere"]);
    assert_eq!(missing.status.code(), Some(5));
    shop.is_empty();
}

#[test]
fn a_person_and_agents_stand_in_one_line_and_a_call_of_rrctl_run_counts_once() {
    let shop = Shop::new(1);
    let mut daemon = Daemon::start(&shop.sandbox);
    let mut one = shop.agent("one");
    let rrctl = rrctl_program().display().to_string();
    one.shell(&format!("{rrctl} run --slot build -- {}", shop.build("one"))).must_pass();
    shop.is_empty();
    let mut child = shop.start(&["--slot", "build", "--", "sleep", "600"]);
    one.shell(&shop.build("one")).must_be_denied(&["sleep 600 has it"]);
    one.edit("versions.txt", "1", "2").must_be_denied(&["is about dependencies"]);
    // Its place outlives the daemon.
    daemon.restart();
    assert!(shop.lines().iter().any(|l| l["has_it"] == true && l["who"].as_str().is_some_and(|w| w.contains("sleep"))));
    one.prompt("again");
    one.shell(&shop.build("one")).must_be_denied(&["sleep 600 has it"]);
    child.kill().expect("kill");
    child.wait().expect("ended");
    is_told(&mut one);
    one.shell(&shop.build("one")).must_pass();
    shop.is_empty();
}

#[test]
fn each_host_of_a_fleet_has_slots_of_its_own() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let endpoints = cluster.endpoints().join(", ");
    let shops = [Shop::new(1), Shop::new(1)];
    let machine = format!("store: {{ kind: etcd, endpoints: [{endpoints}] }}\n");
    shops.iter().for_each(|shop| shop.sandbox.machine_config(&machine));
    let _daemons = [Daemon::start(&shops[0].sandbox), Daemon::start(&shops[1].sandbox)];
    let mut here = shops[0].start(&["--slot", "build", "--", "sleep", "600"]);
    let mut there = shops[1].start(&["--slot", "build", "--", "sleep", "600"]);
    let hosts: Vec<_> = shops[0].lines().iter().map(|l| (l["host_id"].clone(), l["has_it"].clone())).collect();
    assert!(hosts.len() == 2 && hosts[0].0 != hosts[1].0 && hosts.iter().all(|(_, has)| *has == true), "{hosts:?}");
    for shop in &shops {
        assert_eq!(shop.run(&["--slot", "build", "--no-wait", "--", "true"]).status.code(), Some(4));
        let mut agent = shop.agent("one");
        agent.shell(&shop.build("one")).must_be_denied(&["sleep 600 has it"]);
    }
    for child in [&mut here, &mut there] {
        child.kill().expect("kill");
        child.wait().expect("ended");
    }
    shops[0].is_empty();
}
