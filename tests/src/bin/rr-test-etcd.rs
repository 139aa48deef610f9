//! Three etcd members on loopback for a look by hand (`cargo xtask etcd`): the etcd that comes with the workspace, in the
//! foreground, on ports of its own and with data that stays. Owns those three processes; they end with it. What the tests
//! run on is `rr_tests::etcd`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rr_tests::wait::asked_to_end;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const HELP: &str = "\
cargo xtask etcd [up] [--port N] [--data FOLDER]    three members on 127.0.0.1 until Ctrl-C, and what to write into config.yaml
cargo xtask etcd path                               where the etcd program is

Members take the ports N, N+2, N+4 for clients (12379 without --port) and the ones after them for one another. What they
hold stays in FOLDER (target/etcd without --data): remove it to begin anew.";

const MEMBERS: u16 = 3;
/// Not etcd's own, which a real one may have.
const PORT: u16 = 12_379;
/// Only a hang reaches it.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Plan {
    port: u16,
    data: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("etcd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: Vec<String>) -> Result<()> {
    let mut words = words.into_iter().peekable();
    if words.peek().is_some_and(|word| word == "--help" || word == "-h") {
        words = vec!["help".to_owned()].into_iter().peekable();
    }
    let verb = words.next_if(|word| !word.starts_with('-')).unwrap_or_else(|| "up".to_owned());
    match verb.as_str() {
        "up" => up(&plan(words)?).await,
        "path" if words.peek().is_none() => {
            println!("{}", program()?.display());
            Ok(())
        }
        "help" => {
            println!("{HELP}");
            Ok(())
        }
        _ => bail!("not understood: {verb}\n\n{HELP}"),
    }
}

fn plan(mut words: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan { port: PORT, data: PathBuf::from("target/etcd") };
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--port", Some(port)) => plan.port = port.parse().with_context(|| format!("--port {port}"))?,
            ("--data", Some(data)) => plan.data = data.into(),
            _ => bail!("not understood: {word}\n\n{HELP}"),
        }
    }
    ensure!(plan.port > 0 && plan.port < u16::MAX - 2 * MEMBERS, "--port {}: no room behind it", plan.port);
    Ok(plan)
}

fn program() -> Result<&'static Path> {
    etcd_bin_vendored::etcd_bin_path().map_err(|e| anyhow::anyhow!("{e}; name your own by `rrctl demo --etcd PATH`"))
}

impl Plan {
    const fn client_port(&self, member: u16) -> u16 {
        self.port + 2 * member
    }

    fn endpoints(&self) -> Vec<String> {
        (0..MEMBERS).map(|m| format!("http://127.0.0.1:{}", self.client_port(m))).collect()
    }

    fn flags(&self, member: u16) -> Vec<OsString> {
        let peer = |m| format!("http://127.0.0.1:{}", self.client_port(m) + 1);
        let cluster: Vec<String> = (0..MEMBERS).map(|m| format!("m{m}={}", peer(m))).collect();
        let client = &self.endpoints()[usize::from(member)];
        let mut data = OsString::from("--data-dir=");
        data.push(self.data.join(format!("m{member}")));
        let mut flags: Vec<OsString> = [
            format!("--name=m{member}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={}", peer(member)),
            format!("--initial-advertise-peer-urls={}", peer(member)),
            format!("--initial-cluster={}", cluster.join(",")),
            "--log-level=error".to_owned(),
        ]
        .map(OsString::from)
        .into();
        flags.push(data);
        flags
    }

    fn start(&self, member: u16) -> Result<Child> {
        let mut command = Command::new(program()?);
        // A group of its own: a Ctrl-C in the terminal is for us, who end them in order.
        command.args(self.flags(member)).process_group(0).kill_on_drop(true);
        command.spawn().context("start etcd")
    }
}

async fn up(plan: &Plan) -> Result<()> {
    std::fs::create_dir_all(&plan.data).with_context(|| format!("make {}", plan.data.display()))?;
    let mut members = (0..MEMBERS).map(|member| plan.start(member)).collect::<Result<Vec<_>>>()?;
    let [one, two, three] = &mut members[..] else { bail!("three members") };
    let ready = async {
        say_when_ready(plan).await?;
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        ended = asked_to_end() => ended?,
        failed = ready => failed?,
        ended = one.wait() => bail!("a member ended ({}), see above", ended?),
        ended = two.wait() => bail!("a member ended ({}), see above", ended?),
        ended = three.wait() => bail!("a member ended ({}), see above", ended?),
    }
    for member in &mut members {
        member.kill().await.context("end a member")?;
    }
    Ok(())
}

async fn say_when_ready(plan: &Plan) -> Result<()> {
    let all_listen = async {
        for member in 0..MEMBERS {
            // A member listens for clients once there is a leader.
            while TcpStream::connect(("127.0.0.1", plan.client_port(member))).await.is_err() {
                sleep(LOOK_EVERY).await;
            }
        }
    };
    timeout(START_MAX, all_listen).await.context("the members found no leader")?;
    let endpoints: Vec<String> = plan.endpoints().iter().map(|e| format!("\"{e}\"")).collect();
    println!("Three members run, their data is in {}. End them with Ctrl-C.", plan.data.display());
    println!("In ~/.config/railroad/config.yaml of every host:\n");
    println!("store: {{ kind: etcd, endpoints: [{}] }}", endpoints.join(", "));
    Ok(())
}
