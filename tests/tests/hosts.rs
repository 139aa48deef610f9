//! The test hosts keep their word: what is cut is silent and nothing else is, in each direction and each variant; hosts know
//! nothing of one another; what was killed leaves nothing. The stories about locks and pauses build on this.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rr_tests::daemon::until;
use rr_tests::hosts::{Apart, Direction, Host, Machines, SmallDisk, World};
use rr_tests::on_hosts;

on_hosts!(
    a_cut_holds_back_what_it_should_and_healing_brings_it,
    one_wire_of_many_can_be_cut,
    who_calls_during_a_cut_reaches_nobody,
    a_delay_is_felt_each_way,
    every_host_has_its_own_folders_and_a_clone_of_one_repository,
    a_small_disk_can_be_filled_and_emptied,
    every_host_reaches_every_member_of_a_cluster_until_it_is_cut_off,
);

/// Long enough for anything that is not held back: what must not arrive is waited for so long.
const MOMENT: Duration = Duration::from_millis(300);
/// What must arrive is waited for so long: only a hang takes it.
const SOON: Duration = Duration::from_secs(60);
/// Longer than any busy machine keeps a word on a wire that nothing holds back.
const LONG_DELAY: Duration = Duration::from_secs(30);

struct Stage {
    // The order in which they end: hosts before their machines.
    hosts: Vec<Host>,
    servers: Vec<TcpListener>,
    machines: Machines,
}

/// Two hosts, and two servers that only take connections.
fn stage(apart: Apart) -> Stage {
    let machines = Machines::new(apart, 2, 2).expect("machines");
    let listen = |spot: &rr_tests::hosts::Spot| spot.inside(|| TcpListener::bind((spot.ip(), 0)).expect("listen"));
    let servers: Vec<TcpListener> = machines.spots().iter().map(listen).collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|s| s.local_addr().expect("an address")).collect();
    let hosts = machines.hosts(&addresses).expect("hosts");
    Stage { hosts, servers, machines }
}

/// Both ends of a connection.
struct Pair {
    near: TcpStream,
    far: TcpStream,
}

impl Stage {
    fn pair(&self, host: usize, server: usize) -> Pair {
        let host = &self.hosts[host];
        let near = host.inside(|| TcpStream::connect(host.endpoints()[server]).expect("connect"));
        let far = self.servers[server].accept().expect("accept").0;
        for end in [&near, &far] {
            end.set_nodelay(true).expect("set");
        }
        Pair { near, far }
    }
}

impl Pair {
    fn goes_up(&mut self) -> bool {
        says(&mut self.near, &mut self.far, SOON)
    }

    fn goes_down(&mut self) -> bool {
        says(&mut self.far, &mut self.near, SOON)
    }

    fn is_held_up(&mut self) -> bool {
        !says(&mut self.near, &mut self.far, MOMENT)
    }

    fn is_held_down(&mut self) -> bool {
        !says(&mut self.far, &mut self.near, MOMENT)
    }
}

fn says(from: &mut TcpStream, to: &mut TcpStream, limit: Duration) -> bool {
    from.write_all(b"word").expect("write");
    hears(to, limit)
}

fn hears(to: &mut TcpStream, limit: Duration) -> bool {
    to.set_read_timeout(Some(limit)).expect("set");
    let mut word = [0; 4];
    match to.read_exact(&mut word) {
        Ok(()) => &word == b"word",
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(e) => panic!("silence is all that a cut shows, and this is: {e}"),
    }
}

fn a_cut_holds_back_what_it_should_and_healing_brings_it(apart: Apart) {
    let stage = stage(apart);
    let (mut cut, mut other) = (stage.pair(0, 0), stage.pair(1, 0));
    assert!(cut.goes_up() && cut.goes_down());
    for (direction, up, down) in
        [(Direction::Up, false, true), (Direction::Down, true, false), (Direction::Both, false, false)]
    {
        stage.hosts[0].cut(direction);
        assert!(if up { cut.goes_up() } else { cut.is_held_up() }, "{direction:?}");
        assert!(if down { cut.goes_down() } else { cut.is_held_down() }, "{direction:?}");
        assert!(other.goes_up() && other.goes_down(), "the other host is not cut off");
        stage.hosts[0].heal();
        assert!((up || hears(&mut cut.far, SOON)) && (down || hears(&mut cut.near, SOON)), "what was held arrives");
        assert!(cut.goes_up() && cut.goes_down(), "after healing");
    }
}

fn one_wire_of_many_can_be_cut(apart: Apart) {
    let stage = stage(apart);
    let (mut cut, mut other) = (stage.pair(0, 0), stage.pair(0, 1));
    stage.hosts[0].cut_from(0, Direction::Both);
    assert!(cut.is_held_up() && cut.is_held_down());
    assert!(other.goes_up() && other.goes_down());
}

fn who_calls_during_a_cut_reaches_nobody(apart: Apart) {
    let stage = stage(apart);
    let host = &stage.hosts[0];
    stage.servers[0].set_nonblocking(true).expect("set");
    for direction in [Direction::Up, Direction::Down] {
        host.cut(direction);
        let called = host.inside(|| TcpStream::connect_timeout(&host.endpoints()[0], MOMENT));
        match (called, stage.machines.apart()) {
            (Err(error), Apart::Namespaces) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            // The wire itself takes the call, and then says nothing.
            (Ok(mut near), Apart::Links) => {
                near.write_all(b"word").expect("write");
                assert!(!hears(&mut near, MOMENT));
            }
            (other, apart) => panic!("{apart:?}: {other:?}"),
        }
        assert_eq!(stage.servers[0].accept().err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
        host.heal();
    }
    stage.servers[0].set_nonblocking(false).expect("set");
    assert!(stage.pair(0, 0).goes_up());
}

fn a_delay_is_felt_each_way(apart: Apart) {
    let stage = stage(apart);
    let mut slow = stage.pair(0, 0);
    let round = |pair: &mut Pair| {
        let start = Instant::now();
        assert!(pair.goes_up() && pair.goes_down());
        start.elapsed()
    };
    stage.hosts[0].delay(Duration::from_millis(60));
    assert!(round(&mut slow) >= Duration::from_millis(120));
    let mut other = stage.pair(1, 0);
    stage.hosts[0].delay(LONG_DELAY);
    assert!(round(&mut other) < LONG_DELAY, "the other host is not slowed down");
    stage.hosts[0].heal();
    assert!(round(&mut slow) < LONG_DELAY, "it is quick again");
}

fn every_host_has_its_own_folders_and_a_clone_of_one_repository(apart: Apart) {
    let stage = stage(apart);
    let [one, two] = &stage.hosts[..] else { panic!("two hosts") };
    assert_ne!((&one.home, &one.state, &one.runtime), (&two.home, &two.state, &two.runtime));
    one.commit(&[("a.txt", "1\n")]);
    one.git(&["push", "--quiet"]);
    two.git(&["pull", "--quiet"]);
    assert_eq!(two.text("a.txt"), "1\n");
    let first = ["rev-list", "--max-parents=0", "HEAD"];
    assert_eq!(one.git(&first), two.git(&first), "one repository by its first commit");
}

fn a_small_disk_can_be_filled_and_emptied(apart: Apart) {
    let stage = stage(apart);
    let host = &stage.hosts[0];
    let Some(disk) = SmallDisk::under(host, 1) else { return };
    let writes = |name: &str| {
        let mut command = host.command_in(&host.state, "sh");
        command.args(["-c", "echo word > $0", name]).stderr(Stdio::null()).status().expect("sh runs").success()
    };
    assert!(writes("one"));
    disk.fill();
    assert!(!writes("two"), "no room");
    disk.empty();
    assert!(writes("three"));
}

fn every_host_reaches_every_member_of_a_cluster_until_it_is_cut_off(apart: Apart) {
    let mut world = World::new(apart, 3, "").expect("a world");
    until("all members answer all hosts", || world.hosts.iter().all(|host| reached(host) == [true; 3]));
    world.hosts[0].cut(Direction::Both);
    assert_eq!(reached(&world.hosts[0]), [false; 3]);
    until("the members answer who is not cut off", || reached(&world.hosts[1]) == [true; 3]);
    world.hosts[0].heal();
    until("it is back", || reached(&world.hosts[0]) == [true; 3]);
    let leader = world.etcd.leader();
    world.etcd.kill(leader);
    assert_ne!(world.etcd.leader(), leader, "the test sees the members whatever is cut");
    until("the other two answer", || {
        let left = reached(&world.hosts[0]);
        assert!(!left[leader], "it is dead: {left:?}");
        left.iter().filter(|up| **up).count() == 2
    });
}

/// Which members tell this host their version.
fn reached(host: &Host) -> [bool; 3] {
    let ask = |at: &SocketAddr| {
        let mut stream = TcpStream::connect_timeout(at, MOMENT).ok()?;
        stream.set_read_timeout(Some(MOMENT)).ok()?;
        write!(stream, "GET /version HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("etcdserver").then_some(())
    };
    let all = host.inside(|| host.endpoints().iter().map(|at| ask(at).is_some()).collect::<Vec<_>>());
    all.try_into().expect("three members")
}

/// What a program on a host sees of it.
fn seen(host: &Host, words: &str) -> String {
    let output = host.command("sh").args(["-c", words]).output().expect("sh runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn namespaces_give_each_host_a_name_a_boot_and_a_clock_of_its_own() {
    rr_tests::hosts::play(Apart::Namespaces, |apart| {
        let stage = stage(apart);
        if stage.machines.apart() == Apart::Links {
            return;
        }
        let [one, two] = &stage.hosts[..] else { panic!("two hosts") };
        assert_eq!((seen(one, "hostname"), one.name()), ("host-1".to_owned(), "host-1".to_owned()));
        let boot = "cat /proc/sys/kernel/random/boot_id";
        assert_ne!(seen(one, boot), seen(two, boot));
        let uptime = |host| seen(host, "cut -d. -f1 /proc/uptime").parse::<i64>().expect("seconds");
        assert!((uptime(two) - uptime(one)).abs() > 10_000, "{} and {}", uptime(one), uptime(two));
        assert_eq!(seen(one, "ip route"), "10.77.0.0/24 dev eth0 proto kernel scope link src 10.77.0.1");

        let start = |host: &Host| {
            let mut sleep = host.command("sh");
            let mut child = sleep.args(["-c", "echo; exec sleep 60"]).stdout(Stdio::piped()).spawn().expect("start");
            // A program that is still on its way to the host would not lose its power.
            child.stdout.take().expect("piped").read_exact(&mut [0]).expect("it runs there");
            child
        };
        let (mut lost, mut kept, before) = (start(one), start(two), seen(one, boot));
        one.lose_power();
        assert!(!lost.wait().expect("it ended").success());
        assert_eq!(kept.try_wait().expect("look"), None, "the other host has power");
        kept.kill().expect("end it");
        kept.wait().expect("it ended");
        assert_ne!(seen(one, boot), before, "the next boot");
        assert_eq!(seen(one, "hostname"), "host-1");
    });
}

/// Set for a run of `a_host_runs_programs` that is to be killed.
const HOLD: &str = "RAILROAD_TEST_HOLD";

#[test]
fn a_host_runs_programs() {
    rr_tests::hosts::play(Apart::Namespaces, |apart| {
        let stage = stage(apart);
        let mut program = stage.hosts[0].command("sleep").arg("600").spawn().expect("start");
        assert_eq!(program.try_wait().expect("look"), None);
        if std::env::var_os(HOLD).is_some() {
            println!("\nheld in {}", stage.hosts[0].home.display());
            // It may return for no reason.
            loop {
                std::thread::park();
            }
        }
        program.kill().expect("end it");
        program.wait().expect("it ended");
    });
}

#[test]
fn a_killed_test_leaves_no_process_and_its_folder_goes_with_the_next_run() {
    let temporary = tempfile::tempdir().expect("folder");
    let this = || {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", "a_host_runs_programs", "--nocapture"]).env("TMPDIR", temporary.path());
        command.env_remove("RAILROAD_TEST_ROOM").stdin(Stdio::null()).process_group(0);
        command
    };
    let mut doomed = this().env(HOLD, "1").stdout(Stdio::piped()).spawn().expect("start");
    let mut lines = BufReader::new(doomed.stdout.take().expect("a pipe")).lines();
    let held = lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("held in ").map(str::to_owned));
    let held = held.expect("it says where it is");
    until("its program runs", || !naming(&held).is_empty());
    doomed.kill().expect("kill it");
    doomed.wait().expect("it ended");
    let folder = temporary.path().canonicalize().expect("a path");
    let left = || fs::read_dir(&folder).expect("look").count();
    if rooms_have_walls() {
        until("nothing runs any more", || naming(&folder.display().to_string()).is_empty());
    }
    assert_eq!(left(), 1, "a folder is left");
    assert!(this().stdout(Stdio::null()).status().expect("runs").success());
    assert_eq!((left(), naming(&held)), (0, vec![]));
}

/// Where namespaces are refused, what runs is ended by the next run.
fn rooms_have_walls() -> bool {
    let probe = ["--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "true"];
    Command::new("unshare").args(probe).status().is_ok_and(|status| status.success())
}

/// Processes whose environment names a folder.
fn naming(folder: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("look at the processes").flatten();
    let own = std::process::id().to_string();
    let names = |entry: fs::DirEntry| {
        let pid = entry.file_name().into_string().ok()?;
        let text = fs::read(entry.path().join("environ")).unwrap_or_default();
        let names = pid != own && String::from_utf8_lossy(&text).contains(folder);
        names.then_some(pid)
    };
    processes.filter_map(names).collect()
}
