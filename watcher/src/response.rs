//! What is done about a break: the steps that `rr_core::incident` names, done and stored one by one, so that whichever watcher leads
//! goes on from there (design, "A breakage"). Each step may have been done before, by a watcher that died: all of them are
//! harmless twice. It decides nothing that the incident does not say; whether a revert is allowed is `allowed`'s.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rr_checks::{Check, When};
use rr_core::affected::Affected;
use rr_core::culprit::{Build, Nature, Run, Verdict};
use rr_core::id::{CommitId, ObjectId};
use rr_core::incident::{Done, Incident, Pause, State, Todo};
use rr_core::overlap::{Finding, Reverted};
use rr_fleet::{Advanced, Fleet, Leader, Order, ResumedFor, Stored};
use rr_git::{Combined, Landing, RevertPlan};
use rr_runtime::clock::unix_ms;
use rr_runtime::config::{PauseScope, RevertMode};
use rr_runtime::errors::chain;
use rr_runtime::metrics::{IncidentWord, Metrics, RevertWord, WatchWord};
use rr_runtime::trouble::Trouble;
use tokio::sync::watch;

use crate::affected;
use crate::allowed::{self, Circumstances};
use crate::grounds::{Ground, Grounds};
use crate::health::{OwnFindings, TOLD_BYTES_MAX, tail, tree_of};
use crate::plan::Kept;
use crate::scene::Scene;
use crate::workshop::{Memory, Said, Urgency, Workshop};

/// Open incidents, orders and deadlines are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A revert waits so long for calls that were let through before the pause. Most end in seconds; what one still writes then is not lost, for
/// the landing refuses files with uncommitted work.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Sidecars say it when it is so; to look again costs one read.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(200);
/// Builds of one search at a time.
const SLOTS: usize = 1;

pub(crate) struct Response {
    pub own: OwnFindings,
    pub fleet: Fleet,
    pub grounds: Arc<Grounds>,
    pub shop: Arc<Workshop>,
    pub metrics: Metrics,
}

impl Response {
    /// Deals with breaks for as long as it is not dropped.
    pub(crate) async fn respond(&self, leader: &Leader, scene: watch::Receiver<Scene>) -> Infallible {
        let mut trouble = Trouble::with("deal with a break");
        loop {
            let now = scene.borrow().clone();
            let wait = match self.round(leader, &now).await {
                Ok(busy) => {
                    trouble.worked();
                    if busy { Duration::ZERO } else { LOOK_EVERY }
                }
                Err(why) => {
                    self.metrics.watch_error(WatchWord::Response);
                    trouble.failed(&why).as_std()
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// One step of every open incident. Whether anything was done.
    async fn round(&self, leader: &Leader, scene: &Scene) -> Result<bool, String> {
        let open = self.fleet.open_incidents().await.map_err(|e| chain(&e))?;
        let urgent = open.iter().filter(|s| s.incident.state != State::Escalated).count();
        self.shop.breaks_open(urgent);
        let mut busy = false;
        for stored in open {
            busy |= self.step(leader, scene, stored).await?;
        }
        Ok(busy)
    }

    async fn step(&self, leader: &Leader, scene: &Scene, stored: Stored) -> Result<bool, String> {
        if let Some(done) = self.decided_meanwhile(leader, &stored.incident).await? {
            return self.store(leader, &stored, done).await;
        }
        let Some(todo) = stored.incident.todo(SLOTS) else {
            return self.close(leader, &stored).await;
        };
        if todo == Todo::AskPerson {
            return self.look_for_repair(leader, &stored).await;
        }
        if let State::Verifying | State::Resumed = stored.incident.state {
            self.tell_its_author(&stored.incident, scene).await?;
        }
        let done = match self.ground(&stored.incident, scene).await? {
            Some(ground) => self.perform(leader, &ground, &stored.incident, todo).await?,
            None if matches!(todo, Todo::Resume | Todo::Pause) => {
                self.perform_without(leader, &stored.incident, &todo).await?
            }
            None => Done::Hindered("no work tree of this repository is known here".to_owned()),
        };
        self.store(leader, &stored, done).await
    }

    /// What people and time have decided meanwhile.
    async fn decided_meanwhile(&self, leader: &Leader, incident: &Incident) -> Result<Option<Done>, String> {
        for (id, order, who, revision) in self.fleet.orders().await.map_err(|e| chain(&e))? {
            if id != incident.id {
                continue;
            }
            let done = match order {
                Order::Accept => Some(Done::Accepted),
                Order::Resolve { reason } | Order::Dismiss { reason } => {
                    Some(Done::Dismissed(format!("{who}: {reason}")))
                }
                Order::HandOver { to } => {
                    self.fleet.hand_repair(leader, &to, &incident.id).await.map_err(|e| chain(&e))?;
                    None
                }
            };
            self.fleet.take_order(leader, &id, revision).await.map_err(|e| chain(&e))?;
            if done.is_some() {
                return Ok(done);
            }
        }
        let Some(pause) = &incident.pause else { return Ok(None) };
        if incident.state == State::Resumed {
            return Ok(None);
        }
        if !self.fleet.has_hold(pause).await.map_err(|e| chain(&e))? {
            return Ok(Some(Done::Overruled));
        }
        if self.fleet.deadline_over(&incident.id).await.map_err(|e| chain(&e))? {
            self.resume(leader, pause).await?;
            return Ok(Some(Done::Late));
        }
        Ok(None)
    }

    async fn ground(&self, incident: &Incident, scene: &Scene) -> Result<Option<Arc<Ground>>, String> {
        let (grounds, repo, scene) = (self.grounds.clone(), incident.line.repo.clone(), scene.clone());
        let found = tokio::task::spawn_blocking(move || grounds.of(&repo, &scene)).await;
        found.map_err(|e| e.to_string())?.map_err(|e| chain(&e))
    }

    async fn perform_without(&self, leader: &Leader, incident: &Incident, todo: &Todo) -> Result<Done, String> {
        match todo {
            Todo::Pause => self.pause(leader, None, incident).await,
            _ => self.open_again(leader, incident).await,
        }
    }

    async fn perform(&self, leader: &Leader, ground: &Ground, incident: &Incident, todo: Todo) -> Result<Done, String> {
        match todo {
            Todo::Pause => self.pause(leader, Some(ground), incident).await,
            Todo::Resume => self.open_again(leader, incident).await,
            Todo::AskPerson => Ok(Done::Built(vec![])),
            Todo::Drain => self.drain(incident).await,
            todo => {
                let Some(check) = self.check(ground, incident).await? else {
                    return Ok(Done::Hindered(format!("`{}` is no check of this repository any more", incident.check)));
                };
                match todo {
                    Todo::Rerun => self.rerun(ground, incident, &check).await,
                    Todo::Build(builds) => self.build(ground, incident, &check, builds).await,
                    Todo::Prepare { culprits } => self.prepare(ground, incident, &check, culprits).await,
                    Todo::Land { tip, tree } => self.land(leader, ground, incident, tip, tree).await,
                    _ => self.verify(ground, incident, &check).await,
                }
            }
        }
    }

    /// The check as it is in force: an incident's own text is never run.
    async fn check(&self, ground: &Ground, incident: &Incident) -> Result<Option<Check>, String> {
        let kept = self.fleet.plan::<Kept>(&ground.repo).await.map_err(|e| chain(&e))?.unwrap_or_default();
        let is_it = |c: &&Check| c.name == incident.check && c.run == incident.command;
        Ok(kept.trusted(When::Merge).find(is_it).cloned())
    }

    /// Whose work was taken out is told, with what failed and where the work is. Whose a commit is, its session's sidecar has written down;
    /// by now, also where it had not when the branch turned red.
    async fn tell_its_author(&self, incident: &Incident, scene: &Scene) -> Result<(), String> {
        let Some(kept) = &incident.kept else { return Ok(()) };
        let (repo, commits) = (&incident.line.repo, incident.culprit_commits());
        let known = self.fleet.commit_records(&commits).await.map_err(|e| chain(&e))?;
        let by = known.into_iter().map(|record| record.and_then(|record| record.session));
        for (commit, sid) in commits.iter().zip(by).filter_map(|(commit, sid)| Some((commit, sid?))) {
            for (key, _) in scene.of(repo).filter(|(_, set)| set.writers.contains(&sid)) {
                let revert = Reverted { check: &incident.command, commit, kept, session: &sid };
                let output = tail(&incident.output, TOLD_BYTES_MAX);
                let finding = Finding::of_revert(repo, key, &revert, output);
                self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(finding.id.clone(), finding);
            }
        }
        Ok(())
    }

    async fn rerun(&self, ground: &Ground, incident: &Incident, check: &Check) -> Result<Done, String> {
        let tree = tree_of(ground, &incident.red)?;
        Ok(match self.fresh(ground, &tree, check).await {
            Ok(verdict) => Done::Reran(verdict),
            Err(why) => Done::Hindered(why),
        })
    }

    async fn pause(&self, leader: &Leader, ground: Option<&Ground>, incident: &Incident) -> Result<Done, String> {
        let on_break = ground.map(|g| g.health.on_break.clone()).unwrap_or_default();
        if on_break.pause == PauseScope::Off {
            return Ok(Done::Paused(None));
        }
        let affected = match ground {
            Some(ground) if on_break.pause == PauseScope::Affected => concerned(ground, incident).await,
            _ => None,
        };
        let whom = affected.as_ref().map(|a| format!("; only {} is concerned", a.shown())).unwrap_or_default();
        let reason = format!(
            "`{}` broke on {} at {}: looking for the change that did it (incident {}, `rrctl incident show {}`){whom}",
            incident.check,
            incident.line.branch,
            incident.red.short(),
            incident.id.short(),
            incident.id.short()
        );
        let pause =
            self.fleet.pause_for(leader, &incident.id, &reason, affected, unix_ms()).await.map_err(|e| chain(&e))?;
        self.fleet.start_deadline(leader, &incident.id, on_break.deadline).await.map_err(|e| chain(&e))?;
        self.metrics.paused_for_a_break();
        tracing::warn!(incident = incident.id.short(), epoch = pause.epoch.0, "paused the fleet because of a break");
        Ok(Done::Paused(Some(pause)))
    }

    async fn build(
        &self,
        ground: &Ground,
        incident: &Incident,
        check: &Check,
        builds: Vec<Build>,
    ) -> Result<Done, String> {
        let mut runs = Vec::new();
        for build in builds {
            let verdict = match self.tree_for(ground, incident, &build).await? {
                Some(tree) => match self.fresh(ground, &tree, check).await {
                    Ok(verdict) => verdict,
                    Err(why) => return Ok(Done::Hindered(why)),
                },
                None => Verdict::Unresolved,
            };
            runs.push(Run { build, verdict });
        }
        Ok(Done::Built(runs))
    }

    /// The tree of one build. `None`: the commits cannot be put together that way.
    async fn tree_for(&self, ground: &Ground, incident: &Incident, build: &Build) -> Result<Option<ObjectId>, String> {
        let commit = |n: usize| incident.suspects.get(n.wrapping_sub(1)).map(|s| s.commit.clone());
        let (mirror, green) = (ground.mirror.clone(), incident.green.clone());
        let combined = match build {
            Build::Prefix(0) => return tree_of(ground, &green).map(Some),
            Build::Prefix(n) => return commit(*n).map(|c| tree_of(ground, &c)).transpose(),
            Build::Alone(n) => {
                let Some(commit) = commit(*n) else { return Ok(None) };
                blocking(move || mirror.alone(&green, &commit)).await?
            }
            Build::Set(set) => {
                let commits: Vec<CommitId> = set.iter().filter_map(|n| commit(*n)).collect();
                blocking(move || mirror.set(&green, &commits)).await?
            }
        };
        Ok(match combined {
            Combined::Tree(tree) => Some(tree),
            Combined::Conflict(_) => None,
        })
    }

    /// The branch's tip without the culprits, checked as often as chance asks for, and the conditions of a revert (D12).
    async fn prepare(
        &self,
        ground: &Ground,
        incident: &Incident,
        check: &Check,
        culprits: Vec<CommitId>,
    ) -> Result<Done, String> {
        let Some(tip) = self.stands(ground, incident).await? else {
            return Ok(Done::Refused("the branch is gone".to_owned()));
        };
        let (mirror, at, out) = (ground.mirror.clone(), tip.clone(), culprits.clone());
        let tree = match blocking(move || mirror.without_all(&at, &out)).await? {
            Combined::Tree(tree) => tree,
            Combined::Conflict(paths) => {
                let paths: Vec<String> = paths.iter().take(5).map(ToString::to_string).collect();
                return Ok(Done::NotAllowed(format!("it does not come out cleanly any more: {}", paths.join(", "))));
            }
        };
        let mut greens = 0;
        loop {
            match self.fresh(ground, &tree, check).await {
                Ok(Verdict::Green) => greens += 1,
                Ok(verdict) => return Ok(Done::Prepared { tip, tree, verdict }),
                Err(why) => return Ok(Done::Hindered(why)),
            }
            // As often green as it takes to be no chance, as red before.
            if incident.nature == Nature::Compile || !rr_core::culprit::rerun_needed(incident.nature, greens) {
                break;
            }
        }
        if !incident.accepted
            && let Some(why) = self.not_allowed(ground, incident).await?
        {
            self.metrics.revert(RevertWord::Proposed);
            return Ok(Done::NotAllowed(why));
        }
        Ok(Done::Prepared { tip, tree, verdict: Verdict::Green })
    }

    async fn not_allowed(&self, ground: &Ground, incident: &Incident) -> Result<Option<String>, String> {
        let on_break = &ground.health.on_break;
        let circumstances = Circumstances {
            proposes_only: on_break.revert == RevertMode::Propose,
            reverts_so_far: self.fleet.reverts_counted().await.map_err(|e| chain(&e))?,
            reverts_max: on_break.reverts_a_day,
            now_unix_s: unix_ms() / 1_000,
        };
        Ok(allowed::why_not(incident, &circumstances))
    }

    /// Until nothing that was let through before the pause is under way (H19), at most for [`DRAIN_MAX`] or until the pause is over.
    async fn drain(&self, incident: &Incident) -> Result<Done, String> {
        let Some(pause) = &incident.pause else { return Ok(Done::Drained(vec![])) };
        let until = Instant::now() + DRAIN_MAX;
        loop {
            let drain = self.fleet.drained().await.map_err(|e| chain(&e))?;
            let is_over = !drain.paused
                || !self.fleet.has_hold(pause).await.map_err(|e| chain(&e))?
                || self.fleet.deadline_over(&incident.id).await.map_err(|e| chain(&e))?;
            if is_over {
                // Who ended it, or that its time is over, is for the next round to say: nothing is landed before.
                return Ok(Done::Built(vec![]));
            }
            if drain.waiting.is_empty() || Instant::now() >= until {
                let late = drain.waiting.iter().map(|sid| format!("session {}", sid.short())).collect();
                return Ok(Done::Drained(late));
            }
            tokio::time::sleep(DRAIN_LOOK_EVERY).await;
        }
    }

    async fn land(
        &self,
        leader: &Leader,
        ground: &Ground,
        incident: &Incident,
        tip: CommitId,
        tree: ObjectId,
    ) -> Result<Done, String> {
        let Some(place) = self.grounds.place(&incident.line) else {
            return Ok(Done::Hindered("its branch is on another host".to_owned()));
        };
        self.fleet.count_revert(leader, &incident.id).await.map_err(|e| chain(&e))?;
        let plan = RevertPlan { tip, tree, message: message(incident), trailers: trailers(incident) };
        // Made from the incident alone, so that every watcher makes the same commit.
        let at = incident.opened_unix_ms / 1_000;
        let (mirror, culprits) = (ground.mirror.clone(), incident.culprit_commits());
        let landing = blocking(move || {
            let mut kept = None;
            for culprit in &culprits {
                kept = Some(mirror.keep_reverted(&place, culprit)?);
            }
            let commit = mirror.make_revert(&plan, at)?;
            Ok((mirror.land(&place, &plan.tip, &commit)?, commit, kept))
        });
        let (landing, commit, kept) = landing.await?;
        let (done, word) = match landing {
            Landing::Landed | Landing::AlreadyThere => (Done::Landed { commit, kept }, Some(RevertWord::Landed)),
            Landing::Moved { .. } => (Done::Moved, Some(RevertWord::Moved)),
            Landing::Refused { why } => (Done::Refused(why.to_string()), Some(RevertWord::Proposed)),
            Landing::Unreachable { said } => (Done::Hindered(said), None),
        };
        word.into_iter().for_each(|word| self.metrics.revert(word));
        Ok(done)
    }

    async fn verify(&self, ground: &Ground, incident: &Incident, check: &Check) -> Result<Done, String> {
        let Some(tip) = self.stands(ground, incident).await? else {
            return Ok(Done::Refused("the branch is gone".to_owned()));
        };
        let tree = tree_of(ground, &tip)?;
        // The very tree that was checked before it was landed needs no other run.
        let is_ours = incident.revert.as_ref().is_some_and(|r| r.green && r.tree == tree);
        if is_ours {
            return Ok(Done::Verified { tip, verdict: Verdict::Green });
        }
        Ok(match self.fresh(ground, &tree, check).await {
            Ok(verdict) => Done::Verified { tip, verdict },
            Err(why) => Done::Hindered(why),
        })
    }

    async fn fresh(&self, ground: &Ground, tree: &ObjectId, check: &Check) -> Result<Verdict, String> {
        match self.shop.ask(ground, tree, check, Urgency::Break, Memory::Fresh).await {
            Said::Green => Ok(Verdict::Green),
            Said::Red { .. } => Ok(Verdict::Red),
            Said::Nothing(why) => Err(format!("`{}` could not be run: {why}", check.name)),
        }
    }

    async fn stands(&self, ground: &Ground, incident: &Incident) -> Result<Option<CommitId>, String> {
        let (grounds, ground, line) = (self.grounds.clone(), ground.clone(), incident.line.clone());
        blocking(move || grounds.stands(&ground, &line)).await
    }

    /// Somebody may repair what no revert could: the branch's health says so.
    async fn look_for_repair(&self, leader: &Leader, stored: &Stored) -> Result<bool, String> {
        let health = self.fleet.line_health(&stored.incident.line).await.map_err(|e| chain(&e))?;
        let green =
            health.filter(|h| h.red.is_none() && h.green.is_some() && h.green != Some(stored.incident.green.clone()));
        match green.and_then(|h| h.green) {
            Some(tip) => self.store(leader, stored, Done::Verified { tip, verdict: Verdict::Green }).await,
            None => Ok(false),
        }
    }

    async fn open_again(&self, leader: &Leader, incident: &Incident) -> Result<Done, String> {
        if let Some(pause) = &incident.pause {
            self.resume(leader, pause).await?;
            let lasted = unix_ms().saturating_sub(incident.paused_unix_ms());
            self.metrics.resumed_after_a_break(Duration::from_millis(lasted));
        }
        Ok(Done::Resumed)
    }

    async fn resume(&self, leader: &Leader, pause: &Pause) -> Result<(), String> {
        match self.fleet.resume_for(leader, pause, "the watcher").await.map_err(|e| chain(&e))? {
            ResumedFor::Running { epoch } => tracing::info!(epoch = epoch.0, "resumed the fleet"),
            ResumedFor::StillHeld { by } => tracing::info!(?by, "the fleet stays paused for other reasons"),
            ResumedFor::AlreadyOver => {}
        }
        Ok(())
    }

    async fn store(&self, leader: &Leader, stored: &Stored, done: Done) -> Result<bool, String> {
        let next = stored.incident.clone().after(done, unix_ms());
        if next == stored.incident {
            return Ok(false);
        }
        let notes = next.notes.len();
        if let Some(note) = next.notes.last().filter(|_| notes > stored.incident.notes.len()) {
            tracing::warn!(incident = next.id.short(), state = ?next.state, "{}", note.text);
        }
        match self.fleet.advance(leader, stored, &next).await.map_err(|e| chain(&e))? {
            Advanced::Yes(_) | Advanced::Overtaken(_) => Ok(true),
        }
    }

    async fn close(&self, leader: &Leader, stored: &Stored) -> Result<bool, String> {
        self.fleet.close_incident(leader, stored, &stored.incident).await.map_err(|e| chain(&e))?;
        self.metrics.incident_over(end_of(&stored.incident));
        Ok(true)
    }
}

/// What a break concerns. Where that cannot be told, everybody stops: a pause does not wait for it.
async fn concerned(ground: &Ground, incident: &Incident) -> Option<Affected> {
    let (mirror, of) = (ground.mirror.clone(), incident.clone());
    let drawn = blocking(move || affected::of(&mirror, &of)).await;
    drawn.inspect_err(|why| tracing::warn!(incident = incident.id.short(), why, "find out whom a break concerns")).ok()
}

fn end_of(incident: &Incident) -> IncidentWord {
    if incident.revert.as_ref().is_some_and(|r| r.commit.is_some()) {
        IncidentWord::Reverted
    } else if incident.escalated.is_some() {
        IncidentWord::Repaired
    } else {
        IncidentWord::Flake
    }
}

fn message(incident: &Incident) -> String {
    let culprits: Vec<_> = incident.culprits.iter().filter_map(|n| incident.suspects.get(*n)).collect();
    let subject = culprits.first().map_or_else(String::new, |s| s.subject.chars().take(50).collect());
    let commits: Vec<String> = culprits.iter().map(|s| format!("This reverts commit {}.", s.commit)).collect();
    format!(
        "Revert \"{subject}\"\n\n{}\n\n`{}` fails with it and passes without it.\n",
        commits.join("\n"),
        incident.check
    )
}

fn trailers(incident: &Incident) -> Vec<(String, String)> {
    vec![("Railroad-Incident".to_owned(), incident.id.to_string())]
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, rr_git::MirrorError> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?.map_err(|e| chain(&e))
}
