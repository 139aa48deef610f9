//! A throw-away repository and the hosts around it, each with a daemon of its own, on a store of their own. Owns what is
//! started there and that nothing of it stays: no process, no folder. Next: `play` puts agents on it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::cables::Cables;
use super::cluster::Cluster;
use super::place::Place;
use super::rules::put_stand_ins;
use crate::exit::{Failure, Kind};
use crate::hookbin;

/// The daemon answers within this, or something is wrong.
const READY_MAX: Duration = Duration::from_secs(10);
const READY_TRY_EVERY: Duration = Duration::from_millis(10);
/// An asked daemon ends within this, or is killed.
const END_MAX: Duration = Duration::from_secs(6);
/// A killed process may write its last file while its folder is removed.
const REMOVE_TRIES: u32 = 20;
/// As short as the relations between the timings allow: the audience waits for a lease to run out. The cut-off is what
/// `storm` counts from.
pub(crate) const CUT_OFF: Duration = Duration::from_secs(3);
const QUICK: &str =
    "timing: { lease: 13s, keep_alive: 1s, cut_off: 3s, permit_poll: 500ms, permit_fresh: 3s, cool: 1s }";

/// On what the hosts keep what they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// One host, and a file on it.
    Embedded,
    /// So many hosts, on members that this etcd program runs as.
    Etcd { hosts: usize, program: PathBuf },
}

impl Base {
    pub(crate) const fn hosts(&self) -> usize {
        match self {
            Self::Embedded => 1,
            Self::Etcd { hosts, .. } => *hosts,
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Etcd { .. } => "etcd",
        }
    }
}

/// What the hosts of a show share, if they share an etcd.
pub(crate) struct Network {
    pub(crate) cluster: Cluster,
    /// In the hosts' order.
    pub(crate) cables: Vec<Cables>,
}

/// What is there before anybody comes.
#[derive(Clone, Copy)]
pub(crate) struct Scenery<'a> {
    /// Part of the first commit: the repository's name comes from it, and two stages are two repositories.
    pub(crate) title: &'a str,
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// Folders in which everybody looks for programs first.
    pub(crate) programs: &'a [PathBuf],
}

/// Hosts with their daemons running.
pub(crate) struct Stage {
    pub(crate) places: Vec<Place>,
    pub(crate) network: Option<Arc<Network>>,
    root: PathBuf,
    daemons: Vec<Child>,
    keep: bool,
}

impl Stage {
    /// Makes the folders and the repository, and starts the daemons.
    pub(crate) async fn set(scenery: &Scenery<'_>, base: &Base, keep: bool) -> Result<Self, Failure> {
        let Scenery { title, files, programs } = *scenery;
        let root = make_folder(title).map_err(|e| Failure::at("make a throw-away folder", &e))?;
        // From here on the folder goes when this goes.
        let mut stage = Self { places: vec![], network: None, root, daemons: vec![], keep };
        stage.make_places(base, programs)?;
        stage.fill(title, files).await?;
        if let Base::Etcd { program, .. } = base {
            stage.join_hosts(program).await?;
        }
        for place in stage.places.clone() {
            stage.start_daemon(&place).await?;
        }
        Ok(stage)
    }

    fn make_places(&mut self, base: &Base, programs: &[PathBuf]) -> Result<(), Failure> {
        let own = std::env::current_exe().map_err(|e| Failure::at("find this program's file", &e))?;
        let hook = hookbin::place(&self.root.join("bin")).map_err(|e| Failure::at("place the hook", &e))?;
        let repo = self.root.join("repo");
        let identity = "[user]\n\tname = Demo\n\temail = demo@example.invalid\n";
        for number in 1..=base.hosts() {
            let folder = if base.hosts() == 1 { self.root.clone() } else { self.root.join(format!("h{number}")) };
            let place = Place::new(&folder, &repo, &hook, &own).looking_first_in(programs);
            put(&place.home().join(".gitconfig"), identity).map_err(|e| Failure::at("write .gitconfig", &e))?;
            put_stand_ins(&place.tools()).map_err(|e| Failure::at("write stand-ins for programs", &e))?;
            self.places.push(place);
        }
        fs::create_dir(&repo).map_err(|e| Failure::at("make the repository", &e))
    }

    /// The first host; there is always one.
    pub(crate) fn first(&self) -> &Place {
        &self.places[0]
    }

    async fn fill(&self, title: &str, files: &[(&str, &str)]) -> Result<(), Failure> {
        let place = self.first();
        for (path, text) in files {
            put(&place.repo().join(path), text).map_err(|e| Failure::at(format!("write {path}"), &e))?;
        }
        let title = format!("{title} {}", self.root.display());
        for words in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", &title]] {
            place.git(words).await?;
        }
        Ok(())
    }

    /// Starts etcd, and tells each host its own way to it.
    async fn join_hosts(&mut self, program: &Path) -> Result<(), Failure> {
        let folder = self.root.join("etcd");
        fs::create_dir(&folder).map_err(|e| Failure::at("make etcd's folder", &e))?;
        let cluster = Cluster::start(program, &folder).await?;
        let mut cables = Vec::new();
        for place in &self.places {
            let laid = Cables::lay(&cluster.addresses()).await?;
            let list: Vec<String> = laid.endpoints().iter().map(|e| format!("\"{e}\"")).collect();
            let text = format!("store: {{ kind: etcd, endpoints: [{}] }}\n{QUICK}\n", list.join(", "));
            let file = place.home().join(".config/railroad/config.yaml");
            put(&file, &text).map_err(|e| Failure::at("write config.yaml", &e))?;
            cables.push(laid);
        }
        self.network = Some(Arc::new(Network { cluster, cables }));
        Ok(())
    }

    async fn start_daemon(&mut self, place: &Place) -> Result<(), Failure> {
        let failed = |e| Failure::at("start the demo's daemon", &e);
        let file = place.folder().join("daemon.log");
        let log = fs::File::create(&file).map_err(failed)?;
        let mut command = place.daemon()?;
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        self.daemons.push(command.spawn().map_err(failed)?);
        let ready = async {
            for socket in &place.sockets() {
                while UnixStream::connect(socket).await.is_err() {
                    sleep(READY_TRY_EVERY).await;
                }
            }
        };
        let mute = |how: &str| {
            let log = fs::read_to_string(&file).unwrap_or_default();
            Err(Failure::new(Kind::Failed, format!("the demo's daemon {how}")).because(log.trim()))
        };
        let Some(daemon) = self.daemons.last_mut() else { return Ok(()) };
        tokio::select! {
            () = ready => Ok(()),
            () = sleep(READY_MAX) => mute("does not answer"),
            _ = daemon.wait() => mute("ended at once"),
        }
    }

    /// Where it can be looked at afterwards, if it stays.
    pub(crate) fn kept(&self) -> Option<&Path> {
        self.keep.then_some(self.root.as_path())
    }

    /// Ends the daemons as a person would; what is left of the end is in `drop`.
    pub(crate) async fn strike(mut self) {
        let mut daemons = std::mem::take(&mut self.daemons);
        daemons.iter().for_each(ask_to_end);
        for daemon in &mut daemons {
            if timeout(END_MAX, daemon.wait()).await.is_err() {
                let _ = daemon.kill().await;
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.start_kill();
        }
        if let Some(network) = &self.network {
            network.cluster.end();
        }
        if self.keep {
            return;
        }
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir_all(&self.root) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => std::thread::sleep(READY_TRY_EVERY),
                _ => return,
            }
        }
    }
}

fn ask_to_end(daemon: &Child) {
    let pid = daemon.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Not reaped yet, so the pid is still its own.
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text))
}

/// A new folder for this user alone; a name that exists is not taken.
fn make_folder(title: &str) -> std::io::Result<PathBuf> {
    // Short, since a socket's path may have 103 bytes; resolved, so that its files have one name.
    let base = [std::env::temp_dir(), PathBuf::from("/tmp")].into_iter().find(|dir| dir.as_os_str().len() < 60);
    let base = base.unwrap_or_else(std::env::temp_dir).canonicalize()?;
    let root = base.join(format!("rr-{title}-{}-{:x}", std::process::id(), rr_runtime::clock::unix_ms() & 0xff_ffff));
    DirBuilder::new().mode(0o700).create(&root)?;
    Ok(root)
}
