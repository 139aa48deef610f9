//! The show's own etcd: three members on loopback, on addresses and with data that nobody else has. Owns those processes, and
//! who leads them; they end with this value. What is kept in them is the daemons'.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rr_runtime::clock::BootClock;
use rr_store::etcd::{EtcdOptions, EtcdStore, Member};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::exit::{Failure, Kind};

/// A majority is left when one is killed.
const MEMBERS: u8 = 3;
/// Ports of one address: a claim, then a pair for each member.
const CLAIM_PORT: u16 = 12_378;
/// Members need a few seconds on a busy machine; only a hang reaches it.
const READY_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Cluster {
    program: PathBuf,
    folder: PathBuf,
    ip: IpAddr,
    /// By index; nothing once killed.
    members: Mutex<Vec<Option<Child>>>,
    /// Held for as long as the address is ours.
    _claim: TcpListener,
}

impl Cluster {
    /// Starts them, with their data in `folder`, and returns once they serve.
    pub(crate) async fn start(program: &Path, folder: &Path) -> Result<Self, Failure> {
        let (ip, claim) = claim().ok_or_else(|| Failure::new(Kind::Failed, "no loopback address is free for etcd"))?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        let cluster = Self { program, folder, ip, members: Mutex::default(), _claim: claim };
        let started = (0..MEMBERS).map(|member| cluster.spawn(member).map(Some)).collect::<Result<_, _>>()?;
        *cluster.members.lock().await = started;
        match timeout(READY_MAX, cluster.leader()).await {
            Ok(_) => Ok(cluster),
            Err(_) => Err(Failure::new(Kind::Failed, "the demo's etcd does not serve").because(cluster.log(0))),
        }
    }

    fn port(member: u8) -> u16 {
        CLAIM_PORT + 1 + 2 * u16::from(member)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..MEMBERS).map(|member| SocketAddr::new(self.ip, Self::port(member))).collect()
    }

    fn spawn(&self, member: u8) -> Result<Child, Failure> {
        let failed = |e| Failure::at(format!("start {}", self.program.display()), &e);
        let log = File::create(self.folder.join(format!("m{member}.log"))).map_err(failed)?;
        let url = |port| format!("http://{}", SocketAddr::new(self.ip, port));
        let (client, peer) = (url(Self::port(member)), |m| url(Self::port(m) + 1));
        let all: Vec<String> = (0..MEMBERS).map(|m| format!("m{m}={}", peer(m))).collect();
        let mut command = Command::new(&self.program);
        command.args([
            format!("--name=m{member}"),
            format!("--data-dir={}", self.folder.join(format!("m{member}")).display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={}", peer(member)),
            format!("--initial-advertise-peer-urls={}", peer(member)),
            format!("--initial-cluster={}", all.join(",")),
            "--log-level=warn".to_owned(),
        ]);
        // etcd reads flags from there, too.
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ETCD_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        let log_too = log.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(log_too).stderr(log).process_group(0).kill_on_drop(true);
        command.spawn().map_err(failed)
    }

    /// The member that all who answer take for the leader, as soon as there is one.
    async fn leader(&self) -> usize {
        let endpoints: Vec<String> = self.addresses().iter().map(|at| format!("http://{at}")).collect();
        loop {
            let options = EtcdOptions { endpoints: endpoints.clone(), ..EtcdOptions::default() };
            if let Ok(store) = EtcdStore::connect(options, Arc::new(BootClock)).await {
                let members = store.members().await;
                let leads = |m: &Member| m.status.as_ref().is_ok_and(rr_store::etcd::MemberStatus::is_leader);
                let found = members.iter().find(|m| leads(m));
                if let Some(index) = found.and_then(|m| endpoints.iter().position(|e| *e == m.endpoint)) {
                    return index;
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the leader as a crash does, and returns once another one leads. Says which it was.
    pub(crate) async fn kill_leader(&self) -> Result<usize, Failure> {
        let mute = |_| Failure::new(Kind::Failed, "the demo's etcd has no leader").because(self.log(0));
        let leader = timeout(READY_MAX, self.leader()).await.map_err(mute)?;
        if let Some(mut member) = self.members.lock().await.get_mut(leader).and_then(Option::take) {
            member.kill().await.map_err(|e| Failure::at("kill a member of etcd", &e))?;
        }
        timeout(READY_MAX, self.leader()).await.map_err(mute)?;
        Ok(leader)
    }

    /// Ends what still runs, without waiting for it.
    pub(crate) fn end(&self) {
        // Whoever holds it is just killing a member; the others go with this value.
        for member in self.members.try_lock().iter_mut().flat_map(|members| members.iter_mut()).flatten() {
            let _ = member.start_kill();
        }
    }

    fn log(&self, member: u8) -> String {
        std::fs::read_to_string(self.folder.join(format!("m{member}.log"))).unwrap_or_default()
    }
}

/// An address that no other show uses, and the socket that keeps the others away from it. Where loopback has one address
/// only (macOS), there is one show at a time.
fn claim() -> Option<(IpAddr, TcpListener)> {
    // Spread by process, so that shows that begin at once do not all look at the same one.
    let [.., low] = std::process::id().to_be_bytes();
    let own = (0..=u8::MAX).map(|n| Ipv4Addr::new(127, 240, low.wrapping_add(n), 1));
    own.chain([Ipv4Addr::LOCALHOST]).find_map(|ip| Some((ip.into(), TcpListener::bind((ip, CLAIM_PORT)).ok()?)))
}
