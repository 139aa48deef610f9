//! What work trees have against each other, as the leader found it: few and small, so that every sidecar may follow all of them
//! and pick its own. And whom the leader has told what, in words of its own. A finding that cannot be read is passed over with
//! a warning. What makes a finding, and who is told, is not known here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rr_core::overlap::{EXCERPT_BYTES_MAX, Finding, FindingId};
use rr_store::{Change, KeyValue, Keys, Op};

use crate::listing::Listing;
use crate::records::{decode, encode};
use crate::turn::{Step, Turn};
use crate::{Doing, Fleet, FleetError, Leader};

/// Of the whole fleet. Sixteen agents that all meet have 120 pairs; more than four of each is more than anybody reads, and all
/// sidecars list them all.
pub const FINDINGS_MAX: usize = 500;
/// One finding: its excerpt, however it is escaped, and some hundred paths.
const FINDING_BYTES_MAX: usize = 32 << 10;
/// Writes of one transaction, its turn's beside them; all at their largest still fit into it.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 512 << 10;
/// Everything goes and everything comes, each at its largest.
const ROUNDS_MAX: usize =
    FINDINGS_MAX / BATCH + FINDINGS_MAX * FINDING_BYTES_MAX / (BATCH_BYTES - FINDING_BYTES_MAX) + 2;
/// For each finding and side a hash, a level and a time, and as much again.
pub const TOLD_BYTES_MAX: usize = 512 << 10;

#[derive(Clone, Debug, PartialEq)]
pub enum FindingChange {
    /// New, or other than before.
    Put(Box<Finding>),
    Clear(FindingId),
}

/// What came of a change of the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FindingsKept {
    /// In the store now.
    pub kept: usize,
    /// The mildest ones, for which there was no room.
    pub left_out: usize,
}

/// The findings, as they change.
pub struct FindingFollower {
    list: Listing,
    all: BTreeMap<FindingId, Finding>,
}

impl Fleet {
    /// Changes the findings, later changes of one after earlier ones. Beyond [`FINDINGS_MAX`] the worst are kept.
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly: then a part may be changed, and the same may be asked again.
    pub async fn put_findings(&self, leader: &Leader, changes: &[FindingChange]) -> Result<FindingsKept, FleetError> {
        let mut wanted = BTreeMap::new();
        for change in changes {
            match change {
                FindingChange::Put(finding) => wanted.insert(self.keys.finding(&finding.id), Some(shortened(finding))),
                FindingChange::Clear(id) => wanted.insert(self.keys.finding(id), None),
            };
        }
        let turn = Turn { area: "findings", leader: Some(leader), doing: "change the findings" };
        let prefix = self.keys.findings();
        let mut result = FindingsKept { kept: 0, left_out: 0 };
        let mut aim: Option<BTreeMap<String, Vec<u8>>> = None;
        for _ in 0..ROUNDS_MAX {
            let reads = [Keys::prefix(prefix.clone())];
            let written = self.in_turn(&turn, &reads, |seen| {
                let present: BTreeMap<&str, &KeyValue> = seen.below(&prefix).map(|kv| (kv.key.as_str(), kv)).collect();
                // Decided once: what the first batch takes away must not make room for what it left out.
                let aim = aim.get_or_insert_with(|| {
                    let (aim, left_out) = worst(&present, &wanted);
                    result = FindingsKept { kept: aim.len(), left_out };
                    aim
                });
                let ops = a_batch(&present, aim);
                Ok(if ops.is_empty() { Step::Done(true) } else { Step::write(ops, false) })
            });
            if written.await?.0 {
                return Ok(result);
            }
        }
        Err(FleetError::Voided)
    }

    /// All findings that can be read.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn findings(&self) -> Result<Vec<Finding>, FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.findings())).await.doing("list the findings")?;
        Ok(reply.kvs.iter().filter_map(readable).collect())
    }

    /// Follows all findings: what stands now is in it already.
    ///
    /// # Errors
    /// If the store does not answer now. Later it may be away.
    pub async fn follow_findings(&self) -> Result<FindingFollower, FleetError> {
        let list = Listing::of(self, self.keys.findings()).await?;
        let mut follower = FindingFollower { list, all: BTreeMap::new() };
        follower.next().await?;
        Ok(follower)
    }

    /// Keeps what the leader has told whom, for the next one.
    ///
    /// # Errors
    /// If it is longer than [`TOLD_BYTES_MAX`], another leads, or the store does not answer clearly.
    pub async fn put_told(&self, leader: &Leader, json: &str) -> Result<(), FleetError> {
        let (bytes, max) = (json.len(), TOLD_BYTES_MAX);
        if bytes > max {
            return Err(FleetError::TooLong { what: "what was told", bytes, max });
        }
        let turn = Turn { area: "told", leader: Some(leader), doing: "keep what was told" };
        let key = self.keys.told();
        let put = |_: &crate::turn::Seen| Ok(Step::write(vec![Op::put(key.clone(), json)], ()));
        self.in_turn(&turn, &[], put).await.map(|_| ())
    }

    /// What [`Fleet::put_told`] kept last.
    ///
    /// # Errors
    /// If the store does not answer, or it is no text.
    pub async fn told(&self) -> Result<Option<String>, FleetError> {
        let Some(kv) = self.get(&self.keys.told(), "read what was told").await? else { return Ok(None) };
        let garbage = |error: std::string::FromUtf8Error| FleetError::Garbage { key: kv.key, why: error.to_string() };
        String::from_utf8(kv.value).map(Some).map_err(garbage)
    }
}

impl FindingFollower {
    /// What stands, as far as was followed.
    pub fn all(&self) -> impl Iterator<Item = &Finding> {
        self.all.values()
    }

    /// What has changed since. It may be dropped at any moment and asked again.
    ///
    /// # Errors
    /// If the store refuses for good.
    pub async fn next(&mut self) -> Result<Vec<FindingChange>, FleetError> {
        let changes = self.list.next().await?;
        let prefix = self.list.fleet().keys.findings();
        let mut said = Vec::new();
        for change in changes {
            let id = change.key().strip_prefix(&prefix).and_then(|id| FindingId::parse(id).ok());
            let Some(id) = id else { continue };
            // One that cannot be read says nothing any more.
            let put = match &change {
                Change::Put(kv) => readable(kv),
                Change::Delete { .. } => None,
            };
            if let Some(finding) = put {
                self.all.insert(id, finding.clone());
                said.push(FindingChange::Put(Box::new(finding)));
            } else {
                self.all.remove(&id);
                said.push(FindingChange::Clear(id));
            }
        }
        Ok(said)
    }
}

fn readable(kv: &KeyValue) -> Option<Finding> {
    decode(kv).inspect_err(|error| tracing::warn!(%error, "a finding is passed over")).ok()
}

/// Fits into its bound, with fewer paths and words if it must.
fn shortened(finding: &Finding) -> Finding {
    let mut finding = finding.clone();
    cut(&mut finding.excerpt, EXCERPT_BYTES_MAX);
    while encode(&finding).len() > FINDING_BYTES_MAX {
        let (paths, words) = (finding.paths.len() / 2, finding.excerpt.len() / 2);
        let places = finding.places.len() / 2;
        // The first path names it; words are worth more than many more of them.
        if finding.paths.len() > 1 || finding.places.len() > 1 {
            finding.paths.truncate(paths.max(1));
            finding.places.truncate(places.max(1));
        } else if !finding.excerpt.is_empty() {
            cut(&mut finding.excerpt, words);
        } else {
            finding.paths.clear();
            finding.places.clear();
            break;
        }
    }
    finding
}

fn cut(text: &mut String, max: usize) {
    text.truncate((0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
}

/// What is to be there in the end: the worst of what is there and comes, earlier ones before later ones of their level. And
/// how many are not among it.
fn worst(
    present: &BTreeMap<&str, &KeyValue>,
    wanted: &BTreeMap<String, Option<Finding>>,
) -> (BTreeMap<String, Vec<u8>>, usize) {
    let kept = present.iter().filter(|(key, _)| !wanted.contains_key(**key));
    // What cannot be read makes room.
    let kept = kept.filter_map(|(key, kv)| {
        readable(kv).map(|finding| (Reverse(finding.level), kv.create_revision, (*key).to_owned(), kv.value.clone()))
    });
    let came = wanted.iter().filter_map(|(key, finding)| {
        let finding = finding.as_ref()?;
        let since = present.get(key.as_str()).map_or(u64::MAX, |kv| kv.create_revision);
        Some((Reverse(finding.level), since, key.clone(), encode(finding)))
    });
    let mut all: Vec<_> = kept.chain(came).collect();
    all.sort();
    let left_out = all.len().saturating_sub(FINDINGS_MAX);
    all.truncate(FINDINGS_MAX);
    (all.into_iter().map(|(.., key, value)| (key, value)).collect(), left_out)
}

/// Next to be written: first what goes, so that there are never too many.
fn a_batch(present: &BTreeMap<&str, &KeyValue>, aim: &BTreeMap<String, Vec<u8>>) -> Vec<Op> {
    let over = present.keys().filter(|key| !aim.contains_key(**key)).map(|key| Op::Delete(Keys::one(*key)));
    let mut ops: Vec<Op> = over.take(BATCH).collect();
    let mut bytes = 0;
    for (key, value) in aim {
        if present.get(key.as_str()).is_some_and(|kv| kv.value == *value) {
            continue;
        }
        bytes += value.len();
        if ops.len() == BATCH || bytes > BATCH_BYTES {
            break;
        }
        ops.push(Op::put(key.clone(), value.clone()));
    }
    ops
}
