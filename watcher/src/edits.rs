//! What stands in work trees and nobody has committed, checked whenever its agent comes to rest (`when: edit`), and whose it is where
//! several sessions work in one tree. It is told and nothing else: unfinished work pauses nobody and is never taken out.
//! The search is `mixed`'s; telling is `overlap`'s.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use rr_checks::{Trust, When};
use rr_core::culprit::{Culprit, How};
use rr_core::id::{CommitId, ObjectId, SessionId};
use rr_core::live::{ChangeSet, FileChange, GitPath, Rest, Target, TreeKey};
use rr_core::overlap::{Finding, FindingId, Whose};
use rr_fleet::Fleet;
use rr_runtime::errors::chain;
use rr_runtime::metrics::{Metrics, WatchWord};
use rr_runtime::trouble::Trouble;
use tokio::sync::watch;

use crate::grounds::{Ground, Grounds};
use crate::health::{OwnFindings, tree_of};
use crate::mixed::{Bench, Ended, Red, TreeOf, Unit, excerpt};
use crate::plan::Kept;
use crate::scene::Scene;
use crate::workshop::{Memory, Said, Urgency, Workshop};

/// Without news it is looked again this often all the same: a check may have come to be believed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a check's output in a finding.
const TOLD_BYTES_MAX: usize = 2 << 10;
/// Files of one finding.
const PATHS_MAX: usize = 64;

#[derive(Clone)]
pub(crate) struct Edits {
    pub fleet: Fleet,
    pub grounds: Arc<Grounds>,
    pub shop: Arc<Workshop>,
    /// One a work tree at most.
    pub found: OwnFindings,
    pub metrics: Metrics,
}

/// What a verdict was reached on: with anything else the tree is looked at again.
#[derive(PartialEq, Eq)]
struct Seen {
    tree: ObjectId,
    head: Option<CommitId>,
    target: Option<Target>,
    by: Vec<Vec<SessionId>>,
}

impl Seen {
    fn of(set: &ChangeSet) -> Self {
        let by = set.files.iter().map(|file| file.by.clone()).collect();
        Self { tree: set.tree.clone(), head: set.head.clone(), target: set.target.clone(), by }
    }
}

type Known = BTreeMap<TreeKey, Seen>;

/// What a red of a work tree came to.
enum Cause {
    Edits(Box<Finding>),
    /// The last commit fails as well, or it was chance.
    NotTheEdits,
    /// The check says nothing: why.
    Unknown(String),
    Overtaken,
}

/// A red work tree.
struct Case<'a> {
    key: &'a TreeKey,
    set: &'a ChangeSet,
    base: &'a ObjectId,
    bench: Bench<'a>,
    red: Red,
}

impl Edits {
    /// Looks after all work trees for as long as it is not dropped.
    pub(crate) async fn look_after(&self, mut scene: watch::Receiver<Scene>) -> Infallible {
        let mut known = Known::new();
        let mut trouble = Trouble::with("check what stands in work trees");
        // It ends with the term, like its sender.
        let _ = scene.wait_for(|scene| scene.is_known).await;
        loop {
            scene.mark_unchanged();
            let wait = match self.round(&scene, &mut known).await {
                Ok(()) => {
                    trouble.worked();
                    LOOK_EVERY
                }
                Err(why) => {
                    self.metrics.watch_error(WatchWord::Health);
                    trouble.failed(&why).as_std()
                }
            };
            let _ = tokio::time::timeout(wait, scene.changed()).await;
        }
    }

    /// Every tree that is at rest and other than when it was judged.
    async fn round(&self, scene: &watch::Receiver<Scene>, known: &mut Known) -> Result<(), String> {
        let now = scene.borrow().clone();
        known.retain(|key, _| now.trees.contains_key(key));
        self.found().retain(|_, finding| now.trees.contains_key(&finding.sides[0]));
        for repo in now.repos() {
            let is_due = |(key, set): &(&TreeKey, &Arc<ChangeSet>)| {
                set.rest == Rest::Settled && known.get(*key) != Some(&Seen::of(set))
            };
            let due: Vec<(&TreeKey, &Arc<ChangeSet>)> = now.of(&repo).filter(is_due).collect();
            if due.is_empty() {
                continue;
            }
            let Some(kept) = self.fleet.plan::<Kept>(&repo).await.map_err(|e| chain(&e))? else { continue };
            let (grounds, of, picture) = (self.grounds.clone(), repo.clone(), now.clone());
            let ground = tokio::task::spawn_blocking(move || grounds.of(&of, &picture)).await;
            let Some(ground) = ground.map_err(|e| e.to_string())?.map_err(|e| chain(&e))? else { continue };
            for (key, set) in due {
                let stands = || scene.borrow().trees.get(key).is_some_and(|now| Seen::of(now) == Seen::of(set));
                if stands() && self.judge(&ground, &kept, key, set, &stands).await? {
                    known.insert(key.clone(), Seen::of(set));
                }
            }
        }
        Ok(())
    }

    /// Whether it needs no other look as it stands.
    async fn judge(
        &self,
        ground: &Ground,
        kept: &Kept,
        key: &TreeKey,
        set: &ChangeSet,
        stands: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool, String> {
        // What has not been tried yet may be believed soon.
        let is_early =
            kept.checks.iter().any(|j| j.check.when == When::Edit && matches!(j.trust, Trust::NotYet { .. }));
        let base = set.head.as_ref().and_then(|head| tree_of(ground, head).ok());
        // Nobody to be told, nothing to be told about.
        let Some(base) = base.filter(|base| *base != set.tree && !set.writers.is_empty()) else {
            self.put(key, None);
            return Ok(true);
        };
        let mut is_answered = true;
        for check in kept.trusted(When::Edit) {
            let bench = Bench { shop: &self.shop, ground, check, urgency: Urgency::Edit };
            let cause = match self.shop.ask(ground, &set.tree, check, bench.urgency, Memory::Known).await {
                Said::Green => continue,
                Said::Nothing(why) => Cause::Unknown(why),
                Said::Red { findings, nature, output } => {
                    let red = Red { findings, nature, output };
                    self.cause(&Case { key, set, base: &base, bench, red }, stands).await?
                }
            };
            match cause {
                Cause::Edits(finding) => {
                    self.put(key, Some(*finding));
                    return Ok(true);
                }
                Cause::NotTheEdits => {}
                Cause::Overtaken => return Ok(false),
                Cause::Unknown(why) => {
                    tracing::debug!(check = check.name, why, "a check says nothing of a work tree");
                    is_answered = false;
                }
            }
        }
        // What could not be asked is not well yet.
        if is_answered {
            self.put(key, None);
        }
        Ok(!is_early)
    }

    async fn cause(&self, case: &Case<'_>, stands: &(dyn Fn() -> bool + Sync)) -> Result<Cause, String> {
        let Case { set, base, bench, red, .. } = case;
        let of_base = self.shop.ask(bench.ground, base, bench.check, bench.urgency, Memory::Known).await;
        match of_base {
            Said::Green => {}
            Said::Red { .. } => return Ok(Cause::NotTheEdits),
            Said::Nothing(why) => return Ok(Cause::Unknown(why)),
        }
        match bench.is_red_again(&set.tree, red).await {
            Ok(true) => {}
            Ok(false) => return Ok(Cause::NotTheEdits),
            Err(why) => return Ok(Cause::Unknown(why)),
        }
        let (mirror, from, to) = (bench.ground.mirror.clone(), (*base).clone(), set.tree.clone());
        let edits = tokio::task::spawn_blocking(move || mirror.edits(&from, &to)).await;
        let works = Work::all(edits.map_err(|e| e.to_string())?.map_err(|e| chain(&e))?, set);
        if let [only] = works.as_slice() {
            // One session and something that no call of its own wrote: it is the one to look.
            let is_sure = !only.by.is_empty() || set.writers.len() > 1;
            let whose = if is_sure { whose(&[only], How::ByItself) } else { Whose::Anybodys };
            return Ok(case.told(whose, [only]));
        }
        let units: Vec<Unit> = works.iter().map(|work| work.unit(&works)).collect();
        let (mirror, base) = (bench.ground.mirror.clone(), (*base).clone());
        let edits: Vec<Vec<FileChange>> = works.iter().map(|work| work.edits.clone()).collect();
        let tree_of: TreeOf = Arc::new(move |with| {
            let edits: Vec<&FileChange> = with.iter().flat_map(|at| &edits[*at]).collect();
            mirror.with_edits(&base, &edits).map(Some)
        });
        let of = |places: &[usize]| places.iter().filter_map(|at| works.get(*at)).collect::<Vec<_>>();
        Ok(match bench.search(&set.tree, &units, red, tree_of, stands).await {
            Ended::Found(Culprit { suspects, how, .. }) => {
                let guilty = of(&suspects);
                case.told(whose(&guilty, how), guilty)
            }
            Ended::Flake => Cause::NotTheEdits,
            Ended::Overtaken => Cause::Overtaken,
            Ended::Unproven(likely) => {
                let likely = if likely.is_empty() { works.iter().collect() } else { of(&likely) };
                case.told(Whose::Anybodys, likely)
            }
            Ended::Nothing(why) => {
                tracing::debug!(why, "whose edits break a work tree cannot be told");
                case.told(Whose::Anybodys, &works)
            }
        })
    }

    /// What is known of a tree from now on.
    fn put(&self, key: &TreeKey, finding: Option<Finding>) {
        let mut found = self.found();
        found.retain(|_, known| known.sides[0] != *key);
        found.extend(finding.map(|finding| (finding.id.clone(), finding)));
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<FindingId, Finding>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the same sessions made in one work tree.
struct Work {
    by: Vec<SessionId>,
    edits: Vec<FileChange>,
    adds: Vec<String>,
    uses: Vec<String>,
}

impl Work {
    /// All edits by who made them. A file that two had a hand in is a work of both.
    fn all(edits: Vec<FileChange>, set: &ChangeSet) -> Vec<Self> {
        let told: BTreeMap<&GitPath, &FileChange> = set.files.iter().map(|file| (&file.path, file)).collect();
        let mut works: BTreeMap<Vec<SessionId>, Self> = BTreeMap::new();
        for edit in edits {
            let known = told.get(&edit.path);
            let by = known.map(|file| file.by.clone()).unwrap_or_default();
            let empty = || Self { by: by.clone(), edits: vec![], adds: vec![], uses: vec![] };
            let work = works.entry(by.clone()).or_insert_with(empty);
            if let Some(file) = known {
                use rr_core::live::SymbolEdit::Added;
                let added = file.symbols.iter().filter(|symbol| symbol.change == Added);
                work.adds.extend(added.map(|symbol| symbol.name.clone()));
                work.uses.extend(file.uses.iter().cloned());
            }
            work.edits.push(edit);
        }
        works.into_values().collect()
    }

    /// It cannot be built without those who alone add what it newly uses.
    fn unit(&self, all: &[Self]) -> Unit {
        let adds = |work: &Self, name: &String| work.adds.contains(name);
        let only_adder = |name: &String| {
            let mut adders = (0..all.len()).filter(|at| adds(&all[*at], name));
            adders.next().filter(|_| adders.next().is_none())
        };
        let unmet = self.uses.iter().filter(|name| !adds(self, name));
        let mut needs: Vec<usize> = unmet.filter_map(only_adder).collect();
        needs.sort_unstable();
        needs.dedup();
        Unit { files: self.edits.iter().map(|edit| edit.path.to_string()).collect(), needs }
    }
}

fn whose(guilty: &[&Work], how: How) -> Whose {
    let mut sessions: Vec<SessionId> = guilty.iter().flat_map(|work| work.by.iter().cloned()).collect();
    sessions.sort();
    sessions.dedup();
    match how {
        _ if sessions.is_empty() => Whose::Nobodys,
        How::Together | How::WithOthers => Whose::Together(sessions),
        How::ByItself | How::Each | How::NotAsked => Whose::Sessions(sessions),
    }
}

impl Case<'_> {
    fn told<'a>(&self, whose: Whose, works: impl IntoIterator<Item = &'a Work>) -> Cause {
        let paths = works.into_iter().flat_map(|work| work.edits.iter().map(|edit| edit.path.clone()));
        let mut paths: Vec<GitPath> = paths.collect();
        paths.sort();
        paths.truncate(PATHS_MAX);
        let (check, words) = (self.bench.check, excerpt(&self.red, TOLD_BYTES_MAX));
        let named = (check.name.as_str(), check.run.as_str());
        Cause::Edits(Box::new(Finding::of_edits(&self.set.repo, self.key, named, whose, paths, words)))
    }
}
