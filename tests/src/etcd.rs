//! A real etcd cluster of any size, as processes of this machine: each cluster on loopback addresses of its own, or where a
//! test seats its members (a network namespace, another program, more flags).
//!
//! Owns their folders, addresses and processes; nothing of it is left when it is dropped. It looks at them over their plain
//! `/health` and `/metrics`, whatever their client side asks for, and knows no etcd client. Faults are signals.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::daemon::threads_are_stopped;

pub const CLIENT_PORT: u16 = 2379;
pub const PEER_PORT: u16 = 2380;
pub const METRICS_PORT: u16 = 2381;
/// Held by the test itself for as long as it uses a cluster's addresses.
const CLAIM_PORT: u16 = 2382;
/// Only a hang reaches it: three members on a busy machine need a few seconds.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const PROBE_MAX: Duration = Duration::from_secs(2);
/// 127.16.0.x to 127.239.255.x: what lies below and above is left to other tools.
const NETS: u32 = 224 * 256;

/// How a cluster differs from a plain one.
#[derive(Clone, Debug, Default)]
pub struct EtcdSetup {
    /// More flags for each member, such as `--quota-backend-bytes=4194304`.
    pub flags: Vec<String>,
    /// Where the members run. Empty: on loopback addresses of this cluster's own.
    pub seats: Vec<Seat>,
    /// The members' client side then speaks https and asks for client certificates.
    pub tls: Option<EtcdTls>,
    /// Another etcd than the one that comes with the workspace.
    pub program: Option<PathBuf>,
    /// An existing folder for the data, in a new one; else where temporary files are.
    pub folder: Option<PathBuf>,
}

/// Where one member runs.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Clients, peers and this test reach it there.
    pub ip: IpAddr,
    /// Put before the command: `["ip", "netns", "exec", "etcd-1"]`. It has to become the program, not wait for it.
    pub prefix: Vec<OsString>,
    pub flags: Vec<String>,
}

/// PEM files for the members' client side.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The data of all members at one moment.
pub struct Backup(tempfile::TempDir);

pub struct EtcdCluster {
    root: tempfile::TempDir,
    setup: EtcdSetup,
    seats: Vec<Seat>,
    members: Vec<Option<Child>>,
    frozen: Vec<bool>,
    _claim: Option<TcpListener>,
}

impl EtcdCluster {
    /// Starts `members` of them and waits until they serve.
    ///
    /// # Panics
    /// If that fails; so do all of its methods.
    #[must_use]
    pub fn start(members: usize, setup: EtcdSetup) -> Self {
        let folder = setup.folder.clone().unwrap_or_else(std::env::temp_dir);
        let root = tempfile::Builder::new().prefix("rr-etcd-").tempdir_in(folder).expect("make a folder for etcd");
        let (seats, claim) = if setup.seats.is_empty() {
            let (seats, claim) = free_seats(members);
            (seats, Some(claim))
        } else {
            (setup.seats.clone(), None)
        };
        assert_eq!(seats.len(), members, "a seat for each member");
        let none = (0..members).map(|_| None).collect();
        let mut cluster = Self { root, setup, seats, members: none, frozen: vec![false; members], _claim: claim };
        for member in 0..members {
            cluster.spawn(member);
        }
        cluster.wait_healthy();
        cluster
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// For clients, one a member, in the members' order.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.len()).map(|member| self.endpoint(member)).collect()
    }

    #[must_use]
    pub fn endpoint(&self, member: usize) -> String {
        let scheme = if self.setup.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", SocketAddr::new(self.seats[member].ip, CLIENT_PORT))
    }

    #[must_use]
    pub fn ip(&self, member: usize) -> IpAddr {
        self.seats[member].ip
    }

    #[must_use]
    pub fn data_dir(&self, member: usize) -> PathBuf {
        self.root.path().join(format!("m{member}"))
    }

    /// The leader's index, as soon as a running member says that it is the leader.
    #[must_use]
    pub fn leader(&self) -> usize {
        let mut found = None;
        until(
            "etcd has a leader",
            || self.log(0),
            || {
                found =
                    (0..self.len()).find(|m| self.runs(*m) && self.metric(*m, "etcd_server_is_leader") == Some(1.0));
                found.is_some()
            },
        );
        found.expect("just found")
    }

    /// A member that is running and not the leader.
    #[must_use]
    pub fn follower(&self) -> usize {
        let leader = self.leader();
        (0..self.len()).find(|m| *m != leader && self.runs(*m)).expect("a running follower")
    }

    /// A figure of a member's `/metrics`, summed over its labels unless they are given; none if it does not answer.
    #[must_use]
    pub fn metric(&self, member: usize, name: &str) -> Option<f64> {
        let text = self.get(member, "/metrics")?;
        let figures = text.lines().filter_map(|line| line.rsplit_once(' '));
        let figures = figures.filter(|(series, _)| *series == name || series.split('{').next() == Some(name));
        figures.filter_map(|(_, value)| value.trim().parse().ok()).reduce(|sum: f64, value: f64| sum + value)
    }

    /// What clients have asked a member since its start: keep-alives of leases, and all else. None if it does not answer.
    #[must_use]
    pub fn requests(&self, member: usize) -> Option<(f64, f64)> {
        let text = self.get(member, "/metrics")?;
        let messages = text.lines().filter(|line| line.starts_with("grpc_server_msg_received_total{"));
        let mut sums = (0.0, 0.0);
        for line in messages {
            let count: f64 = line.rsplit_once(' ')?.1.trim().parse().ok()?;
            let sum = if line.contains("\"LeaseKeepAlive\"") { &mut sums.0 } else { &mut sums.1 };
            *sum += count;
        }
        Some(sums)
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].take() {
            signal_group(child.id(), Signal::KILL);
            child.wait().expect("wait for etcd");
        }
        self.frozen[member] = false;
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self, member: usize) {
        self.ask_to_end(member);
        self.wait_ended(member);
    }

    /// Freezes it: its connections stay, and nothing answers.
    pub fn stop(&mut self, member: usize) {
        let pid = self.pid(member);
        signal_group(pid, Signal::STOP);
        until("every thread of etcd has stopped", String::new, || threads_are_stopped(pid));
        self.frozen[member] = true;
    }

    /// Lets a frozen one go on.
    pub fn cont(&mut self, member: usize) {
        signal_group(self.pid(member), Signal::CONT);
        self.frozen[member] = false;
    }

    /// Starts one that is not running, or ends it as a crash does and starts it again. Does not wait until it serves.
    pub fn restart(&mut self, member: usize) {
        self.kill(member);
        self.spawn(member);
    }

    /// Ends all members at once, as a crash or (`clean`) as an operator does, and starts them on the same data.
    pub fn restart_all(&mut self, clean: bool) {
        self.end_all(clean);
        (0..self.len()).for_each(|member| self.spawn(member));
        self.wait_healthy();
    }

    /// Waits until each member that is running and not frozen serves, with a leader. A full store counts as healthy.
    pub fn wait_healthy(&self) {
        for member in (0..self.len()).filter(|m| self.runs(*m)) {
            until("etcd serves", || self.log(member), || self.is_healthy(member));
        }
    }

    #[must_use]
    pub fn is_healthy(&self, member: usize) -> bool {
        let healthy = self.get(member, "/health?exclude=NOSPACE");
        healthy.is_some_and(|answer| answer.contains("\"health\":\"true\"")) && self.takes_clients(member)
    }

    /// Copies the data of all members. They are ended for it, and started again.
    #[must_use]
    pub fn backup(&mut self) -> Backup {
        self.end_all(true);
        let copy = tempfile::tempdir().expect("make a folder for a copy");
        for member in 0..self.len() {
            copy_dir(&self.data_dir(member), &copy.path().join(format!("m{member}")));
            self.spawn(member);
        }
        self.wait_healthy();
        Backup(copy)
    }

    /// Puts the data of an earlier moment in place of the present one. What was written since never happened.
    pub fn restore(&mut self, backup: &Backup) {
        self.end_all(false);
        for member in 0..self.len() {
            let dir = self.data_dir(member);
            fs::remove_dir_all(&dir).expect("clear etcd's data");
            copy_dir(&backup.0.path().join(format!("m{member}")), &dir);
            self.spawn(member);
        }
        self.wait_healthy();
    }

    fn end_all(&mut self, clean: bool) {
        for member in 0..self.len() {
            if clean { self.ask_to_end(member) } else { self.kill(member) }
        }
        (0..self.len()).for_each(|member| self.wait_ended(member));
    }

    fn ask_to_end(&mut self, member: usize) {
        if let Some(child) = &self.members[member] {
            signal_group(child.id(), Signal::TERM);
            signal_group(child.id(), Signal::CONT);
        }
    }

    fn wait_ended(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].take() {
            until("etcd ends", || self.log(member), || child.try_wait().expect("look at etcd").is_some());
        }
        self.frozen[member] = false;
    }

    fn runs(&self, member: usize) -> bool {
        self.members[member].is_some() && !self.frozen[member]
    }

    fn pid(&self, member: usize) -> u32 {
        self.members[member].as_ref().expect("the member runs").id()
    }

    fn spawn(&mut self, member: usize) {
        let log = File::options().append(true).create(true).open(self.log_path(member)).expect("open etcd's log");
        let words = self.command_line(member);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(log.try_clone().expect("share etcd's log")).stderr(log);
        // Of whoever runs the tests; etcd reads its flags from there, too.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ETCD_")) {
            command.env_remove(name);
        }
        self.members[member] = Some(command.process_group(0).spawn().expect("etcd starts"));
    }

    fn command_line(&self, member: usize) -> Vec<OsString> {
        let seat = &self.seats[member];
        let program = self.setup.program.clone().unwrap_or_else(etcd_program);
        let url = |port| format!("http://{}", SocketAddr::new(seat.ip, port));
        let peers = (0..self.len())
            .map(|m| format!("m{m}=http://{}", SocketAddr::new(self.seats[m].ip, PEER_PORT)))
            .collect::<Vec<_>>();
        let mut flags = vec![
            format!("--name=m{member}"),
            format!("--data-dir={}", self.data_dir(member).display()),
            format!("--listen-client-urls={}", self.endpoint(member)),
            format!("--advertise-client-urls={}", self.endpoint(member)),
            format!("--listen-peer-urls={}", url(PEER_PORT)),
            format!("--initial-advertise-peer-urls={}", url(PEER_PORT)),
            format!("--listen-metrics-urls={}", url(METRICS_PORT)),
            format!("--initial-cluster={}", peers.join(",")),
            "--initial-cluster-state=new".into(),
            "--log-level=warn".into(),
        ];
        if let Some(tls) = &self.setup.tls {
            flags.push(format!("--trusted-ca-file={}", tls.ca.display()));
            flags.push(format!("--cert-file={}", tls.cert.display()));
            flags.push(format!("--key-file={}", tls.key.display()));
            flags.push("--client-cert-auth".into());
        }
        let flags = flags.into_iter().chain(self.setup.flags.iter().cloned()).chain(seat.flags.iter().cloned());
        seat.prefix.iter().cloned().chain([program.into()]).chain(flags.map(OsString::from)).collect()
    }

    fn get(&self, member: usize, path: &str) -> Option<String> {
        let answer = String::from_utf8(self.ask(member, METRICS_PORT, path)?).ok()?;
        answer.starts_with("HTTP/1.0 200").then_some(answer)
    }

    /// A member listens for clients some time before it serves them. Over TLS a plain question is refused, but answered.
    fn takes_clients(&self, member: usize) -> bool {
        self.ask(member, CLIENT_PORT, "/version").is_some()
    }

    /// A plain HTTP request, as short as etcd allows.
    fn ask(&self, member: usize, port: u16, path: &str) -> Option<Vec<u8>> {
        let at = SocketAddr::new(self.seats[member].ip, port);
        let mut stream = TcpStream::connect_timeout(&at, PROBE_MAX).ok()?;
        stream.set_read_timeout(Some(PROBE_MAX)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(answer)
    }

    fn log_path(&self, member: usize) -> PathBuf {
        self.root.path().join(format!("m{member}.log"))
    }

    fn log(&self, member: usize) -> String {
        fs::read_to_string(self.log_path(member)).unwrap_or_default()
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        if thread::panicking() {
            (0..self.len()).for_each(|member| eprintln!("--- etcd m{member}\n{}", self.log(member)));
        }
        for child in self.members.iter_mut().flatten() {
            signal_group(child.id(), Signal::KILL);
            drop(child.wait());
        }
    }
}

/// The etcd that comes with the workspace.
#[must_use]
pub fn etcd_program() -> PathBuf {
    etcd_bin_vendored::etcd_bin_path().unwrap_or_else(|e| panic!("etcd for this machine: {e}")).to_owned()
}

/// Loopback addresses nobody else uses, and the socket that keeps other clusters away from them for as long as it lives:
/// for a test that must know them before it starts its cluster.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn free_seats(members: usize) -> (Vec<Seat>, TcpListener) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..NETS {
        // Spread by process, so that tests that run at once do not all begin at the same one.
        let net = std::process::id().wrapping_mul(7_919).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % NETS;
        let [_, _, high, low] = (net + 16 * 256).to_be_bytes();
        let Ok(claim) = TcpListener::bind((Ipv4Addr::new(127, high, low, 1), CLAIM_PORT)) else { continue };
        let ips = (0..members).map(|m| Ipv4Addr::new(127, high, low, u8::try_from(m + 1).expect("few members")));
        let seats: Vec<_> = ips.map(|ip| Seat { ip: ip.into(), prefix: Vec::new(), flags: Vec::new() }).collect();
        let free =
            |ip: IpAddr| [CLIENT_PORT, PEER_PORT, METRICS_PORT].iter().all(|p| TcpListener::bind((ip, *p)).is_ok());
        if seats.iter().all(|seat| free(seat.ip)) {
            return (seats, claim);
        }
    }
    panic!("no free loopback addresses for etcd");
}

/// To the whole group; one that has just ended by itself is no error.
fn signal_group(pid: u32, signal: Signal) {
    let group = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    let _ = kill_process_group(group, signal);
}

#[track_caller]
fn until(what: &str, log: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < START_MAX, "waited {START_MAX:?} and this did not happen: {what}\n{}", log());
        thread::sleep(LOOK_EVERY);
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder");
    for entry in fs::read_dir(from).expect("list etcd's data") {
        let path = entry.expect("read etcd's data").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copy etcd's data");
        }
    }
}
