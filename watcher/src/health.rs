//! Health of the branches that everybody builds on: each new tip is checked, the last green one remembered, and the first red one
//! opens an incident. Also each commit of an agent is checked, and its agent told. It pauses nothing and blames nobody: that
//! is `response`'s. Level-triggered: each round reads tips, plans and records again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rr_checks::{Check, Nature, Trust, When};
use rr_core::culprit::{self, Build, Run, Verdict};
use rr_core::id::{CommitId, IncidentId, ObjectId, SessionId};
use rr_core::incident::{FILES_MAX, Incident, Line, Note, OUTPUT_BYTES_MAX, Place, State, Suspect};
use rr_core::live::{Target, TreeKey};
use rr_core::overlap::{Finding, FindingId, Kind};
use rr_fleet::{Fleet, HealthRun, Leader, LineHealth, Opened};
use rr_git::{Queue, QueuedCommit};
use rr_runtime::clock::unix_ms;
use rr_runtime::config::CheckEntry;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::errors::chain;
use rr_runtime::metrics::{Metrics, WatchWord};
use rr_runtime::trouble::Trouble;
use tokio::sync::watch;

use crate::grounds::{Ground, Grounds};
use crate::plan::{self, Judged, Kept};
use crate::scene::Scene;
use crate::workshop::{Memory, Said, Urgency, Workshop};

/// Branches of clones on this machine are looked at this often; a look is one read of a ref.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And branches of other machines: one short question over the network.
const ASK_REMOTE_EVERY: Duration = Duration::from_secs(3);
/// What a check could not say, because of the machine, it is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Commits that one search goes through at most: beyond it a person is asked.
const SUSPECTS_MAX: usize = 500;
/// A commit that touches a file named in the error is this much likelier to have broken it (watcher.md, culprit).
const NAMED: f64 = 8.0;
/// Bytes of a check's output in a finding.
pub(crate) const TOLD_BYTES_MAX: usize = 2 << 10;

/// Findings that one part of the watcher keeps up to date and another tells: the present ones, by their names.
pub(crate) type OwnFindings = Arc<Mutex<BTreeMap<FindingId, Finding>>>;

pub(crate) struct Health {
    pub fleet: Fleet,
    pub grounds: Arc<Grounds>,
    pub shop: Arc<Workshop>,
    pub own: OwnFindings,
    pub metrics: Metrics,
    pub host: rr_core::id::HostId,
}

/// What this round of the leader knows of lines and commits, so that an unchanged one costs nothing.
#[derive(Default)]
struct Known {
    tips: BTreeMap<Line, Looked>,
    /// Whose break may be over since it was looked at.
    red: BTreeSet<Line>,
    commits: BTreeMap<TreeKey, CommitId>,
    /// Commits of which a check could not say anything, and when it is asked again.
    unanswered: BTreeMap<TreeKey, (CommitId, Instant)>,
    not_before: BTreeMap<Line, Instant>,
}

/// What a verdict of a branch was reached on: with another tip, or other checks, it is looked at again.
#[derive(PartialEq, Eq)]
struct Looked {
    tip: CommitId,
    configured: Option<Vec<CheckEntry>>,
    /// The plan that a person trusts.
    trusted: Option<String>,
}

impl Known {
    /// Whether a commit is to be checked now: one of which nothing could be said waits a while.
    fn may_ask(&self, key: &TreeKey, head: &CommitId) -> bool {
        self.unanswered.get(key).is_none_or(|(commit, at)| commit != head || Instant::now() >= *at)
    }

    /// Whether a line is to be looked at in this round: another machine is not asked at each.
    fn is_due(&mut self, line: &Line, again: bool) -> bool {
        let now = Instant::now();
        let due = again || self.not_before.get(line).is_none_or(|at| now >= *at);
        if due && matches!(line.place, Place::Remote { .. }) {
            self.not_before.insert(line.clone(), now + ASK_REMOTE_EVERY);
        }
        due
    }
}

impl Health {
    /// Looks after all branches for as long as it is not dropped.
    pub(crate) async fn look_after(&self, leader: &Leader, scene: watch::Receiver<Scene>) -> Infallible {
        let mut scene = scene;
        let mut known = Known::default();
        let mut trouble = Trouble::with("look after branches");
        loop {
            let now = scene.borrow_and_update().clone();
            let wait = match self.round(leader, &now, &mut known).await {
                Ok(()) => {
                    trouble.worked();
                    LOOK_EVERY
                }
                Err(why) => {
                    self.metrics.watch_error(WatchWord::Health);
                    trouble.failed(&why).as_std()
                }
            };
            // Either way the next round looks at everything again.
            let _ = tokio::time::timeout(wait, scene.changed()).await;
        }
    }

    async fn round(&self, leader: &Leader, scene: &Scene, known: &mut Known) -> Result<(), String> {
        let asked = self.fleet.health_asked().await.map_err(|e| chain(&e))?;
        if scene.is_known {
            let is_there = |key: &TreeKey| scene.trees.contains_key(key);
            known.commits.retain(|key, _| is_there(key));
            known.unanswered.retain(|key, _| is_there(key));
            self.own_findings().retain(|_, finding| is_there(&finding.sides[0]));
        }
        for repo in scene.repos() {
            let grounds = self.grounds.clone();
            let (of, picture) = (repo.clone(), scene.clone());
            let ground = tokio::task::spawn_blocking(move || grounds.of(&of, &picture)).await;
            let Some(ground) = ground.map_err(|e| e.to_string())?.map_err(|e| chain(&e))? else { continue };
            let again = asked.iter().any(|ask| ask.repo == repo);
            for line in self.grounds.lines(&ground) {
                if !known.is_due(&line, again) {
                    continue;
                }
                self.look_at(leader, &ground, &line, known, again).await?;
            }
            self.look_at_commits(leader, &ground, scene, known).await?;
        }
        for ask in asked {
            self.fleet.take_health_ask(leader, &ask).await.map_err(|e| chain(&e))?;
        }
        Ok(())
    }

    /// One branch: its tip checked, if that is a new one.
    async fn look_at(
        &self,
        leader: &Leader,
        ground: &Ground,
        line: &Line,
        known: &mut Known,
        again: bool,
    ) -> Result<(), String> {
        let Some(tip) = self.tip(ground, line).await? else { return self.forget(leader, line, known).await };
        let trusted = self.fleet.trusted_plan(&ground.repo).await.map_err(|e| chain(&e))?.map(|trusted| trusted.hash);
        let looked = Looked { tip: tip.clone(), configured: ground.health.checks.clone(), trusted };
        let is_known = known.tips.get(line) == Some(&looked) && !again;
        if is_known && !known.red.contains(line) {
            return Ok(());
        }
        let was_open = self.is_broken(line).await?;
        if is_known && was_open {
            return Ok(());
        }
        known.red.remove(line);
        let kept = self.plan(leader, ground, &looked).await?;
        let record = self.fleet.line_health(line).await.map_err(|e| chain(&e))?;
        let mut record = record.unwrap_or_else(|| LineHealth::new(line.clone()));
        let memory = if again { Memory::Fresh } else { Memory::Known };
        let tree = tree_of(ground, &tip)?;
        let mut all_green = true;
        let checks: Vec<Check> = kept.trusted(When::Merge).cloned().collect();
        for check in &checks {
            match self.checked(leader, ground, &tree, &tip, check, memory).await? {
                Said::Green => {}
                Said::Nothing(why) => {
                    all_green = false;
                    record.note = format!("`{}` says nothing: {why}", check.name);
                }
                // This waited for the end of a break, and what it saw is from before that.
                Said::Red { .. } if was_open && !self.is_broken(line).await? => {
                    known.tips.remove(line);
                    return Ok(());
                }
                // Its break is over, and was not mended: a person has said so.
                Said::Red { .. } if !again && !was_open && record.red.as_ref() == Some(&tip) => {
                    known.tips.insert(line.clone(), looked);
                    return Ok(());
                }
                Said::Red { findings, nature, output } => {
                    all_green = false;
                    let red = Red {
                        check,
                        nature,
                        files: findings.files().iter().map(|f| (*f).to_owned()).collect(),
                        output,
                    };
                    self.red(leader, ground, line, &tip, &mut record, red).await?;
                    known.red.insert(line.clone());
                    break;
                }
            }
        }
        record.tip = Some(tip.clone());
        if all_green && !checks.is_empty() {
            (record.green, record.red, record.note) = (Some(tip.clone()), None, String::new());
        }
        record.at_unix_ms = unix_ms();
        self.fleet.put_line_health(leader, &record).await.map_err(|e| chain(&e))?;
        // What says nothing, or could not be run, is asked again.
        let is_judged = !kept.checks.iter().any(|judged| matches!(judged.trust, Trust::Infrastructure { .. }));
        if (all_green && is_judged) || record.red.is_some() {
            known.tips.insert(line.clone(), looked);
        } else {
            known.not_before.insert(line.clone(), Instant::now() + ASK_AGAIN_AFTER);
        }
        Ok(())
    }

    /// A branch that is gone. One of its name that comes later is another one: it was never seen green.
    async fn forget(&self, leader: &Leader, line: &Line, known: &mut Known) -> Result<(), String> {
        known.tips.remove(line);
        if !self.is_broken(line).await? && self.fleet.line_health(line).await.map_err(|e| chain(&e))?.is_some() {
            self.fleet.forget_line_health(leader, line).await.map_err(|e| chain(&e))?;
        }
        Ok(())
    }

    /// Whether a break of this branch is being dealt with.
    async fn is_broken(&self, line: &Line) -> Result<bool, String> {
        Ok(self.fleet.open_incidents().await.map_err(|e| chain(&e))?.iter().any(|stored| stored.incident.line == *line))
    }

    async fn tip(&self, ground: &Ground, line: &Line) -> Result<Option<CommitId>, String> {
        let (grounds, ground, line) = (self.grounds.clone(), ground.clone(), line.clone());
        let stands = tokio::task::spawn_blocking(move || grounds.stands(&ground, &line)).await;
        stands.map_err(|e| e.to_string())?.map_err(|e| chain(&e))
    }

    /// The checks in force, each tried on this tip until it can be believed or not.
    async fn plan(&self, leader: &Leader, ground: &Ground, looked: &Looked) -> Result<Kept, String> {
        let before = self.fleet.plan::<Kept>(&ground.repo).await.map_err(|e| chain(&e))?;
        let (first, found) = (before.is_none(), plan::found(ground, &looked.tip));
        let before = before.unwrap_or_default();
        let mut kept = before.clone().renewed(found, looked.trusted.as_deref(), first);
        let tree = tree_of(ground, &looked.tip)?;
        for judged in &mut kept.checks {
            self.judge(ground, &tree, judged).await;
        }
        // Also that there is nothing: what comes later is not the first.
        if first || kept != before {
            self.fleet.put_plan(leader, &ground.repo, &kept).await.map_err(|e| chain(&e))?;
        }
        Ok(kept)
    }

    /// Runs a check as often as it takes to say what it is worth. One that is trusted stays so.
    async fn judge(&self, ground: &Ground, tree: &ObjectId, judged: &mut Judged) {
        if matches!(judged.trust, Trust::Trusted { .. }) {
            return;
        }
        let mut runs = Vec::new();
        for _ in 0..RUNS_TO_JUDGE {
            let outcome = self.shop.try_out(ground, tree, &judged.check).await;
            runs.push(outcome);
            judged.trust = rr_checks::trust(&runs);
            if let Trust::Infrastructure { why } = &judged.trust {
                tracing::warn!(check = judged.check.name, %why, "a check cannot be run here");
            }
            if !matches!(judged.trust, Trust::NotYet { .. }) {
                break;
            }
        }
    }

    async fn checked(
        &self,
        leader: &Leader,
        ground: &Ground,
        tree: &ObjectId,
        label: &CommitId,
        check: &Check,
        memory: Memory,
    ) -> Result<Said, String> {
        let began = Instant::now();
        let said_of_it = self.shop.ask(ground, tree, check, Urgency::Commit, memory).await;
        let verdict = match &said_of_it {
            Said::Green => "green".to_owned(),
            Said::Red { .. } => "red".to_owned(),
            Said::Nothing(why) => why.clone(),
        };
        let run = HealthRun {
            repo: ground.repo.clone(),
            label: label.short().to_owned(),
            tree: tree.clone(),
            check: check.name.clone(),
            verdict,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            at_unix_ms: unix_ms(),
            host: self.host.clone(),
        };
        self.fleet.put_health_run(leader, &run).await.map_err(|e| chain(&e))?;
        Ok(said_of_it)
    }

    /// A red tip of a branch. With a green one before it an incident is opened; without one nobody can be found.
    async fn red(
        &self,
        leader: &Leader,
        ground: &Ground,
        line: &Line,
        tip: &CommitId,
        record: &mut LineHealth,
        red: Red<'_>,
    ) -> Result<(), String> {
        record.red = Some(tip.clone());
        record.check.clone_from(&red.check.name);
        let Some(green) = record.green.clone() else {
            record.note = format!("`{}` is red, and was never seen green here: nothing is searched", red.check.name);
            return Ok(());
        };
        let mirror = ground.mirror.clone();
        let (from, to) = (green.clone(), tip.clone());
        let between = tokio::task::spawn_blocking(move || mirror.commits_between(&from, &to)).await;
        let commits = match between.map_err(|e| e.to_string())?.map_err(|e| chain(&e))? {
            Queue::Commits(commits) if commits.is_empty() => return Ok(()),
            Queue::Commits(commits) if commits.len() <= SUSPECTS_MAX => commits,
            Queue::Commits(_) | Queue::TooMany { .. } => {
                record.note = format!("more than {SUSPECTS_MAX} commits since the last green one: nothing is searched");
                return Ok(());
            }
            Queue::Rewritten { .. } => {
                record.note = "its history was rewritten since it was last green: nothing is searched".to_owned();
                return Ok(());
            }
        };
        let nature = match red.nature {
            Nature::Compile => culprit::Nature::Compile,
            Nature::Test => {
                let flakes = self.shop.flakes(ground, &tree_of(ground, tip)?, red.check).await;
                let count = |trees: u64| u32::try_from(trees).unwrap_or(u32::MAX);
                culprit::Nature::Test { flake: culprit::flake_rate(count(flakes.both_ways), count(flakes.red_trees)) }
            }
        };
        let ids: Vec<CommitId> = commits.iter().map(|commit| commit.id.clone()).collect();
        let by = self.fleet.commit_records(&ids).await.map_err(|e| chain(&e))?;
        let by = by.into_iter().map(|record| record.and_then(|record| record.session));
        let now = unix_ms();
        if let Some(last) = commits.last() {
            self.metrics.break_seen(Duration::from_millis(now.saturating_sub(last.at_unix_s * 1_000)));
        }
        let incident = Incident {
            id: IncidentId::from_random(rr_core::id::Entropy::bits(&OsEntropy)),
            line: line.clone(),
            state: State::Seen,
            check: red.check.name.clone(),
            command: red.check.run.clone(),
            nature,
            green,
            red: tip.clone(),
            runs: vec![Run { build: Build::Prefix(commits.len()), verdict: Verdict::Red }],
            suspects: commits.into_iter().zip(by).map(|(commit, by)| suspect(commit, by, &red.files)).collect(),
            output: tail(&red.output, OUTPUT_BYTES_MAX),
            files: red.files.iter().take(FILES_MAX).cloned().collect(),
            pause: None,
            culprits: vec![],
            proven: None,
            revert: None,
            kept: None,
            escalated: None,
            accepted: false,
            drained: false,
            hindered: 0,
            tries: 0,
            opened_unix_ms: now,
            paused_at_unix_ms: None,
            notes: vec![Note { at_unix_ms: now, text: format!("`{}` is red at {}", red.check.name, tip.short()) }],
        };
        match self.fleet.open_incident(leader, &incident).await.map_err(|e| chain(&e))? {
            Opened::Yes(_) => tracing::warn!(
                incident = incident.id.short(),
                branch = line.branch,
                check = incident.check,
                "a branch broke"
            ),
            Opened::Already(_) => {}
        }
        Ok(())
    }

    /// What agents have committed in their own work trees (G20).
    async fn look_at_commits(
        &self,
        leader: &Leader,
        ground: &Ground,
        scene: &Scene,
        known: &mut Known,
    ) -> Result<(), String> {
        let Some(kept) = self.fleet.plan::<Kept>(&ground.repo).await.map_err(|e| chain(&e))? else { return Ok(()) };
        let checks: Vec<Check> = kept.trusted(When::Commit).cloned().collect();
        for (key, set) in scene.of(&ground.repo) {
            let Some(head) = set.head.clone() else { continue };
            // A clone's own branch is looked after itself, unless what counts is where hosts push to.
            let is_line = |t: &Target| ground.remote.is_none() && t.branch == set.branch;
            let landed = set.target.as_ref().is_some_and(|t| t.commit == head || is_line(t));
            if landed {
                known.commits.remove(key);
                self.own_finding(ground, key, &head, None);
            }
            if landed || known.commits.get(key) == Some(&head) || !known.may_ask(key, &head) {
                continue;
            }
            let Ok(tree) = tree_of(ground, &head) else { continue };
            let (mut red, mut is_answered) = (None, true);
            for check in &checks {
                match self.checked(leader, ground, &tree, &head, check, Memory::Known).await? {
                    Said::Green => {}
                    Said::Nothing(_) => is_answered = false,
                    Said::Red { output, .. } => {
                        red = Some((check.name.clone(), output));
                        break;
                    }
                }
            }
            if is_answered || red.is_some() {
                self.own_finding(ground, key, &head, red);
                known.unanswered.remove(key);
                known.commits.insert(key.clone(), head);
            } else {
                // What was known before stays said.
                known.unanswered.insert(key.clone(), (head, Instant::now() + ASK_AGAIN_AFTER));
            }
        }
        Ok(())
    }

    fn own_finding(&self, ground: &Ground, key: &TreeKey, head: &CommitId, red: Option<(String, String)>) {
        let mut own = self.own_findings();
        own.retain(|_, finding| finding.sides[0] != *key || matches!(finding.kind, Kind::Reverted { .. }));
        if let Some((check, output)) = red {
            let finding = Finding::of_commit(&ground.repo, key, head, &check, tail(&output, TOLD_BYTES_MAX));
            own.insert(finding.id.clone(), finding);
        }
    }

    fn own_findings(&self) -> MutexGuard<'_, BTreeMap<FindingId, Finding>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two passes show that a check can be believed, two reds that it cannot; more runs show nothing new.
const RUNS_TO_JUDGE: usize = 3;

struct Red<'a> {
    check: &'a Check,
    nature: Nature,
    /// Named in the error.
    files: Vec<String>,
    output: String,
}

fn suspect(commit: QueuedCommit, session: Option<SessionId>, named: &[String]) -> Suspect {
    let touches = |path: &rr_core::live::GitPath| {
        let path = path.to_string();
        named.iter().any(|name| *name == path || name.ends_with(&format!("/{path}")))
    };
    let weight = if commit.paths.iter().any(touches) { NAMED } else { 1.0 };
    Suspect {
        commit: commit.id,
        session,
        author: commit.author,
        subject: commit.subject,
        at_unix_s: commit.at_unix_s,
        weight,
    }
}

pub(crate) fn tree_of(ground: &Ground, commit: &CommitId) -> Result<ObjectId, String> {
    ground.mirror.prefix(commit).map_err(|e| chain(&e))
}

/// The end of a text: what failed is said last.
pub(crate) fn tail(text: &str, bytes_max: usize) -> String {
    let from = text.len().saturating_sub(bytes_max);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[from..].to_owned()
}
