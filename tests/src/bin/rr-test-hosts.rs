//! Hosts on this machine for a look by hand (`cargo xtask hosts`): a sidecar for each, with a configuration, state and sockets
//! of its own, on the etcd of `cargo xtask etcd`. Owns those folders and processes; the processes end with it, the
//! folders stay. What the tests run on is `rr_tests::hosts`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rr_tests::wait::asked_to_end;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const HELP: &str = "\
cargo xtask hosts [N] [--port N] [--data FOLDER]    N hosts (2) with a sidecar each until Ctrl-C, on the etcd of `cargo xtask etcd`

--port is that etcd's (12379 without). What the hosts keep stays in FOLDER (target/hosts without --data).";

const HOSTS: u8 = 2;
const HOSTS_MAX: u8 = 16;
/// Of `rr-test-etcd`.
const PORT: u16 = 12_379;
const MEMBERS: u16 = 3;
/// A sidecar waits for its store; this is for a person who has not started it.
const START_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Plan {
    hosts: u8,
    port: u16,
    data: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hosts: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut words: impl Iterator<Item = String>) -> Result<Option<Plan>> {
    let mut plan = Plan { hosts: HOSTS, port: PORT, data: PathBuf::from("target/hosts") };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--port" => plan.port = words.next().context("--port needs a number")?.parse().context("--port")?,
            "--data" => plan.data = words.next().context("--data needs a folder")?.into(),
            number => plan.hosts = number.parse().with_context(|| format!("not understood: {number}\n\n{HELP}"))?,
        }
    }
    ensure!((1..=HOSTS_MAX).contains(&plan.hosts), "1 to {HOSTS_MAX} hosts, not {}", plan.hosts);
    Ok(Some(plan))
}

/// One of them.
struct Host {
    number: u8,
    folder: PathBuf,
    runtime: PathBuf,
}

impl Host {
    fn set_up(plan: &Plan, number: u8) -> Result<Self> {
        let folder = plan.data.join(format!("h{number}"));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let folder = folder.canonicalize().context("find its path")?;
        // Not in the folder: a socket's path may have 103 bytes, and a checkout's may be long.
        let uid = rustix::process::geteuid().as_raw();
        let runtime = std::env::temp_dir().join(format!("railroad-hosts-{uid}-h{number}"));
        let host = Self { number, folder, runtime };
        let member = |m| format!("\"http://127.0.0.1:{}\"", plan.port + 2 * m);
        let members: Vec<String> = (0..MEMBERS).map(member).collect();
        let config = format!("store: {{ kind: etcd, endpoints: [{}] }}\n", members.join(", "));
        fs::write(host.config(), config).context("write config.yaml")?;
        fs::write(host.folder.join("env"), host.environment()?).context("write env")?;
        Ok(host)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.yaml")
    }

    fn variables(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("RAILROAD_CONFIG", self.config()),
            ("RAILROAD_STATE_DIR", self.folder.join("state")),
            ("RAILROAD_RUNTIME_DIR", self.runtime.clone()),
        ]
    }

    /// What makes a shell one of this host.
    fn environment(&self) -> Result<String> {
        let own = own_program()?;
        let programs = own.parent().context("programs are in a folder")?;
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
        let mut text: String =
            self.variables().iter().map(|(name, path)| format!("export {name}={}\n", quoted(path))).collect();
        text.push_str(&format!("export PATH={}:\"$PATH\"\n", quoted(programs)));
        Ok(text)
    }

    async fn start(&self) -> Result<Child> {
        let log = fs::File::create(self.folder.join("sidecar.log")).context("open its log")?;
        let mut command = Command::new(own_program()?.with_file_name("rr-sidecar"));
        command.envs(self.variables()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A group of its own: a Ctrl-C in the terminal is for us, who end them in order.
        let mut child = command.process_group(0).kill_on_drop(true).spawn().context("start rr-sidecar")?;
        let socket = self.runtime.join("hook.sock");
        let answers = async {
            while UnixStream::connect(&socket).await.is_err() {
                sleep(LOOK_EVERY).await;
            }
        };
        let said = || fs::read_to_string(self.folder.join("sidecar.log")).unwrap_or_default();
        tokio::select! {
            () = answers => Ok(child),
            () = sleep(START_MAX) => bail!("its sidecar does not answer; does `cargo xtask etcd` run?\n{}", said()),
            ended = child.wait() => bail!("its sidecar ended ({}):\n{}", ended?, said()),
        }
    }
}

/// The others of this build lie beside it.
fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("find this program's file")
}

async fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let Some(plan) = plan(words)? else {
        println!("{HELP}");
        return Ok(());
    };
    let hosts = (1..=plan.hosts).map(|number| Host::set_up(&plan, number)).collect::<Result<Vec<_>>>()?;
    let mut sidecars = Vec::new();
    let ended = tokio::select! {
        ended = asked_to_end() => ended,
        failed = run_them(&hosts, &mut sidecars) => failed,
    };
    for sidecar in &sidecars {
        ask_to_end(sidecar);
    }
    for sidecar in &mut sidecars {
        // One that does not want to is killed when it is dropped.
        let _ = timeout(END_MAX, sidecar.wait()).await;
    }
    for host in &hosts {
        // Nothing but sockets; a sidecar that was never started has made none.
        let _ = fs::remove_dir_all(&host.runtime);
    }
    ended
}

/// Until one of them ends by itself.
async fn run_them(hosts: &[Host], sidecars: &mut Vec<Child>) -> Result<()> {
    for host in hosts {
        sidecars.push(host.start().await.with_context(|| format!("host {}", host.number))?);
        println!("Host {} runs. A shell of it: . {}", host.number, host.folder.join("env").display());
    }
    println!("End them with Ctrl-C.");
    loop {
        for (host, sidecar) in hosts.iter().zip(&mut *sidecars) {
            if let Some(ended) = sidecar.try_wait().context("look at a sidecar")? {
                bail!(
                    "the sidecar of host {} ended ({ended}), see {}",
                    host.number,
                    host.folder.join("sidecar.log").display()
                );
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

fn ask_to_end(sidecar: &Child) {
    if let Some(pid) = sidecar.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
        // Not reaped yet, so the pid is still its own.
        let _ = kill_process(pid, Signal::TERM);
    }
}
