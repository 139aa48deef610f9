//! How branches stand, what is run to know it, and a person's wish for a check, as the wire has them. What runs a
//! check, and whether one may be believed, is the watcher's.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::id::{HostId, RepoId};
use rr_fleet::{AskedHealth, Fleet, FleetError, HEALTH_RUNS_MAX, HealthRun, LineHealth, SlotRow};
use rr_proto::v1;
use rr_proto::v1::health_server::Health as HealthService;
use rr_proto::v1::trust_plan_reply::Outcome;
use rr_runtime::clock::unix_ms;
use rr_runtime::errors::chain;
use tonic::{Request, Response, Status};

use super::people::People;
use super::plan::PlanRecord;
use crate::gate::Caller;
use crate::ops::text;
use crate::refusal::{bad, from_fleet};
use crate::services::{Desk, refused, said};

/// Runs of all repositories in one answer.
const RUNS_MAX: usize = 1_000;

/// Each branch with its last verdict, each repository's checks, and the places to run them in.
///
/// # Errors
/// If the store does not answer.
pub async fn show(fleet: &Fleet) -> Result<v1::HealthReply, Status> {
    let people = People::of(fleet).await?;
    let lines = fleet.line_healths().await.map_err(|e| from_fleet(&e))?;
    let mut plans = Vec::new();
    for repo in repos(fleet, &lines).await? {
        plans.extend(plan(fleet, &repo).await?);
    }
    let asked = fleet.health_asked().await.map_err(|e| from_fleet(&e))?;
    Ok(v1::HealthReply {
        lines: lines.iter().map(line_on_the_wire).collect(),
        plans,
        asked: asked.iter().map(|ask| ask.repo.to_string()).collect(),
        slots: in_use(&fleet.slots().await.map_err(|e| from_fleet(&e))?, &people),
        now_unix_ms: unix_ms(),
    })
}

/// Those that have a branch that was looked at, or live work.
async fn repos(fleet: &Fleet, lines: &[LineHealth]) -> Result<BTreeSet<RepoId>, Status> {
    let (trees, _) = fleet.live().await.map_err(|e| from_fleet(&e))?;
    let live = trees.into_iter().map(|(_, set)| set.repo);
    Ok(lines.iter().map(|health| health.line.repo.clone()).chain(live).collect())
}

/// The checks of one repository. Those that cannot be read are said to be so, and hide nothing else.
async fn plan(fleet: &Fleet, repo: &RepoId) -> Result<Option<v1::Plan>, Status> {
    match fleet.plan::<PlanRecord>(repo).await {
        Ok(None) => Ok(None),
        Ok(Some(record)) => Ok(Some(record.on_the_wire(repo.to_string()))),
        Err(FleetError::Garbage { why, .. }) => {
            let notes = vec![format!("its checks cannot be read: {why}")];
            Ok(Some(v1::Plan { repo: repo.to_string(), notes, ..Default::default() }))
        }
        Err(error) => Err(from_fleet(&error)),
    }
}

fn line_on_the_wire(health: &LineHealth) -> v1::LineHealth {
    let id = |commit: &Option<_>| commit.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::LineHealth {
        line: Some((&health.line).into()),
        green: id(&health.green),
        tip: id(&health.tip),
        red: id(&health.red),
        check: health.check.clone(),
        note: health.note.clone(),
        at_unix_ms: health.at_unix_ms,
    }
}

/// Each kind of slot of each host that somebody has or waits for.
fn in_use(rows: &[SlotRow], people: &People) -> Vec<v1::Slots> {
    let mut found: BTreeMap<(&HostId, &str), v1::Slots> = BTreeMap::new();
    for row in rows {
        let slots = found.entry((&row.host, &row.name)).or_insert_with(|| v1::Slots {
            host: row.host.to_string(),
            host_name: people.host_name(row.host.as_str()),
            name: row.name.clone(),
            ..Default::default()
        });
        slots.of = slots.of.max(u32::try_from(row.of).unwrap_or(u32::MAX));
        *(if row.has_it { &mut slots.used } else { &mut slots.waiting }) += 1;
    }
    found.into_values().collect()
}

/// The last runs of one repository or of all, the newest first.
///
/// # Errors
/// If the repository's id is none, or the store does not answer.
pub async fn history(fleet: &Fleet, request: v1::HealthHistoryRequest) -> Result<v1::HealthHistoryReply, Status> {
    let limit = match usize::try_from(request.limit).unwrap_or(RUNS_MAX) {
        0 => RUNS_MAX,
        limit => limit.min(RUNS_MAX),
    };
    let repos = match request.repo.as_str() {
        "" => repos(fleet, &fleet.line_healths().await.map_err(|e| from_fleet(&e))?).await?,
        id => BTreeSet::from([RepoId::parse(id).map_err(|e| bad(e.to_string()))?]),
    };
    let mut runs = Vec::new();
    for repo in repos {
        runs.extend(fleet.health_runs(&repo, limit.min(HEALTH_RUNS_MAX)).await.map_err(|e| from_fleet(&e))?);
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.at_unix_ms));
    runs.truncate(limit);
    let people = People::of(fleet).await?;
    let runs = runs.into_iter().map(|run| run_on_the_wire(run, &people)).collect();
    Ok(v1::HealthHistoryReply { runs, now_unix_ms: unix_ms() })
}

fn run_on_the_wire(run: HealthRun, people: &People) -> v1::HealthRun {
    v1::HealthRun {
        repo: run.repo.to_string(),
        label: run.label,
        tree: run.tree.to_string(),
        check: run.check,
        verdict: run.verdict,
        host_name: people.host_name(run.host.as_str()),
        host: run.host.to_string(),
        took_ms: run.took_ms,
        at_unix_ms: run.at_unix_ms,
    }
}

/// Asks for a check of a repository's branches now.
///
/// # Errors
/// If nobody is named, the id is none, or the store does not answer clearly: it may be asked again.
pub async fn run(fleet: &Fleet, request: v1::RunHealthRequest) -> Result<v1::RunHealthReply, Status> {
    let repo = RepoId::parse(&request.repo).map_err(|e| bad(e.to_string()))?;
    let who = text("who", request.who)?;
    let asked = fleet.ask_health(&repo, &who).await.map_err(|e| from_fleet(&e))?;
    tracing::info!(%repo, who, ?asked, "a check was asked for");
    Ok(v1::RunHealthReply { already: asked == AskedHealth::Already })
}

/// Takes down that a person trusts the checks that are proposed, if they still are those that were shown.
///
/// # Errors
/// If nobody is named, the id is none, the checks cannot be read, or the store does not answer clearly.
pub async fn trust(fleet: &Fleet, request: v1::TrustPlanRequest) -> Result<v1::TrustPlanReply, Status> {
    let repo = RepoId::parse(&request.repo).map_err(|e| bad(e.to_string()))?;
    let (who, hash) = (text("who", request.who)?, text("hash", request.hash)?);
    let outcome = match fleet.plan::<PlanRecord>(&repo).await {
        Ok(None) => Outcome::Unknown(true),
        Ok(Some(plan)) if plan.proposed_hash.is_empty() => Outcome::Unknown(true),
        Ok(Some(plan)) if plan.proposed_hash != hash => Outcome::ChangedHash(plan.proposed_hash),
        Ok(Some(_)) => {
            // By its hash: if it is another one by now, it is not that one that is trusted.
            fleet.trust_plan(&repo, &hash, &who).await.map_err(|e| from_fleet(&e))?;
            Outcome::Trusted(true)
        }
        Err(error) => {
            tracing::warn!(%repo, error = chain(&error), "checks that cannot be read are not trusted");
            return Err(from_fleet(&error));
        }
    };
    tracing::warn!(%repo, who, hash, ?outcome, "checks are to be trusted");
    Ok(v1::TrustPlanReply { outcome: Some(outcome) })
}

#[tonic::async_trait]
impl HealthService for Desk {
    async fn show(&self, _: Request<v1::ShowHealthRequest>) -> Result<Response<v1::HealthReply>, Status> {
        show(self.fleet()).await.map(said).map_err(refused)
    }

    async fn history(
        &self,
        request: Request<v1::HealthHistoryRequest>,
    ) -> Result<Response<v1::HealthHistoryReply>, Status> {
        history(self.fleet(), request.into_inner()).await.map(said).map_err(refused)
    }

    async fn run(&self, request: Request<v1::RunHealthRequest>) -> Result<Response<v1::RunHealthReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        run(self.fleet(), request).await.map(said).map_err(refused)
    }

    async fn trust(&self, request: Request<v1::TrustPlanRequest>) -> Result<Response<v1::TrustPlanReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        trust(self.fleet(), request).await.map(said).map_err(refused)
    }
}
