//! Where checks are run: standing check worktrees, a few at a time, each with build folders of its own that stay from one check to
//! the next. What a check said of a tree is remembered. It does not know why a check is run, only how urgent it is: whose turn it is,
//! `line` says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_checks::verdicts::Flakes;
use rr_checks::{Check, Findings, Key, Known, Limits, Nature, Outcome, Runner, ToolVersions, Verdicts, Why};
use rr_core::id::{ObjectId, RepoId};
use rr_git::CheckTree;
use rr_runtime::metrics::{CheckWord, Metrics};
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::grounds::Ground;
use crate::line::Line;
pub(crate) use crate::line::Urgency;
use crate::slots::{HostSlot, HostSlots};

/// Infrastructure that failed is tried again this often, with a growing wait.
const TRIES_MAX: u32 = 3;
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// Checks that run at a time on one host: builds use all cores by themselves.
pub(crate) const SLOTS: usize = 1;
/// Trees of some weeks.
const VERDICTS_MAX: usize = 10_000;

/// What a check says of a tree.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Green,
    Red {
        findings: Findings,
        nature: Nature,
        output: String,
    },
    /// It says nothing of the tree: why.
    Nothing(String),
}

/// Whether an earlier verdict will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Known,
    Fresh,
}

pub(crate) struct Workshop {
    dir: PathBuf,
    runner: Runner,
    verdicts: Mutex<Verdicts>,
    tools: ToolVersions,
    line: Line,
    host_slots: HostSlots,
    free: Mutex<Vec<usize>>,
    trees: Mutex<HashMap<(RepoId, usize), Arc<CheckTree>>>,
    metrics: Metrics,
    shutdown: CancellationToken,
}

impl Workshop {
    pub(crate) fn open(dir: PathBuf, host_slots: HostSlots, metrics: Metrics, shutdown: CancellationToken) -> Self {
        let verdicts = remembered(&dir);
        Self {
            runner: Runner::default(),
            verdicts: Mutex::new(verdicts),
            tools: ToolVersions::default(),
            line: Line::new(SLOTS, metrics.clone()),
            host_slots,
            free: Mutex::new((0..SLOTS).rev().collect()),
            trees: Mutex::default(),
            dir,
            metrics,
            shutdown,
        }
    }

    /// How many breaks are being dealt with.
    pub(crate) fn breaks_open(&self, count: usize) {
        self.line.breaks_open(count);
    }

    /// Runs a check on a tree, or tells what it said before. Infrastructure that fails is tried again a few times.
    pub(crate) async fn ask(
        &self,
        ground: &Ground,
        tree: &ObjectId,
        check: &Check,
        urgency: Urgency,
        memory: Memory,
    ) -> Said {
        let key = self.key(ground, tree, check).await;
        if memory == Memory::Known
            && let Some(known) = self.verdicts().get(&key).cloned()
        {
            self.metrics.check(CheckWord::Cached, Duration::ZERO);
            return said_before(known);
        }
        let mut wait = WAIT_FIRST;
        for attempt in 1.. {
            let outcome = self.run(ground, tree, check, urgency).await;
            self.count(check, &key, &outcome);
            match outcome {
                Outcome::Infrastructure { retry: true, .. } if attempt < TRIES_MAX && !self.shutdown.is_cancelled() => {
                    let _ = tokio::time::timeout(wait, self.shutdown.cancelled()).await;
                    wait *= 4;
                }
                other => return said(other),
            }
        }
        unreachable!("the loop ends with an answer")
    }

    /// One run, whatever is known: for judging the check itself.
    pub(crate) async fn try_out(&self, ground: &Ground, tree: &ObjectId, check: &Check) -> Outcome {
        let outcome = self.run(ground, tree, check, Urgency::Commit).await;
        self.count(check, &self.key(ground, tree, check).await, &outcome);
        outcome
    }

    /// How often this check fails by chance, by what was seen so far: trees it found red, and of these, trees it also found green.
    pub(crate) async fn flakes(&self, ground: &Ground, tree: &ObjectId, check: &Check) -> Flakes {
        let key = self.key(ground, tree, check).await;
        self.verdicts().flakes(&key)
    }

    async fn key(&self, ground: &Ground, tree: &ObjectId, check: &Check) -> Key {
        let versions = self.tools.of(check, &self.runner, &self.folder(ground, 0)).await;
        Key::new(tree.as_str(), check, &versions)
    }

    fn folder(&self, ground: &Ground, slot: usize) -> PathBuf {
        self.dir.join(ground.repo.as_str()).join(slot.to_string())
    }

    fn count(&self, check: &Check, key: &Key, outcome: &Outcome) {
        let word = match outcome {
            Outcome::Green { .. } => CheckWord::Green,
            Outcome::Red { .. } => CheckWord::Red,
            Outcome::Infrastructure { .. } => CheckWord::Infrastructure,
        };
        self.metrics.check(word, Duration::from_millis(outcome.took_ms()));
        let mut verdicts = self.verdicts();
        let before = verdicts.flakes(key);
        if let Err(error) = verdicts.note(key, outcome) {
            tracing::warn!(error = &error as &dyn std::error::Error, "remember what a check said");
        }
        if verdicts.flakes(key).both_ways > before.both_ways {
            self.metrics.flake(&check.name);
        }
    }

    /// One run to its end. One that gives way begins again when its turn comes.
    async fn run(&self, ground: &Ground, tree: &ObjectId, check: &Check, urgency: Urgency) -> Outcome {
        loop {
            if let Some(outcome) = self.begun(ground, tree, check, urgency).await {
                return outcome;
            }
        }
    }

    /// None: it gave way, or its slot was lost.
    async fn begun(&self, ground: &Ground, tree: &ObjectId, check: &Check, urgency: Urgency) -> Option<Outcome> {
        let Some(slot) = self.slot(urgency).await else {
            return Some(could_not("the watcher is ending".to_owned()));
        };
        let folder = self.folder(ground, slot.number);
        let check_tree = self.check_tree(ground, &folder, slot.number);
        let (moved, to) = (check_tree.clone(), tree.clone());
        match tokio::task::spawn_blocking(move || moved.move_to(&to)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Some(could_not(rr_runtime::errors::chain(&error))),
            Err(_) => return Some(could_not("the check worktree could not be moved".to_owned())),
        }
        self.lend_packages(ground, &check_tree.root()).await;
        // Build outputs of its own: two builds that run at a time never share one.
        let target = folder.join("cargo-target");
        let runner = self.runner.clone().with_env("CARGO_TARGET_DIR", &target).guarding(&target);
        let (root, limits, stop) = (check_tree.root(), limits_of(ground), slot.host.over.child_token());
        let mut run = std::pin::pin!(runner.run(check, &root, &limits, &stop));
        let outcome = tokio::select! {
            outcome = &mut run => outcome,
            () = self.line.must_give_way(urgency) => {
                stop.cancel();
                // Nothing of it runs any more when this ends.
                run.await
            }
        };
        let was_stopped = matches!(outcome, Outcome::Infrastructure { why: Why::Cancelled, .. });
        (!was_stopped || self.shutdown.is_cancelled()).then_some(outcome)
    }

    /// Packages that were downloaded into a work tree of this machine are not downloaded again: they are copied, so that no check
    /// writes into an agent's.
    async fn lend_packages(&self, ground: &Ground, root: &Path) {
        const PACKAGES: &str = "node_modules";
        let to = root.join(PACKAGES);
        let lender = ground.trees.iter().map(|tree| tree.root.join(PACKAGES)).find(|from| from.is_dir());
        let Some(from) = lender.filter(|_| root.join("package.json").exists() && !to.exists()) else { return };
        let copied =
            tokio::process::Command::new("cp").args(["-a", "--reflink=auto"]).arg(&from).arg(&to).status().await;
        if !copied.is_ok_and(|status| status.success()) {
            tracing::warn!(from = %from.display(), "copy packages for checks");
            let _ = std::fs::remove_dir_all(&to);
        }
    }

    fn check_tree(&self, ground: &Ground, folder: &Path, slot: usize) -> Arc<CheckTree> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = || Arc::new(CheckTree::open(&ground.mirror, folder));
        trees.entry((ground.repo.clone(), slot)).or_insert_with(opened).clone()
    }

    async fn slot(&self, urgency: Urgency) -> Option<Slot<'_>> {
        let (permit, host) = self.shutdown.run_until_cancelled(self.turn(urgency)).await.flatten()?;
        let number = self.free().pop()?;
        Some(Slot { shop: self, number, host, _permit: permit })
    }

    /// A slot of this watcher's and one of the host's.
    async fn turn(&self, urgency: Urgency) -> Option<(SemaphorePermit<'_>, HostSlot)> {
        loop {
            let permit = self.line.turn(urgency).await?;
            tokio::select! {
                biased;
                // Another watcher of this host may have it for long: here the more urgent goes first meanwhile.
                () = self.line.is_overtaken(urgency) => {}
                host = self.host_slots.take() => return Some((permit, host)),
            }
        }
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(&self) -> MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What checks have said before. Without it all is asked anew.
fn remembered(dir: &Path) -> Verdicts {
    let file = dir.join("verdicts.jsonl");
    let _ = std::fs::create_dir_all(dir);
    match Verdicts::open(&file, VERDICTS_MAX) {
        Ok((verdicts, _)) => verdicts,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "read what checks have said before");
            Verdicts::new(&file, VERDICTS_MAX)
        }
    }
}

/// One check worktree, for one check.
struct Slot<'a> {
    shop: &'a Workshop,
    number: usize,
    host: HostSlot,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.shop.free().push(self.number);
    }
}

fn could_not(why: String) -> Outcome {
    Outcome::Infrastructure { why: Why::CouldNotStart(why), output: Default::default(), retry: false, took_ms: 0 }
}

fn limits_of(ground: &Ground) -> Limits {
    let said = &ground.health.limits;
    Limits { wall_clock: said.time.as_std(), memory_bytes: said.memory, processes: said.processes, ..Limits::default() }
}

fn said(outcome: Outcome) -> Said {
    match outcome {
        Outcome::Green { .. } => Said::Green,
        Outcome::Red { findings, nature, output, .. } => Said::Red { findings, nature, output: output.text },
        Outcome::Infrastructure { why, .. } => Said::Nothing(why.to_string()),
    }
}

fn said_before(known: Known) -> Said {
    match known {
        Known::Pass => Said::Green,
        // It has passed on this very tree since: what was red was chance.
        Known::Fail { passes_after_red: 1.., .. } => Said::Green,
        Known::Fail { findings, .. } => {
            let nature = findings.nature();
            Said::Red { findings, nature, output: String::new() }
        }
    }
}
