//! What is known of a repository's health: the plan of its checks and whether a person trusts it, how each line stands, the last
//! runs, and who asked for one. A line, run or request that cannot be read is passed over with a warning; a plan is an error.
//! What a plan says, and what runs it, is not known here.

use rr_core::id::{CommitId, HostId, ObjectId, OpId, RepoId};
use rr_core::incident::Line;
use rr_store::{KeyValue, Keys, Op, Revision};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::approvals::shown;
use crate::records::{decode, encode};
use crate::turn::{Step, Turn};
use crate::{Doing, Fleet, FleetError, Leader};

/// A few commands for each of a few hundred packages.
pub const PLAN_BYTES_MAX: usize = 256 << 10;
/// Of each repository: a day's worth where main moves every seven minutes.
pub const HEALTH_RUNS_MAX: usize = 200;
/// Lines that are looked after. More branches than these nobody calls theirs.
const LINES_MAX: usize = 1_000;
/// Repositories that people wait for at a time; asking twice is asking once.
const ASKS_MAX: usize = 64;
/// Words of people and programs in one field.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Runs that one transaction may take away: more than come between two of them.
const OLD_RUNS_PER_WRITE: usize = 64;

/// How a line stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineHealth {
    pub line: Line,
    /// The last commit that passed.
    pub green: Option<CommitId>,
    /// Where it stood when it was looked at.
    pub tip: Option<CommitId>,
    /// The first commit known to fail since.
    pub red: Option<CommitId>,
    pub check: String,
    /// Why it is not known to be either, for people.
    #[serde(default)]
    pub note: String,
    pub at_unix_ms: u64,
}

impl LineHealth {
    /// Nothing is known of it yet.
    #[must_use]
    pub fn new(line: Line) -> Self {
        let (check, note) = (String::new(), String::new());
        Self { line, green: None, tip: None, red: None, check, note, at_unix_ms: 0 }
    }
}

/// One finished run of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRun {
    pub repo: RepoId,
    /// What it was for, for people.
    pub label: String,
    pub tree: ObjectId,
    pub check: String,
    pub verdict: String,
    pub took_ms: u64,
    pub at_unix_ms: u64,
    pub host: HostId,
}

/// That somebody wants a repository checked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthAsk {
    pub repo: RepoId,
    pub who: String,
    /// What taking it names.
    pub revision: Revision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedHealth {
    Yes,
    /// It was asked for before, and nobody has taken that up yet.
    Already,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenAsk {
    Yes,
    /// By somebody before, or it was asked anew since.
    Gone,
}

/// Which plan a person trusts, and who that is.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrustedPlan {
    pub hash: String,
    pub who: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct AskRecord {
    op: OpId,
    who: String,
}

fn turn_of(leader: Option<&Leader>) -> Turn<'_> {
    Turn { area: "health", leader, doing: "keep what is known of health" }
}

/// Asks are apart: people must not be kept waiting by runs.
fn asking(leader: Option<&Leader>) -> Turn<'_> {
    Turn { area: "health-ask", leader, doing: "ask for a check" }
}

impl Fleet {
    /// Keeps the plan of a repository's checks.
    ///
    /// # Errors
    /// If it is longer than [`PLAN_BYTES_MAX`], another leads, or the store does not answer clearly.
    pub async fn put_plan<T: Serialize + Sync>(
        &self,
        leader: &Leader,
        repo: &RepoId,
        plan: &T,
    ) -> Result<(), FleetError> {
        let key = self.keys.plan(repo);
        let garbage = |error: serde_json::Error| FleetError::Garbage { key: key.clone(), why: error.to_string() };
        let value = serde_json::to_vec(plan).map_err(garbage)?;
        let (bytes, max) = (value.len(), PLAN_BYTES_MAX);
        if bytes > max {
            return Err(FleetError::TooLong { what: "a plan", bytes, max });
        }
        self.keep_as_leader(leader, key, value).await
    }

    /// The plan of a repository's checks.
    ///
    /// # Errors
    /// If the store does not answer, or it is no such plan.
    pub async fn plan<T: DeserializeOwned>(&self, repo: &RepoId) -> Result<Option<T>, FleetError> {
        self.get(&self.keys.plan(repo), "read a plan").await?.map(|kv| decode(&kv)).transpose()
    }

    /// Keeps how a line stands.
    ///
    /// # Errors
    /// If another leads, there are too many lines, or the store does not answer clearly.
    pub async fn put_line_health(&self, leader: &Leader, health: &LineHealth) -> Result<(), FleetError> {
        let (prefix, key) = (self.keys.line_healths(), self.keys.line_health(&health.line));
        let [check, note] = [&health.check, &health.note].map(|text| shown(text, TEXT_BYTES_MAX));
        let health = LineHealth { check, note, ..health.clone() };
        let put = self
            .in_turn(&turn_of(Some(leader)), &[Keys::prefix(prefix.clone())], |seen| {
                if seen.at(&key).is_none() && seen.below(&prefix).count() >= LINES_MAX {
                    return Err(FleetError::TooMany { what: "lines", max: LINES_MAX });
                }
                Ok(Step::write(vec![Op::put(key.clone(), encode(&health))], ()))
            })
            .await;
        put.map(|_| ())
    }

    /// Forgets a line that is not there any more.
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly.
    pub async fn forget_line_health(&self, leader: &Leader, line: &Line) -> Result<(), FleetError> {
        let key = self.keys.line_health(line);
        let gone = |_: &crate::turn::Seen| Ok(Step::write(vec![Op::Delete(Keys::one(key.clone()))], ()));
        self.in_turn(&turn_of(Some(leader)), &[], gone).await.map(|_| ())
    }

    /// How a line stands, if that is known.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn line_health(&self, line: &Line) -> Result<Option<LineHealth>, FleetError> {
        let kv = self.get(&self.keys.line_health(line), "read how a line stands").await?;
        Ok(kv.as_ref().and_then(readable))
    }

    /// How all lines stand.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn line_healths(&self) -> Result<Vec<LineHealth>, FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.line_healths())).await.doing("list how lines stand")?;
        Ok(reply.kvs.iter().filter_map(readable).collect())
    }

    /// Adds a run to its repository's; the oldest beyond [`HEALTH_RUNS_MAX`] go with the same write.
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly.
    pub async fn put_health_run(&self, leader: &Leader, run: &HealthRun) -> Result<(), FleetError> {
        let [label, check, verdict] = [&run.label, &run.check, &run.verdict].map(|text| shown(text, TEXT_BYTES_MAX));
        let value = encode(&HealthRun { label, check, verdict, ..run.clone() });
        let prefix = self.keys.health_runs(&run.repo);
        let mut own: Option<String> = None;
        let put = self
            .in_turn(&turn_of(Some(leader)), &[Keys::prefix(prefix.clone())], |seen| {
                let present: Vec<&str> = seen.below(&prefix).map(|kv| kv.key.as_str()).collect();
                // Of a try whose answer was lost. Another's at the same number is not the same run.
                if own.as_ref().and_then(|key| seen.at(key)).is_some_and(|kv| kv.value == value) {
                    return Ok(Step::Done(()));
                }
                let last = present.last().and_then(|key| key.strip_prefix(&prefix)?.parse::<u64>().ok());
                let key = self.keys.health_run(&run.repo, last.map_or(1, |last| last + 1));
                let over = (present.len() + 1).saturating_sub(HEALTH_RUNS_MAX).min(OLD_RUNS_PER_WRITE);
                let old = present[..over].iter().map(|key| Op::Delete(Keys::one(*key)));
                let ops = old.chain([Op::put(own.insert(key).clone(), value.clone())]).collect();
                Ok(Step::write(ops, ()))
            })
            .await;
        put.map(|_| ())
    }

    /// The last runs of a repository, the latest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn health_runs(&self, repo: &RepoId, count: usize) -> Result<Vec<HealthRun>, FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.health_runs(repo))).await.doing("list runs of checks")?;
        Ok(reply.kvs.iter().rev().filter_map(readable).take(count).collect())
    }

    /// Asks for a check of a repository now.
    ///
    /// # Errors
    /// If too many are asked for, or the store does not answer clearly: it may be asked again.
    pub async fn ask_health(&self, repo: &RepoId, who: &str) -> Result<AskedHealth, FleetError> {
        let (prefix, key) = (self.keys.health_asks(), self.keys.health_ask(repo));
        let op = OpId::from_random(self.entropy.bits());
        let record = AskRecord { op: op.clone(), who: shown(who, TEXT_BYTES_MAX) };
        let asked = self
            .in_turn(&asking(None), &[Keys::prefix(prefix.clone())], |seen| {
                if let Some(kv) = seen.at(&key) {
                    let is_own = decode::<AskRecord>(kv).is_ok_and(|record| record.op == op);
                    return Ok(Step::Done(if is_own { AskedHealth::Yes } else { AskedHealth::Already }));
                }
                if seen.below(&prefix).count() >= ASKS_MAX {
                    return Err(FleetError::TooMany { what: "requests for a check", max: ASKS_MAX });
                }
                Ok(Step::write(vec![Op::put(key.clone(), encode(&record))], AskedHealth::Yes))
            })
            .await;
        asked.map(|(asked, _)| asked)
    }

    /// Who wants which repository checked.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn health_asked(&self) -> Result<Vec<HealthAsk>, FleetError> {
        let prefix = self.keys.health_asks();
        let reply = self.store.range(Keys::prefix(prefix.clone())).await.doing("list requests for a check")?;
        let asks = reply.kvs.iter().filter_map(|kv| {
            let repo = RepoId::parse(kv.key.strip_prefix(&prefix)?).ok()?;
            // Whoever it was: the repository is to be checked.
            let who = readable::<AskRecord>(kv).map(|record| record.who).unwrap_or_default();
            Some(HealthAsk { repo, who, revision: kv.mod_revision })
        });
        Ok(asks.collect())
    }

    /// Takes a request up, once.
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly: then it may be gone, and asking again is up to people.
    pub async fn take_health_ask(&self, leader: &Leader, ask: &HealthAsk) -> Result<TakenAsk, FleetError> {
        let key = self.keys.health_ask(&ask.repo);
        let mut tried = false;
        let taken = self
            .in_turn(&asking(Some(leader)), &[Keys::one(key.clone())], |seen| {
                if seen.at(&key).is_none_or(|kv| kv.mod_revision != ask.revision) {
                    // The leader alone takes: after a try of its own, that did it.
                    return Ok(Step::Done(if tried { TakenAsk::Yes } else { TakenAsk::Gone }));
                }
                tried = true;
                Ok(Step::write(vec![Op::Delete(Keys::one(key.clone()))], TakenAsk::Yes))
            })
            .await;
        taken.map(|(taken, _)| taken)
    }

    /// Says that a person trusts the plan of this hash, and no other, of a repository.
    ///
    /// # Errors
    /// If the store does not answer clearly: it may be said again.
    pub async fn trust_plan(&self, repo: &RepoId, hash: &str, who: &str) -> Result<(), FleetError> {
        let key = self.keys.trusted_plan(repo);
        let [hash, who] = [hash, who].map(|text| shown(text, TEXT_BYTES_MAX));
        let value = encode(&TrustedPlan { hash, who });
        let turn = Turn { area: "trust", leader: None, doing: "trust a plan" };
        let put = |_: &crate::turn::Seen| Ok(Step::write(vec![Op::put(key.clone(), value.clone())], ()));
        self.in_turn(&turn, &[], put).await.map(|_| ())
    }

    /// The hash of the plan that a person trusts.
    ///
    /// # Errors
    /// If the store does not answer, or it cannot be read: then none is trusted.
    pub async fn trusted_plan(&self, repo: &RepoId) -> Result<Option<TrustedPlan>, FleetError> {
        let kv = self.get(&self.keys.trusted_plan(repo), "read which plan is trusted").await?;
        kv.map(|kv| decode(&kv)).transpose()
    }

    async fn keep_as_leader(&self, leader: &Leader, key: String, value: Vec<u8>) -> Result<(), FleetError> {
        let put = |_: &crate::turn::Seen| Ok(Step::write(vec![Op::put(key.clone(), value.clone())], ()));
        self.in_turn(&turn_of(Some(leader)), &[], put).await.map(|_| ())
    }
}

fn readable<T: DeserializeOwned>(kv: &KeyValue) -> Option<T> {
    decode(kv).inspect_err(|error| tracing::warn!(%error, "passed over")).ok()
}
