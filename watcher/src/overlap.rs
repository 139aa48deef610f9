//! Overlap of all live work: change sets go into the index, its questions are answered by real merges and checks, and what comes out
//! is told, each finding once. It decides nothing about severity: that is `rr_core::overlap`'s. Guesses (checks of merged trees
//! that nobody has landed) run one at a time, beside everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rr_core::id::{CommitId, ObjectId, RepoId};
use rr_core::live::{ChangeSet, TreeKey};
use rr_core::overlap::{Answer, Event, Finding, Hot, Index, Kind, Options, Question, Standing, Told, is_sweep};
use rr_fleet::{FindingChange, Fleet, Leader};
use rr_git::{Fetched, Merged, MirrorError};
use rr_runtime::errors::chain;
use rr_runtime::metrics::{Metrics, WatchWord};
use rr_runtime::trouble::Trouble;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::grounds::{Ground, Grounds};
use crate::health::{OwnFindings, tail};
use crate::plan::Kept;
use crate::scene::Scene;
use crate::together::Wanted;
use crate::workshop::{Memory, Said, Urgency, Workshop};

/// Without news everything is looked at this often all the same: a finding is cleared after a few looks without it.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Merges between two looks at what is new.
const ANSWERS_A_ROUND: usize = 256;
/// What could not be answered is asked again this often.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(10);
/// Which files everybody edits is learned this often, from this much history.
const LEARN_EVERY: Duration = Duration::from_secs(3_600);
const LEARN_DAYS: u32 = 90;
/// Of a check's output, what goes into a finding.
const TOLD_BYTES_MAX: usize = 2 << 10;

#[derive(Clone)]
pub(crate) struct Overlap {
    pub fleet: Fleet,
    pub grounds: Arc<Grounds>,
    pub shop: Arc<Workshop>,
    /// Found by others, and told here.
    pub beside: Vec<OwnFindings>,
    /// What others need of other hosts.
    pub also_wanted: Wanted,
    pub metrics: Metrics,
}

/// What one leader's term knows.
struct Known {
    index: Index,
    put: BTreeMap<TreeKey, Arc<ChangeSet>>,
    told: Told,
    /// What the leader before has found between two, until it is found again or known to be over.
    inherited: Vec<Finding>,
    guess: Option<(Question, JoinHandle<Answer>)>,
    /// Trees of other hosts whose contents are compared and not here.
    wanted: BTreeSet<TreeKey>,
    /// What of theirs is here by now.
    fetched: BTreeMap<TreeKey, ObjectId>,
    asked_again: Instant,
    hot: BTreeMap<RepoId, (Instant, Hot)>,
}

impl Overlap {
    /// Compares for as long as it is not dropped.
    pub(crate) async fn compare(&self, leader: &Leader, mut scene: watch::Receiver<Scene>) -> Infallible {
        let mut trouble = Trouble::with("compare live work");
        let mut known = None;
        loop {
            let now = scene.borrow_and_update().clone();
            let wait = match self.round(leader, &now, &mut known).await {
                Ok(()) => {
                    trouble.worked();
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

    async fn round(&self, leader: &Leader, scene: &Scene, known: &mut Option<Known>) -> Result<(), String> {
        if known.is_none() {
            *known = Some(self.begin().await?);
        }
        let Some(known) = known.as_mut() else { return Ok(()) };
        known.put(scene);
        if known.asked_again.elapsed() > ASK_AGAIN_EVERY {
            known.asked_again = Instant::now();
            known.index.ask_again();
        }
        let grounds = self.grounds_of(scene).await?;
        self.answer(known, &grounds).await;
        self.want(leader, known, &grounds).await?;
        self.learn(known, &grounds).await;
        self.tell(leader, scene, known).await
    }

    /// What the leader before has told is not told again, and not cleared before it is known to be over.
    async fn begin(&self) -> Result<Known, String> {
        let told = self.fleet.told().await.map_err(|e| chain(&e))?;
        let mut told: Told = told.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        let standing = self.fleet.findings().await.map_err(|e| chain(&e))?;
        told.agree(&standing);
        // Of the others each is remembered by whoever finds its like.
        let is_compared = |finding: &Finding| {
            matches!(finding.kind, Kind::Files | Kind::Merge | Kind::Package(_) | Kind::Symbol { .. })
        };
        Ok(Known {
            inherited: standing.into_iter().filter(is_compared).collect(),
            index: Index::new(Options::default()),
            put: BTreeMap::new(),
            told,
            guess: None,
            wanted: BTreeSet::new(),
            fetched: BTreeMap::new(),
            asked_again: Instant::now(),
            hot: BTreeMap::new(),
        })
    }

    async fn grounds_of(&self, scene: &Scene) -> Result<Vec<Arc<Ground>>, String> {
        let (grounds, scene) = (self.grounds.clone(), scene.clone());
        let open = move || {
            let found = scene.repos().into_iter().filter_map(|repo| grounds.of(&repo, &scene).transpose());
            found.collect::<Result<Vec<_>, MirrorError>>()
        };
        tokio::task::spawn_blocking(open).await.map_err(|e| e.to_string())?.map_err(|e| chain(&e))
    }

    /// Answers what git can answer now, and has one guess checked at a time.
    async fn answer(&self, known: &mut Known, grounds: &[Arc<Ground>]) {
        known.take_guess().await;
        known.wanted.clear();
        for question in known.index.questions().into_iter().take(ANSWERS_A_ROUND) {
            let Some(ground) = grounds.iter().find(|g| g.repo == *repo_of(&question)) else {
                known.index.answer(&question, Answer::Unanswerable("its repository is not known here".to_owned()));
                continue;
            };
            if let Question::Check { .. } = &question {
                if known.guess.is_none() {
                    let (overlap, ground, asked) = (self.clone(), ground.clone(), question.clone());
                    let guess = tokio::spawn(async move { overlap.guess(&ground, &asked).await });
                    known.guess = Some((question, guess));
                }
                continue;
            }
            let answer = match merged(ground, &question).await {
                Ok(Merged::Clean(_)) => Answer::Clean,
                Ok(Merged::Conflict { paths, excerpt }) => Answer::Conflict { paths, excerpt },
                Ok(Merged::Missing(_)) => {
                    known.wanted.extend(known.index.asked_by(&question).into_iter().flatten());
                    Answer::Unanswerable("contents of another host are not here yet".to_owned())
                }
                Err(why) => Answer::Unanswerable(why),
            };
            known.index.answer(&question, answer);
        }
    }

    /// Asks other hosts for what is compared and not here, and takes in what they have sent.
    async fn want(&self, leader: &Leader, known: &mut Known, grounds: &[Arc<Ground>]) -> Result<(), String> {
        known.wanted.extend(self.wanted_besides());
        let wanted: Vec<TreeKey> = known.wanted.iter().cloned().collect();
        self.fleet.want_live(leader, &wanted).await.map_err(|e| chain(&e))?;
        if wanted.is_empty() {
            return Ok(());
        }
        let sent = self.fleet.sent().await.map_err(|e| chain(&e))?;
        let news =
            |(key, tree): &(TreeKey, ObjectId)| known.wanted.contains(key) && known.fetched.get(key) != Some(tree);
        let news: Vec<(TreeKey, ObjectId)> = sent.into_iter().filter(news).collect();
        for ground in grounds {
            let Some(remote) = ground.remote.clone() else { continue };
            let here = |key: &TreeKey| known.put.get(key).is_some_and(|set| set.repo == ground.repo);
            let keys: Vec<TreeKey> = news.iter().map(|(key, _)| key.clone()).filter(here).collect();
            if keys.is_empty() {
                continue;
            }
            let mirror = ground.mirror.clone();
            let fetched = tokio::task::spawn_blocking(move || mirror.fetch(&remote, &keys)).await;
            if let Fetched::Unreachable(why) = fetched.map_err(|e| e.to_string())?.map_err(|e| chain(&e))? {
                return Err(why);
            }
        }
        if !news.is_empty() {
            known.fetched.extend(news);
            known.index.ask_again();
        }
        Ok(())
    }

    fn wanted_besides(&self) -> BTreeSet<TreeKey> {
        self.also_wanted.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    /// The cheap check on two pieces of work together, against each alone.
    async fn guess(&self, ground: &Ground, question: &Question) -> Answer {
        let Question::Check { ours, theirs, .. } = question else { return Answer::Clean };
        let Ok(Some(kept)) = self.fleet.plan::<Kept>(&ground.repo).await else {
            return Answer::Unanswerable("no check is known yet".to_owned());
        };
        let Some(check) = kept.cheapest() else {
            return Answer::Unanswerable("no check can be believed yet".to_owned());
        };
        let both = match merged(ground, question).await {
            Ok(Merged::Clean(tree)) => tree,
            Ok(_) => return Answer::Unanswerable("the two do not merge".to_owned()),
            Err(why) => return Answer::Unanswerable(why),
        };
        let ask = async |tree: &ObjectId| self.shop.ask(ground, tree, check, Urgency::Guess, Memory::Known).await;
        let (mut left, output) = match ask(&both).await {
            Said::Green => return Answer::Clean,
            Said::Nothing(why) => return Answer::Unanswerable(why),
            Said::Red { findings, output, .. } => (findings, output),
        };
        for alone in [ours, theirs] {
            match ask(alone).await {
                Said::Green => {}
                Said::Nothing(why) => return Answer::Unanswerable(why),
                Said::Red { findings, .. } => left = left.minus(&findings),
            }
        }
        let findings = left.0.iter().map(ToString::to_string).collect();
        Answer::Fails { check: check.name.clone(), findings, excerpt: tail(&output, TOLD_BYTES_MAX) }
    }

    /// What everybody edits all the time is told less (once an hour learned anew).
    async fn learn(&self, known: &mut Known, grounds: &[Arc<Ground>]) {
        for ground in grounds {
            let learned = known.hot.get(&ground.repo);
            if learned.is_some_and(|(at, _)| at.elapsed() < LEARN_EVERY) {
                continue;
            }
            let Some(tip) = known.target_of(&ground.repo) else { continue };
            let mirror = ground.mirror.clone();
            let hot = match tokio::task::spawn_blocking(move || mirror.edited(&tip, LEARN_DAYS)).await {
                Ok(Ok(edited)) => Hot::learn(&edited.files, edited.commits, edited.sessions),
                // What cannot be learned makes nothing hot.
                _ => Hot::default(),
            };
            known.hot.insert(ground.repo.clone(), (Instant::now(), hot));
        }
    }

    async fn tell(&self, leader: &Leader, scene: &Scene, known: &mut Known) -> Result<(), String> {
        // Nothing is over because nothing has been read yet.
        if !scene.is_known {
            return Ok(());
        }
        let mut findings = known.index.findings();
        known.inherit(&mut findings, scene);
        self.count(&findings);
        for (repo, (_, hot)) in &known.hot {
            let (of_it, rest) = findings.into_iter().partition(|finding| finding.repo == *repo);
            findings = rest;
            findings.extend(hot.worth_telling(of_it));
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        for found in &self.beside {
            findings.extend(found.lock().unwrap_or_else(PoisonError::into_inner).values().cloned());
        }
        let mut told = known.told.clone();
        let events = told.step(&findings);
        let changes: Vec<FindingChange> = events.into_iter().map(|event| self.change(event)).collect();
        if !changes.is_empty() {
            self.fleet.put_findings(leader, &changes).await.map_err(|e| chain(&e))?;
            let json = serde_json::to_string(&told).map_err(|e| e.to_string())?;
            self.fleet.put_told(leader, &json).await.map_err(|e| chain(&e))?;
        }
        known.told = told;
        Ok(())
    }

    fn change(&self, event: Event) -> FindingChange {
        match event {
            Event::New(finding) | Event::Worse(finding) => {
                self.metrics.found(finding.level.into());
                tracing::info!(finding = %finding.id, level = u8::from(finding.level), kind = ?finding.kind, "overlap");
                FindingChange::Put(Box::new(finding))
            }
            Event::Changed(finding) => FindingChange::Put(Box::new(finding)),
            Event::Cleared(id) => FindingChange::Clear(id),
        }
    }

    fn count(&self, findings: &[Finding]) {
        let mut by_level = [0; 4];
        for finding in findings {
            by_level[usize::from(u8::from(finding.level))] += 1;
        }
        self.metrics.findings(by_level);
    }
}

impl Known {
    /// Brings the index up to the picture.
    fn put(&mut self, scene: &Scene) {
        for (key, set) in &scene.trees {
            if self.put.get(key).is_some_and(|before| Arc::ptr_eq(before, set)) {
                continue;
            }
            self.index.put(key.clone(), Some(ChangeSet::clone(set)));
            self.index.stand(key, if is_sweep(set) { Standing::Aside } else { Standing::Live });
            self.put.insert(key.clone(), set.clone());
        }
        let gone: Vec<TreeKey> = self.put.keys().filter(|key| !scene.trees.contains_key(*key)).cloned().collect();
        for key in gone {
            self.put.remove(&key);
            self.index.put(key, None);
        }
    }

    /// Puts in what was found before and cannot be known yet in this term.
    fn inherit(&mut self, findings: &mut Vec<Finding>, scene: &Scene) {
        let index = &self.index;
        self.inherited.retain(|before| {
            let is_there = before.sides.iter().all(|side| scene.trees.contains_key(side));
            let is_found = findings.iter().any(|finding| finding.id == before.id);
            is_there && !is_found && index.is_open_between(&before.sides)
        });
        findings.extend(self.inherited.iter().cloned());
    }

    fn target_of(&self, repo: &RepoId) -> Option<CommitId> {
        let sets = self.put.values().filter(|set| set.repo == *repo);
        sets.filter_map(|set| set.target.as_ref()).map(|target| target.commit.clone()).next()
    }

    async fn take_guess(&mut self) {
        if self.guess.as_ref().is_some_and(|(_, guess)| guess.is_finished())
            && let Some((question, guess)) = self.guess.take()
        {
            let answer = guess.await.unwrap_or_else(|_| Answer::Unanswerable("the check could not be run".to_owned()));
            self.index.answer(&question, answer);
        }
    }
}

fn repo_of(question: &Question) -> &RepoId {
    match question {
        Question::Files { repo, .. } | Question::Trees { repo, .. } | Question::Check { repo, .. } => repo,
    }
}

async fn merged(ground: &Ground, question: &Question) -> Result<Merged, String> {
    let (mirror, attributes, asked) = (ground.mirror.clone(), ground.attributes.clone(), question.clone());
    let merged = tokio::task::spawn_blocking(move || mirror.answer(&asked, attributes.as_ref())).await;
    merged.map_err(|e| e.to_string())?.map_err(|e| chain(&e))
}
