//! `rrctl demo`: shows on real processes what Railroad does. The shows are in `crate::demo`; here is their end, whatever ends them.
//! Next: `broken` for the one about a broken build.

mod broken;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::demo::broken as broken_build;
use crate::demo::play::{Guarded, Outcome, Plan, play, was_ended};
use crate::demo::stage::Base;
use crate::demo::undo::STEPS;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// Above that many the locks on one file are the whole story.
const AGENTS_MAX: u64 = 24;
/// Each is a daemon of its own on this machine.
const HOSTS_MAX: u64 = 8;

/// Watch several agents work on one repository at once, in a throw-away folder
///
/// Agents are real processes that call the real hook; the daemon is a real one with a store of its own. One agent is killed
/// while it holds a lock, and the fleet is paused in the middle. One agent tries `terraform destroy`, which is refused; one wants
/// to `npm publish`, which is approved once; both programs are stand-ins. At the end, what one agent did is replayed and its
/// last steps are rolled back. Then the same work is done by one after the other, for the time. Exit 0 only if nothing was lost
/// and each of these came out as it should.
///
/// `--hosts 3 --store etcd` plays it over three hosts: each has a home, a state folder, a host id and a daemon of its own,
/// and its own wires to an etcd of three members that is started for the show. All hosts work in one directory tree, as
/// over a network file system or a shared volume: so each lock that two hosts held at once would show as a lost
/// update in a file, which separate clones would hide until they are merged. The leader of etcd is killed, and one host
/// is cut off from etcd until the fleet has given up its agents' locks; then it is healed and they finish their work. Refusal,
/// approval, replay and rollback are shown on one host only.
///
/// `--break` plays another one: four agents commit to one branch that is checked by `cargo check`, and one of them breaks the
/// others' build. The fleet is paused, the commit is searched among all that landed, proven, reverted, and the fleet goes on.
/// Exit 0 only if the right commit was blamed, nothing else was lost, committed or not, and the fleet went on. It needs a
/// Rust toolchain and no network.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=AGENTS_MAX))]
    agents: u64,
    /// How many hosts; more than one need `--store etcd`
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=HOSTS_MAX))]
    hosts: u64,
    /// Where locks are kept
    #[arg(long, value_enum, default_value_t = StoreKind::Embedded)]
    store: StoreKind,
    /// The etcd program, for `--store etcd`; without it the `etcd` on PATH
    #[arg(long, value_name = "PATH")]
    etcd: Option<PathBuf>,
    /// Play a certain show again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Show how a broken build is paused, its culprit proven and reverted
    #[arg(long = "break", conflicts_with = "agents")]
    broken: bool,
    /// Leave the folders for a look
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StoreKind {
    Embedded,
    Etcd,
}

impl Args {
    fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| rr_runtime::clock::unix_ms() % 1_000_000)
    }

    /// A break is shown on one host, with a store of its own.
    fn alone(&self) -> Result<(), Failure> {
        if self.hosts == 1 && self.store == StoreKind::Embedded && self.etcd.is_none() {
            return Ok(());
        }
        Err(Failure::new(Kind::Usage, "--break is shown on one host")
            .because("--hosts, --store etcd and --etcd are for the other show")
            .hint("rrctl demo --break, or rrctl demo --hosts 3 --store etcd"))
    }

    fn base(&self) -> Result<Base, Failure> {
        let hosts = usize::try_from(self.hosts).unwrap_or(usize::MAX);
        match (self.store, hosts, &self.etcd) {
            (StoreKind::Embedded, 1, None) => Ok(Base::Embedded),
            (StoreKind::Embedded, ..) => {
                Err(Failure::new(Kind::Usage, "several hosts need a store that they can share")
                    .hint("add --store etcd"))
            }
            (StoreKind::Etcd, hosts, Some(named)) => etcd_at(named).map(|program| Base::Etcd { hosts, program }),
            (StoreKind::Etcd, hosts, None) => etcd_on_path().map(|program| Base::Etcd { hosts, program }),
        }
    }
}

fn etcd_at(named: &Path) -> Result<PathBuf, Failure> {
    // Agents and members are started in other folders.
    std::fs::canonicalize(named).map_err(|e| no_etcd(&format!("{}: {e}", named.display())))
}

fn etcd_on_path() -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("etcd")).find(|program| program.is_file());
    found.ok_or_else(|| no_etcd("there is none on PATH"))
}

fn no_etcd(why: &str) -> Failure {
    Failure::new(Kind::Usage, "no etcd to play on").because(why).hint(
        "install etcd or name one: --etcd PATH; from a checkout of Railroad `cargo xtask demo --hosts 3 --store etcd` brings its own \
         (`cargo xtask etcd path` says where it is)",
    )
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let (seed, keep, silent) = (args.seed(), args.keep, hand.wants_json());
    if args.broken {
        args.alone()?;
        let outcome = broken_build::play(&broken_build::Plan { seed, keep, silent }, asked_to_end()?).await?;
        hand.answer(&outcome, || broken::verdict(&outcome))?;
        return broken::judge(&outcome);
    }
    let agents = usize::try_from(args.agents).unwrap_or(usize::MAX);
    let plan = Plan { agents, base: args.base()?, seed, keep, silent };
    let outcome = tokio::select! {
        // What the show has started ends with it.
        outcome = play(&plan) => outcome?,
        () = asked_to_end()? => return Err(was_ended()),
    };
    hand.answer(&outcome, || verdict(&outcome))?;
    judge(&outcome)
}

/// Returns when somebody wants it to end.
fn asked_to_end() -> Result<impl Future<Output = ()>, Failure> {
    let mut ends = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        ends.push(signal(kind).map_err(|e| Failure::at("listen for signals", &e))?);
    }
    Ok(async move { first_of(&mut ends).await })
}

/// Returns with the first of them.
async fn first_of(ends: &mut [tokio::signal::unix::Signal]) {
    std::future::poll_fn(|context| {
        let came = ends.iter_mut().any(|end| end.poll_recv(context).is_ready());
        if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn judge(outcome: &Outcome) -> Result<(), Failure> {
    if outcome.lost_updates > 0 {
        let what = format!("{} updates were lost (seed {})", outcome.lost_updates, outcome.seed);
        return Err(Failure::new(Kind::Failed, what).because(outcome.lost.join("\n")));
    }
    if outcome.writes_while_paused > 0 {
        let what = format!("{} writes landed while the fleet was paused", outcome.writes_while_paused);
        return Err(Failure::new(Kind::Failed, what).because(format!("seed {}", outcome.seed)));
    }
    if outcome.writes_while_cut > 0 {
        let what = format!("{} writes landed on a host that was cut off", outcome.writes_while_cut);
        return Err(Failure::new(Kind::Failed, what).because(format!("seed {}", outcome.seed)));
    }
    let wrong = outcome.guarded.as_ref().map(wrong).unwrap_or_default();
    if wrong.is_empty() {
        return Ok(());
    }
    let why = format!("seed {}\n{}", outcome.seed, wrong.join("\n"));
    Err(Failure::new(Kind::Failed, "the policy or a rollback did not keep its word").because(why))
}

/// A sentence for each count that is not what it has to be.
fn wrong(guarded: &Guarded) -> Vec<String> {
    let counts = [
        ("commands refused by the policy", guarded.refused_by_policy, 1),
        ("refused commands that ran", guarded.refused_runs, 0),
        ("approvals", guarded.approvals, 1),
        ("runs of the approved command", guarded.approved_runs, 1),
        ("calls that had to ask anew", guarded.asked_anew, 1),
        ("lines rolled back", guarded.rolled_back_lines, STEPS),
        ("losses of others by the rollback", guarded.others_lines_lost, 0),
    ];
    let counts = counts.iter().filter(|(_, is, should)| is != should);
    let mut wrong: Vec<String> = counts.map(|(what, is, should)| format!("{what}: {is}, not {should}")).collect();
    wrong.extend((guarded.replayed_calls == 0).then(|| "calls replayed: none".to_owned()));
    wrong.extend(guarded.others_lost.clone());
    wrong
}

fn verdict(outcome: &Outcome) -> String {
    let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    let mut text = String::from("\n");
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:24}{value}");
    };
    row("Writes done", &outcome.writes.to_string());
    row("Collisions held back", &outcome.held_back.to_string());
    row("Lost updates", &format!("{} (counted in the files)", outcome.lost_updates));
    row("Killed with a lock", &format!("{} (it held {})", outcome.killed, outcome.killed_holding.join(", ")));
    let pause = format!("{} in {} of pause", outcome.writes_while_paused, seconds(outcome.paused_ms));
    row("Writes while paused", &pause);
    if let Some(guarded) = &outcome.guarded {
        row("Refused by the policy", &format!("{} (ran: {})", guarded.refused_by_policy, guarded.refused_runs));
        row("Approved by you", &format!("{} (ran: {})", guarded.approvals, guarded.approved_runs));
        let rolled = format!("{} (lost of the others: {})", guarded.rolled_back_lines, guarded.others_lines_lost);
        row("Lines rolled back", &rolled);
    }
    if outcome.leader_killed > 0 {
        row("Leaders of etcd killed", &outcome.leader_killed.to_string());
    }
    if outcome.cut_seconds > 0 {
        let denied = format!("{} s, {} denials on it meanwhile", outcome.cut_seconds, outcome.denied_while_cut);
        row("One host cut off", &denied);
        row("Writes while cut off", &outcome.writes_while_cut.to_string());
    }
    row("All at once", &format!("{}, all of that included", seconds(outcome.parallel_ms)));
    if let Some(sequential_ms) = outcome.sequential_ms {
        row("One after the other", &seconds(sequential_ms));
    }
    for folder in &outcome.kept {
        row("Kept", folder);
    }
    text.push_str(
        "\nFor your own repository:\n    cargo xtask install     # the programs, into ~/.cargo/bin\n    \
         rrctl install           # in the repository; then start your agents as always\n    \
         rrctl status            # who works on what\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded() -> Guarded {
        Guarded {
            refused_by_policy: 1,
            refused_runs: 0,
            approvals: 1,
            approved_runs: 1,
            asked_anew: 1,
            replayed_calls: 20,
            rolled_back_lines: STEPS,
            others_lines_lost: 0,
            others_lost: vec![],
        }
    }

    fn outcome() -> Outcome {
        Outcome {
            agents: 5,
            hosts: 1,
            store: "embedded",
            seed: 7,
            writes: 30,
            held_back: 4,
            lost_updates: 0,
            lost: vec![],
            killed: 1,
            killed_holding: vec!["src/types/api.ts".into()],
            paused_ms: 640,
            writes_while_paused: 0,
            leader_killed: 0,
            cut_seconds: 0,
            denied_while_cut: 0,
            writes_while_cut: 0,
            guarded: Some(guarded()),
            parallel_ms: 3_210,
            sequential_ms: Some(9_000),
            kept: vec![],
        }
    }

    #[test]
    fn only_a_show_without_losses_is_a_success() {
        assert!(judge(&outcome()).is_ok());
        let lost = Outcome { lost_updates: 1, lost: vec!["a: gone".into()], ..outcome() };
        assert!(judge(&lost).is_err_and(|f| f.text().contains("a: gone")));
        assert!(judge(&Outcome { writes_while_paused: 1, ..outcome() }).is_err());
        assert!(judge(&Outcome { writes_while_cut: 1, ..outcome() }).is_err());
        assert!(judge(&Outcome { guarded: None, ..outcome() }).is_ok(), "several hosts");
        for wrong in [
            Guarded { refused_by_policy: 0, ..guarded() },
            Guarded { refused_runs: 1, ..guarded() },
            Guarded { approvals: 0, ..guarded() },
            Guarded { approved_runs: 2, ..guarded() },
            Guarded { asked_anew: 0, ..guarded() },
            Guarded { replayed_calls: 0, ..guarded() },
            Guarded { rolled_back_lines: STEPS - 1, ..guarded() },
            Guarded { others_lines_lost: 1, others_lost: vec!["b: gone".into()], ..guarded() },
        ] {
            assert!(judge(&Outcome { guarded: Some(wrong.clone()), ..outcome() }).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_befell_several_hosts_is_in_the_verdict_of_those_alone() {
        let storm = Outcome { hosts: 3, leader_killed: 1, cut_seconds: 17, denied_while_cut: 4, ..outcome() };
        let text = verdict(&storm);
        assert!(text.contains("Leaders of etcd killed  1") && text.contains("17 s, 4 denials"), "{text}");
        assert!(!verdict(&outcome()).contains("etcd"));
    }

    #[test]
    fn several_hosts_need_etcd_and_a_missing_etcd_names_the_way_to_one() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let base = |words: &[&str]| {
            let line = <Line as clap::Parser>::try_parse_from([&["demo"], words].concat()).expect("parsed");
            line.args.base()
        };
        assert_eq!(base(&[]).ok(), Some(Base::Embedded));
        assert!(base(&["--hosts", "3"]).is_err_and(|f| f.text().contains("--store etcd")));
        let own = std::env::current_exe().expect("a path").canonicalize().expect("a path");
        let named = base(&["--hosts", "3", "--store", "etcd", "--etcd", &own.display().to_string()]);
        assert_eq!(named.ok(), Some(Base::Etcd { hosts: 3, program: own }));
        let missing = base(&["--store", "etcd", "--etcd", "/no/such/etcd"]);
        assert!(missing.is_err_and(|f| f.text().contains("cargo xtask etcd")));
    }

    #[test]
    fn a_break_is_shown_on_one_host_and_says_so() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let typed = |words: &[&str]| <Line as clap::Parser>::try_parse_from([&["demo", "--break"], words].concat());
        assert!(typed(&["--seed", "3", "--keep"]).expect("parsed").args.alone().is_ok());
        for words in [&["--hosts", "3"][..], &["--store", "etcd"], &["--etcd", "/bin/etcd"]] {
            let refused = typed(words).expect("parsed").args.alone().expect_err("refused");
            assert_eq!(refused.kind, Kind::Usage);
            assert!(refused.text().contains("one host"), "{}", refused.text());
        }
        assert!(typed(&["--agents", "7"]).is_err());
    }

    #[test]
    fn the_verdict_ends_with_what_to_type_in_ones_own_repository() {
        let text = verdict(&outcome());
        for part in ["Lost updates            0", "3.2 s, all of that", "9.0 s", "rrctl install", "rrctl status"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
