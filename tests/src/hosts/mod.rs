//! Several hosts on this machine, each with its own home, state, sockets and repository clone, and machines for servers that
//! they all use; and what can happen to them: cables cut one way or both, delays, a full disk, a loss of power.
//!
//! Two ways to keep them apart behind one interface: network namespaces on a bridge ([`Apart::Namespaces`]), or one loopback
//! with a process for each wire ([`Apart::Links`]), which is also what remains where namespaces are refused. Everything is
//! inside the wall of [`crate::isolation`] where there is one, so nothing else on the machine can be touched, and the
//! kernel clears away what a killed test leaves. Why so: `docs/adr/0013-test-hosts.md`. Programs are killed and
//! stopped through [`crate::daemon`]; etcd is `crate::etcd`'s.

mod delay;
mod disk;
mod links;
mod namespace;
mod programs;
mod switch;
mod world;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::daemon::Sandbox;
use crate::isolation;
use crate::room::Room;
use delay::Delay;
pub use disk::SmallDisk;
use links::Link;
pub use namespace::Namespace;
pub use programs::{Kind, Program};
use switch::{Cut, Switch};
pub use world::World;

/// Addresses of servers begin behind this many hosts.
const HOSTS_MAX: u8 = 100;

/// How hosts are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// Each has a network, a name, mounts and a clock since boot of its own.
    Namespaces,
    /// All are on one loopback, and reach servers through wires that can be cut. A connection made during a cut is taken by
    /// the near end of the wire and then meets silence, where with a real cut it would not even be taken.
    Links,
}

/// What of a host's traffic is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Both,
    /// What it sends arrives nowhere.
    Up,
    /// Nothing that is sent to it arrives.
    Down,
}

/// Runs `story` in a wall of its own; call it from the body of a `#[test]`, with a closure written there.
///
/// # Panics
/// When the story does.
pub fn play<Story: FnOnce(Apart)>(apart: Apart, story: Story) {
    isolation::alone_as(isolation::test_of::<Story>(), async move || -> Result<()> {
        tokio::task::block_in_place(|| story(apart));
        Ok(())
    });
}

/// The machines of one test, before anything runs on them.
pub struct Machines {
    apart: Apart,
    switch: Option<Arc<Switch>>,
    hosts: Vec<Option<Arc<Namespace>>>,
    spots: Vec<Spot>,
    folder: PathBuf,
    /// Where no wall has made one.
    _room: Option<Room>,
}

/// Where a server may run.
pub struct Spot {
    machine: Option<Namespace>,
}

impl Spot {
    /// The address that it has to listen on.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.machine.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), Namespace::ip)
    }

    /// What goes before its command.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        self.machine.as_ref().map(Namespace::prefix).unwrap_or_default()
    }

    /// Does something there, as to open a socket.
    pub fn inside<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> T {
        match &self.machine {
            Some(machine) => machine.inside(deed),
            None => deed(),
        }
    }
}

impl Machines {
    /// So many hosts and spots for servers. Where namespaces are refused they are kept apart by links, and that is said.
    ///
    /// # Errors
    /// If the kernel refuses something else.
    pub fn new(apart: Apart, hosts: u8, spots: u8) -> Result<Self> {
        let apart = if isolation::walled() { apart } else { Apart::Links };
        if !isolation::walled() {
            eprintln!("NO NAMESPACES: they are refused here; hosts are folders, and wires are processes on loopback");
        }
        let (folder, room) = folder()?;
        let mut machines = Self { apart, switch: None, hosts: vec![], spots: vec![], folder, _room: room };
        if apart == Apart::Namespaces {
            machines.switch = Some(Arc::new(Switch::new()?));
        }
        for number in 1..=hosts {
            let machine = machines.machine(&format!("host-{number}"), number)?.map(Arc::new);
            machines.hosts.push(machine);
        }
        for number in 1..=spots {
            let machine = machines.machine(&format!("server-{number}"), HOSTS_MAX + number)?;
            machines.spots.push(Spot { machine });
        }
        machines.make_origin()?;
        Ok(machines)
    }

    fn machine(&self, name: &str, number: u8) -> Result<Option<Namespace>> {
        let Some(switch) = &self.switch else { return Ok(None) };
        let machine = Namespace::new(name, number, &self.folder)?;
        switch.plug_in(&machine)?;
        Ok(Some(machine))
    }

    /// The bare repository that every host has a clone of.
    fn make_origin(&self) -> Result<()> {
        let first = Sandbox::on(&self.folder.join("first"), vec![], None);
        let (from, to) = (first.repo.as_os_str(), self.folder.join("origin.git"));
        let cloned = first.command("git").args(["clone", "--quiet", "--bare"]).args([from, to.as_os_str()]).status()?;
        anyhow::ensure!(cloned.success(), "git clone --bare: {cloned}");
        Ok(())
    }

    #[must_use]
    pub const fn apart(&self) -> Apart {
        self.apart
    }

    /// A folder for whatever belongs to the whole test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    #[must_use]
    pub fn spots(&self) -> &[Spot] {
        &self.spots
    }

    /// The hosts, wired to `servers`: one on each spot, in their order.
    ///
    /// # Errors
    /// If a wire cannot be laid.
    pub fn hosts(&self, servers: &[SocketAddr]) -> Result<Vec<Host>> {
        let host = |(n, machine): (usize, &Option<Arc<Namespace>>)| {
            let prefix = machine.as_ref().map(|m| m.prefix()).unwrap_or_default();
            let folder = self.folder.join(format!("h{}", n + 1));
            let sandbox = Sandbox::on(&folder, prefix, Some(&self.folder.join("origin.git")));
            let wires = match (machine, &self.switch) {
                (Some(machine), Some(switch)) => Wires::Cable {
                    machine: Arc::clone(machine),
                    switch: Arc::clone(switch),
                    servers: self.spots.iter().filter_map(|s| Some(s.machine.as_ref()?.port())).collect(),
                    delay: Mutex::default(),
                },
                _ => Wires::Links(servers.iter().map(|&far| Link::to(&sandbox, far)).collect::<Result<_>>()?),
            };
            let endpoints = match &wires {
                Wires::Cable { .. } => servers.to_vec(),
                Wires::Links(links) => links.iter().map(Link::at).collect(),
            };
            Ok(Host { sandbox, endpoints, wires })
        };
        self.hosts.iter().enumerate().map(host).collect()
    }
}

/// Within the wall the test's own folder, in memory: etcd syncs at every write, and tests share one disk.
fn folder() -> Result<(PathBuf, Option<Room>)> {
    let Some(room) = isolation::room() else {
        let room = Room::new().context("make the test's folder")?;
        return Ok((room.path().to_owned(), Some(room)));
    };
    let folder = room.join("w");
    fs::create_dir(&folder).context("make the test's folder")?;
    let mut mount = Command::new("mount");
    // Without the right to mount the disk will do.
    namespace::works(mount.args(["-t", "tmpfs", "-o", "mode=0700", "rr-test"]).arg(&folder));
    Ok((folder, None))
}

/// One machine of an agent's person: a [`Sandbox`] that can be cut off from the servers.
pub struct Host {
    // First, since it ends its daemon, and needs the machine for that.
    sandbox: Sandbox,
    endpoints: Vec<SocketAddr>,
    wires: Wires,
}

enum Wires {
    Cable { machine: Arc<Namespace>, switch: Arc<Switch>, servers: Vec<String>, delay: Mutex<Option<Delay>> },
    Links(Vec<Link>),
}

impl Deref for Host {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Host {
    /// The servers as this host has to call them.
    #[must_use]
    pub fn endpoints(&self) -> &[SocketAddr] {
        &self.endpoints
    }

    /// The name that people know it by.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.wires {
            Wires::Cable { machine, .. } => machine.name().to_owned(),
            Wires::Links(_) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    /// Does something on a thread of this host, as to connect to a server.
    pub fn inside<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> T {
        match &self.wires {
            Wires::Cable { machine, .. } => machine.inside(deed),
            Wires::Links(_) => deed(),
        }
    }

    /// Cuts it off from everything. Connections stay as they are, and nothing comes through them.
    ///
    /// # Panics
    /// If it cannot be done; so below.
    pub fn cut(&self, direction: Direction) {
        match &self.wires {
            Wires::Cable { machine, switch, .. } => {
                switch.cut(cuts(&machine.port(), None, direction)).expect("cut a host off");
            }
            Wires::Links(links) => links.iter().for_each(|link| link.order(word(direction)).expect("cut a link")),
        }
    }

    /// Cuts it off from one server alone.
    pub fn cut_from(&self, server: usize, direction: Direction) {
        match &self.wires {
            Wires::Cable { machine, switch, servers, .. } => {
                let server = Some(servers[server].clone());
                switch.cut(cuts(&machine.port(), server, direction)).expect("cut a host off from a server");
            }
            Wires::Links(links) => links[server].order(word(direction)).expect("cut a link"),
        }
    }

    /// From now on everything takes so much longer, each way.
    pub fn delay(&self, by: Duration) {
        match &self.wires {
            Wires::Cable { machine, delay, .. } => {
                let mut held = delay.lock().unwrap_or_else(PoisonError::into_inner);
                // The old one first: there is one queue.
                *held = None;
                *held = Some(Delay::on(machine, by).expect("delay a host"));
            }
            Wires::Links(links) => {
                let order = format!("delay {}", by.as_millis());
                links.iter().for_each(|link| link.order(&order).expect("delay a link"));
            }
        }
    }

    /// No cuts and no delay any more.
    pub fn heal(&self) {
        match &self.wires {
            Wires::Cable { machine, switch, delay, .. } => {
                *delay.lock().unwrap_or_else(PoisonError::into_inner) = None;
                switch.heal(&machine.port()).expect("heal a host");
            }
            Wires::Links(links) => links.iter().for_each(|link| link.order("heal").expect("heal a link")),
        }
    }

    /// Ends all its programs at once, as a loss of power does; those started afterwards run in another boot. Links have
    /// no boots: there, whoever started a program has to kill it.
    pub fn lose_power(&self) {
        if let Wires::Cable { machine, .. } = &self.wires {
            machine.lose_power();
        }
    }
}

fn cuts(host: &str, server: Option<String>, direction: Direction) -> Vec<Cut> {
    let up = Cut { from: Some(host.to_owned()), to: server.clone() };
    let down = Cut { from: server, to: Some(host.to_owned()) };
    match direction {
        Direction::Both => vec![up, down],
        Direction::Up => vec![up],
        Direction::Down => vec![down],
    }
}

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "cut both",
        Direction::Up => "cut up",
        Direction::Down => "cut down",
    }
}

/// Each story as two tests of its name: with the hosts in namespaces, and with the hosts on links.
#[macro_export]
macro_rules! on_hosts {
    ($($story:ident),* $(,)?) => {
        mod in_namespaces {
            $(#[test]
            fn $story() {
                $crate::hosts::play($crate::hosts::Apart::Namespaces, |apart| super::$story(apart));
            })*
        }
        mod on_links {
            $(#[test]
            fn $story() {
                $crate::hosts::play($crate::hosts::Apart::Links, |apart| super::$story(apart));
            })*
        }
    };
}
