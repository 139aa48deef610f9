//! All live work merged into one tree, uncommitted included and over hosts and languages, checked whenever some of it has come to rest and
//! nothing else is to be done. Where that is red though each work passes alone, it is searched which two break it together: what no
//! list of lines or symbols shows. It is told and nothing else. The union is git's, the search `mixed`'s, telling `overlap`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rr_checks::Check;
use rr_core::culprit::{Culprit, How};
use rr_core::id::{CommitId, HostId, ObjectId, RepoId};
use rr_core::live::{ChangeSet, GitPath, Onto, Rest, TreeKey};
use rr_core::overlap::{Finding, FindingId, is_sweep};
use rr_fleet::Fleet;
use rr_git::{Mirror, MirrorError};
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

/// Without news it is looked again this often all the same: contents of other hosts may have come.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After a check it rests as long as that took, but no longer than this: half of an idle slot is left to others.
const REST_MAX: Duration = Duration::from_secs(60);
/// Bytes of a check's output in a finding.
const TOLD_BYTES_MAX: usize = 2 << 10;
/// Files of one finding.
const PATHS_MAX: usize = 16;

/// Work trees of other hosts whose contents are needed here, of each repository.
pub(crate) type Wanted = Arc<Mutex<BTreeMap<RepoId, BTreeSet<TreeKey>>>>;

#[derive(Clone)]
pub(crate) struct Together {
    pub fleet: Fleet,
    pub grounds: Arc<Grounds>,
    pub shop: Arc<Workshop>,
    pub found: OwnFindings,
    pub wanted: Wanted,
    pub metrics: Metrics,
    pub host: HostId,
}

/// What one leader's term knows.
#[derive(Default)]
struct Known {
    /// Of each work tree, what stood there when it was last at rest.
    rested: BTreeMap<TreeKey, Arc<ChangeSet>>,
    /// What was taken together: all there is, or what of it was here.
    judged: BTreeMap<RepoId, Picture>,
}

/// What two works come to.
enum Pair {
    Fits,
    Fails(Box<Finding>),
    Unknown,
}

/// What is taken together.
#[derive(Clone, PartialEq, Eq)]
struct Picture {
    target: CommitId,
    works: Vec<Work>,
    /// There is more: not merged onto this target yet, or not come from its host.
    awaited: BTreeSet<TreeKey>,
}

/// One work tree's work, merged onto the target.
#[derive(Clone)]
struct Work {
    key: TreeKey,
    tree: ObjectId,
    set: Arc<ChangeSet>,
}

impl PartialEq for Work {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.tree) == (&other.key, &other.tree)
    }
}

impl Eq for Work {}

impl Together {
    /// Looks after all live work for as long as it is not dropped.
    pub(crate) async fn look_after(&self, mut scene: watch::Receiver<Scene>) -> Infallible {
        let mut known = Known::default();
        let mut trouble = Trouble::with("check all live work together");
        // It ends with the term, like its sender.
        let _ = scene.wait_for(|scene| scene.is_known).await;
        loop {
            scene.mark_unchanged();
            let began = Instant::now();
            let wait = match self.round(&scene, &mut known).await {
                Ok(has_checked) => {
                    trouble.worked();
                    if has_checked {
                        tokio::time::sleep(began.elapsed().min(REST_MAX)).await;
                    }
                    LOOK_EVERY
                }
                Err(why) => {
                    self.metrics.watch_error(WatchWord::Overlap);
                    trouble.failed(&why).as_std()
                }
            };
            let _ = tokio::time::timeout(wait, scene.changed()).await;
        }
    }

    /// Whether a check was asked for.
    async fn round(&self, scene: &watch::Receiver<Scene>, known: &mut Known) -> Result<bool, String> {
        let now = scene.borrow().clone();
        known.see(&now);
        self.found().retain(|_, finding| finding.sides.iter().all(|side| now.trees.contains_key(side)));
        let mut has_checked = false;
        for repo in now.repos() {
            let works = known.works(&repo);
            if works.len() < 2 {
                self.put(&repo, vec![]);
                self.want(&repo, BTreeSet::new());
                continue;
            }
            let Some(all) = Picture::of(works) else { continue };
            if known.judged.get(&repo) == Some(&all) {
                continue;
            }
            let Some(kept) = self.fleet.plan::<Kept>(&repo).await.map_err(|e| chain(&e))? else { continue };
            let Some(check) = kept.cheapest() else { continue };
            let (grounds, of, picture) = (self.grounds.clone(), repo.clone(), now.clone());
            let ground = tokio::task::spawn_blocking(move || grounds.of(&of, &picture)).await;
            let Some(ground) = ground.map_err(|e| e.to_string())?.map_err(|e| chain(&e))? else { continue };
            let here = self.here(&ground, &all).await?;
            if known.judged.get(&repo) == Some(&here) {
                continue;
            }
            has_checked = true;
            let live = || here.works.iter().all(|work| scene.borrow().trees.contains_key(&work.key));
            if let Some(found) = self.judge(&ground, check, &here, &live).await? {
                self.put(&repo, found);
                known.judged.insert(repo, here);
            }
        }
        Ok(has_checked)
    }

    /// What of it is here; what another host has is asked for.
    async fn here(&self, ground: &Ground, all: &Picture) -> Result<Picture, String> {
        let (mirror, target, works) = (ground.mirror.clone(), all.target.clone(), all.works.clone());
        let split = move || {
            let (mut here, mut away) = (Vec::new(), BTreeSet::new());
            for work in works {
                if mirror.has_onto(&target, &work.key, &work.tree)? {
                    here.push(work);
                } else {
                    away.insert(work.key);
                }
            }
            Ok::<_, MirrorError>((here, away))
        };
        let split = tokio::task::spawn_blocking(split).await.map_err(|e| e.to_string())?;
        let (works, away) = split.map_err(|e| chain(&e))?;
        let is_sent = |key: &&TreeKey| ground.remote.is_some() && key.host != self.host;
        self.want(&ground.repo, away.iter().filter(is_sent).cloned().collect());
        Ok(Picture { target: all.target.clone(), works, awaited: all.awaited.union(&away).cloned().collect() })
    }

    /// The pairs that break it; what cannot be asked is as it was known. None: it is not there any more.
    async fn judge(
        &self,
        ground: &Ground,
        check: &Check,
        picture: &Picture,
        live: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<Finding>>, String> {
        let bench = Bench { shop: &self.shop, ground, check, urgency: Urgency::Guess };
        let base = tree_of(ground, &picture.target)?;
        let (known, mut works) = (self.of(&ground.repo), picture.works.clone());
        if !matches!(self.ask(&bench, &base, Memory::Known).await, Said::Green) {
            return Ok(Some(known));
        }
        let (mut found, mut apart) = (Vec::new(), BTreeSet::new());
        // What two were known to break may have been mended; if not, the others are told apart without it.
        for finding in known {
            let two = finding.sides.each_ref().map(|side| picture.works.iter().find(|work| work.key == *side));
            let is_over = match two {
                [Some(a), Some(b)] => match self.pair(&bench, &base, [a, b], Memory::Known).await? {
                    Pair::Fits => true,
                    Pair::Fails(_) | Pair::Unknown => {
                        apart.insert(&b.key);
                        false
                    }
                },
                // One of them has nothing left, or will be seen again soon.
                _ => !finding.sides.iter().any(|side| picture.awaited.contains(side)),
            };
            if !is_over {
                found.push(finding);
            }
        }
        works.retain(|work| !apart.contains(&work.key));
        while let Some((union, together)) = self.union(ground, &base, &works).await? {
            works = together;
            let red = match self.ask(&bench, &union, Memory::Known).await {
                Said::Green => break,
                Said::Nothing(why) => {
                    tracing::debug!(why, "all live work together cannot be checked");
                    break;
                }
                Said::Red { findings, nature, output } => Red { findings, nature, output },
            };
            if !bench.is_red_again(&union, &red).await.unwrap_or(false) {
                break;
            }
            let units: Vec<Unit> = works.iter().map(Work::unit).collect();
            let ended = bench.search(&union, &units, &red, tree_of_some(&ground.mirror, &base, &works), live).await;
            let Ended::Found(Culprit { suspects, how, .. }) = ended else {
                tracing::debug!(?ended, "what breaks all live work together is not known");
                return Ok((!matches!(ended, Ended::Overtaken)).then_some(found));
            };
            let out = match (how, suspects.as_slice()) {
                (How::Together, [a, b]) => {
                    if let Pair::Fails(finding) =
                        self.pair(&bench, &base, [&works[*a], &works[*b]], Memory::Fresh).await?
                    {
                        found.push(*finding);
                    }
                    &suspects[1..]
                }
                // It fails alone: that is told where single works are checked. Or with whom cannot be said.
                _ => &suspects[..],
            };
            // Each round is of fewer.
            works = (0..works.len()).filter(|at| !out.contains(at)).map(|at| works[at].clone()).collect();
            if out.is_empty() {
                break;
            }
        }
        Ok(Some(found))
    }

    /// Two works together.
    async fn pair(&self, bench: &Bench<'_>, base: &ObjectId, two: [&Work; 2], memory: Memory) -> Result<Pair, String> {
        let works = two.map(Work::clone);
        // Two that git cannot merge are told as that.
        let Some((tree, _)) = self.union(bench.ground, base, &works).await? else { return Ok(Pair::Fits) };
        let red = match self.ask(bench, &tree, memory).await {
            Said::Green => return Ok(Pair::Fits),
            Said::Nothing(_) => return Ok(Pair::Unknown),
            Said::Red { findings, nature, output } => Red { findings, nature, output },
        };
        let keys = [&works[0].key, &works[1].key];
        let told = excerpt(&red, TOLD_BYTES_MAX);
        let finding = Finding::of_pair(&bench.ground.repo, keys, &bench.check.name, paths(&works, &red), told);
        Ok(Pair::Fails(Box::new(finding)))
    }

    /// As many of them as go together, if these are two at least.
    async fn union(
        &self,
        ground: &Ground,
        base: &ObjectId,
        works: &[Work],
    ) -> Result<Option<(ObjectId, Vec<Work>)>, String> {
        let (mirror, base) = (ground.mirror.clone(), base.clone());
        let trees: Vec<ObjectId> = works.iter().map(|work| work.tree.clone()).collect();
        let union = tokio::task::spawn_blocking(move || mirror.union(&base, &trees)).await;
        let union = union.map_err(|e| e.to_string())?.map_err(|e| chain(&e))?;
        let works: Vec<Work> = union.members.iter().map(|at| works[*at].clone()).collect();
        Ok((works.len() > 1).then_some((union.tree, works)))
    }

    async fn ask(&self, bench: &Bench<'_>, tree: &ObjectId, memory: Memory) -> Said {
        self.shop.ask(bench.ground, tree, bench.check, bench.urgency, memory).await
    }

    fn of(&self, repo: &RepoId) -> Vec<Finding> {
        self.found().values().filter(|finding| finding.repo == *repo).cloned().collect()
    }

    fn put(&self, repo: &RepoId, findings: Vec<Finding>) {
        let mut found = self.found();
        found.retain(|_, known| known.repo != *repo);
        found.extend(findings.into_iter().map(|finding| (finding.id.clone(), finding)));
    }

    fn want(&self, repo: &RepoId, keys: BTreeSet<TreeKey>) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(repo.clone(), keys);
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<FindingId, Finding>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn see(&mut self, now: &Scene) {
        self.rested.retain(|key, _| now.trees.contains_key(key));
        let settled = now.trees.iter().filter(|(_, set)| set.rest == Rest::Settled);
        self.rested.extend(settled.map(|(key, set)| (key.clone(), set.clone())));
    }

    /// All works of a repository, each with the target that it is merged onto.
    fn works(&self, repo: &RepoId) -> Vec<(CommitId, Work)> {
        let work = |(key, set): (&TreeKey, &Arc<ChangeSet>)| {
            let (Onto::Clean(tree), Some(target)) = (&set.onto, &set.target) else { return None };
            let work = Work { key: key.clone(), tree: tree.clone(), set: set.clone() };
            (!set.files.is_empty() && !is_sweep(set)).then(|| (target.commit.clone(), work))
        };
        self.rested.iter().filter(|(_, set)| set.repo == *repo).filter_map(work).collect()
    }
}

impl Picture {
    /// The works on the target that most have merged theirs onto; the others will follow. None: there is none.
    fn of(works: Vec<(CommitId, Work)>) -> Option<Self> {
        let mut by_target: BTreeMap<CommitId, Vec<Work>> = BTreeMap::new();
        for (target, work) in works {
            by_target.entry(target).or_default().push(work);
        }
        let target = by_target.iter().max_by_key(|(_, works)| works.len()).map(|(target, _)| target.clone())?;
        let works = by_target.remove(&target)?;
        let awaited = by_target.into_values().flatten().map(|work| work.key).collect();
        Some(Self { target, works, awaited })
    }
}

impl Work {
    fn unit(&self) -> Unit {
        Unit { files: self.set.files.iter().map(|file| file.path.to_string()).collect(), needs: vec![] }
    }
}

/// Some of these works merged. None: not all of them go together.
fn tree_of_some(mirror: &Mirror, base: &ObjectId, works: &[Work]) -> TreeOf {
    let (mirror, base) = (mirror.clone(), base.clone());
    let trees: Vec<ObjectId> = works.iter().map(|work| work.tree.clone()).collect();
    Arc::new(move |with| {
        let some: Vec<ObjectId> = with.iter().map(|at| trees[*at].clone()).collect();
        let union = mirror.union(&base, &some)?;
        Ok((union.members.len() == some.len()).then_some(union.tree))
    })
}

/// What the two changed: what the error names of it, else all.
fn paths(works: &[Work; 2], red: &Red) -> Vec<GitPath> {
    let mut all: Vec<GitPath> = works.iter().flat_map(|work| work.set.files.iter().map(|f| f.path.clone())).collect();
    all.sort();
    all.dedup();
    let named = red.findings.files();
    let (mut told, rest): (Vec<GitPath>, Vec<GitPath>) =
        all.into_iter().partition(|path| named.contains(path.to_string().as_str()));
    if told.is_empty() {
        told = rest;
    }
    told.truncate(PATHS_MAX);
    told
}
