//! A break of a line of development, as a stored state machine: whichever watcher leads reads it, does what [`Incident::todo`] says,
//! and stores what [`Incident::after`] makes of the outcome, so that one that dies is replaced by one that goes on from there
//! (design, "A breakage"). Doing a thing twice must be harmless: holds, branches and commits have names made from the
//! incident's. No clock: times are the wall clock's, for people only.

use serde::{Deserialize, Serialize};

use crate::culprit::queue::BeforeRevert;
use crate::culprit::{self, Build, Culprit, Nature, Partner, Queue, Run, Step, Verdict};
use crate::id::{CommitId, Epoch, HostId, IncidentId, ObjectId, RepoId, SessionId};

/// What was noted of one incident: enough to tell it, bounded for the store.
pub const NOTES_MAX: usize = 64;
/// Bytes of failing output that an incident carries.
pub const OUTPUT_BYTES_MAX: usize = 4 << 10;
/// Files that a failure names and an incident carries.
pub const FILES_MAX: usize = 100;
/// Before the search, four in ten reds of tests are nobody's.
const NOBODY: f64 = 0.4;
/// Hindered this often (no space, no network, killed), a person is told instead of another try.
const HINDERED_MAX: u32 = 20;
/// The branch moved on this often while its revert was made: with the fleet paused somebody does it on purpose.
const TRIES_MAX: u32 = 10;

/// Where a branch lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a clone on one host.
    Clone { host: HostId, root: String },
    /// In a repository that hosts push to.
    Remote { url: String },
}

/// A branch that everybody builds on. At most one incident of it is open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Line {
    pub repo: RepoId,
    pub place: Place,
    pub branch: String,
}

/// One commit that may have done it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    pub commit: CommitId,
    pub session: Option<SessionId>,
    pub author: String,
    pub subject: String,
    pub at_unix_s: u64,
    /// As the search weighs it.
    pub weight: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Red once.
    Seen,
    /// Red for sure.
    Confirmed,
    /// The fleet stands still.
    Paused,
    Searching,
    /// Proven; its revert is built, checked and landed.
    Reverting,
    /// Landed; the branch is checked as it is now.
    Verifying,
    /// Over.
    Resumed,
    /// A person decides.
    Escalated,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub epoch: Epoch,
    pub hold: String,
}

/// What is known of the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revert {
    /// Where the branch stood when it was made.
    pub tip: CommitId,
    /// The tip's tree without the culprit.
    pub tree: ObjectId,
    /// Whether the check has passed on it.
    pub green: bool,
    pub commit: Option<CommitId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub at_unix_ms: u64,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: IncidentId,
    pub line: Line,
    pub state: State,
    /// The check that fails, and what it runs.
    pub check: String,
    pub command: String,
    pub nature: Nature,
    /// The last commit it passed on, and the one it failed on.
    pub green: CommitId,
    pub red: CommitId,
    /// What landed between them, oldest first.
    pub suspects: Vec<Suspect>,
    /// Runs of the check at `red`, and then those of the search: the whole state of the search.
    pub runs: Vec<Run>,
    pub output: String,
    /// What the failure names, as far as it names files.
    #[serde(default)]
    pub files: Vec<String>,
    pub pause: Option<Pause>,
    /// Indices into the suspects.
    pub culprits: Vec<usize>,
    /// With which of the runs it was proven.
    #[serde(default)]
    pub proven: Option<Culprit>,
    pub revert: Option<Revert>,
    /// The branch that the reverted work is kept on.
    pub kept: Option<String>,
    /// Why a person must decide.
    pub escalated: Option<String>,
    /// A person wants the revert: the conditions for doing it by itself no longer count.
    #[serde(default)]
    pub accepted: bool,
    /// Nothing that was let through before the pause is waited for any more.
    #[serde(default)]
    pub drained: bool,
    #[serde(default)]
    pub hindered: u32,
    #[serde(default)]
    pub tries: u32,
    pub opened_unix_ms: u64,
    #[serde(default)]
    pub paused_at_unix_ms: Option<u64>,
    pub notes: Vec<Note>,
}

/// What is to be done next. The watcher does it and tells [`Incident::after`] what came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Todo {
    /// Run the check at `red` once more: it may have been chance.
    Rerun,
    /// Close the fleet.
    Pause,
    /// Build these, the first of them at least.
    Build(Vec<Build>),
    /// Make the branch's tip without the culprits, run the check on it, and look whether a revert is allowed.
    Prepare { culprits: Vec<CommitId> },
    /// Wait, for a short while, until nothing that was let through before the pause is under way: it may still write, or commit.
    Drain,
    /// Keep the culprits' work on a branch, then land this.
    Land { tip: CommitId, tree: ObjectId },
    /// Run the check on the branch as it stands.
    Verify,
    /// Open the fleet again, as far as this incident closed it.
    Resume,
    /// Nothing until a person says so.
    AskPerson,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    Reran(Verdict),
    /// `None`: this repository wants nobody stopped.
    Paused(Option<Pause>),
    Built(Vec<Run>),
    /// The tip's tree without the culprits, and what the check says of it.
    Prepared {
        tip: CommitId,
        tree: ObjectId,
        verdict: Verdict,
    },
    /// Those that were waited for in vain, in words.
    Drained(Vec<String>),
    /// It is not to be done by itself: why.
    NotAllowed(String),
    Landed {
        commit: CommitId,
        kept: Option<String>,
    },
    /// Somebody committed meanwhile: nothing was landed.
    Moved,
    /// The place would not have it: why.
    Refused(String),
    /// What the check says of the branch as it stands, and what that is.
    Verified {
        tip: CommitId,
        verdict: Verdict,
    },
    Resumed,
    /// A person opened the fleet while it was closed by this incident.
    Overruled,
    /// The time that a pause may last is over.
    Late,
    /// A person wants the proposed revert.
    Accepted,
    /// A person closes it: why.
    Dismissed(String),
    /// It could not be done now: the machine's fault. It is tried again.
    Hindered(String),
}

impl Incident {
    /// What is due. Nothing, once it is over.
    #[must_use]
    pub fn todo(&self, slots: usize) -> Option<Todo> {
        match self.state {
            State::Seen => Some(if self.is_confirmed() { Todo::Pause } else { Todo::Rerun }),
            State::Confirmed => Some(Todo::Pause),
            State::Paused | State::Searching => Some(self.search(slots)),
            State::Reverting => Some(self.way_back(slots)),
            State::Verifying => Some(Todo::Verify),
            State::Resumed => self.pause.is_some().then_some(Todo::Resume),
            State::Escalated => Some(Todo::AskPerson),
        }
    }

    /// Whether a red this often, of a check that flakes this much, can still be chance. What does not compile is believed at once:
    /// whatever it is, nobody can build on it.
    fn is_confirmed(&self) -> bool {
        self.nature == Nature::Compile || !culprit::rerun_needed(self.nature, self.reds())
    }

    /// Whether an agent may take up its repair by itself: only where the watcher has given it up to people. Before that both would move the
    /// branch.
    #[must_use]
    pub fn is_for_others(&self) -> bool {
        self.state == State::Escalated
    }

    /// How often the commit that it was seen at was red.
    #[must_use]
    pub fn reds(&self) -> usize {
        let whole = Build::Prefix(self.suspects.len());
        self.runs.iter().filter(|run| run.build == whole && run.verdict == Verdict::Red).count()
    }

    fn search(&self, slots: usize) -> Todo {
        match culprit::next_step(&self.queue(), &self.runs, slots) {
            Step::Build(builds) => Todo::Build(builds),
            // At its end already, before anything was built: `after` takes it further.
            Step::Found(_) | Step::Flake | Step::Unproven { .. } => Todo::Build(vec![]),
        }
    }

    /// Whom the search may find. It does not ask for a partner in the break: taking out the proven one mends the branch.
    fn queue(&self) -> Queue {
        let weights = self.suspects.iter().map(|s| s.weight).collect();
        let nobody = if self.nature == Nature::Compile { 0.0 } else { NOBODY };
        Queue { suspects: self.suspects.len(), weights, nature: self.nature, nobody, partner: Partner::NotSought }
    }

    /// Proven is not enough to take somebody's work out by itself: a test must be as often red with it, and green without it, as
    /// no chance explains.
    fn way_back(&self, slots: usize) -> Todo {
        match &self.revert {
            // Whoever is not paused is not waited for: they go on all the time.
            Some(revert) if revert.green && self.pause.is_some() && !self.drained => return Todo::Drain,
            Some(revert) if revert.green => return Todo::Land { tip: revert.tip.clone(), tree: revert.tree.clone() },
            _ => {}
        }
        match self.before_revert(slots) {
            BeforeRevert::Build(builds) => Todo::Build(builds),
            BeforeRevert::Ready | BeforeRevert::No => Todo::Prepare { culprits: self.culprit_commits() },
        }
    }

    fn before_revert(&self, slots: usize) -> BeforeRevert {
        match &self.proven {
            Some(proven) if !self.accepted => culprit::before_revert(&self.queue(), &self.runs, proven, slots),
            _ => BeforeRevert::Ready,
        }
    }

    /// The proven commits, oldest first.
    #[must_use]
    pub fn culprit_commits(&self) -> Vec<CommitId> {
        self.culprits.iter().filter_map(|n| self.suspects.get(*n)).map(|s| s.commit.clone()).collect()
    }

    /// The incident with this behind it.
    #[must_use]
    pub fn after(mut self, done: Done, now_unix_ms: u64) -> Self {
        if matches!(done, Done::Paused(Some(_))) {
            self.paused_at_unix_ms = Some(now_unix_ms);
        }
        let said = self.take(done);
        if !said.is_empty() {
            self.note(said, now_unix_ms);
        }
        self
    }

    fn take(&mut self, done: Done) -> String {
        match (self.state, done) {
            (State::Seen, Done::Reran(Verdict::Red)) => self.red_again(),
            (State::Seen, Done::Reran(Verdict::Green)) => {
                self.state = State::Resumed;
                format!("`{}` passed when it was run again: it flaked", self.check)
            }
            (State::Seen | State::Confirmed, Done::Paused(pause)) => {
                let said = if pause.is_some() { "the fleet is paused" } else { "nobody is paused" };
                (self.state, self.pause) = (State::Paused, pause);
                said.to_owned()
            }
            (State::Paused | State::Searching, Done::Built(runs)) => self.built(runs),
            (State::Reverting, Done::Built(runs)) => {
                self.runs.extend(runs);
                String::new()
            }
            (State::Reverting, Done::Prepared { tip, tree, verdict }) => self.prepared(tip, tree, verdict),
            (State::Reverting, Done::Drained(late)) => self.drained(&late),
            (State::Reverting, Done::Landed { commit, kept }) => self.landed(commit, kept),
            (State::Reverting, Done::Moved) => {
                self.revert = None;
                self.another_try("the branch moved on; the revert is made again on its new tip")
            }
            (State::Reverting, Done::NotAllowed(why) | Done::Refused(why)) => {
                let what = self.proposal();
                self.escalate(format!("{why}; {what}"))
            }
            (State::Verifying, Done::Verified { tip, verdict }) => self.verified(&tip, verdict),
            (State::Escalated, Done::Verified { tip, verdict: Verdict::Green }) => {
                self.state = State::Resumed;
                format!("repaired: `{}` passes at {}", self.check, tip.short())
            }
            (State::Resumed, Done::Resumed) => {
                self.pause = None;
                "the fleet runs again".to_owned()
            }
            (State::Escalated, Done::Accepted) if !self.culprits.is_empty() => {
                (self.state, self.escalated, self.accepted) = (State::Reverting, None, true);
                "a person accepted the revert".to_owned()
            }
            (_, Done::Dismissed(why)) => {
                self.state = State::Resumed;
                format!("closed by a person: {why}")
            }
            (State::Resumed, _) => String::new(),
            (_, Done::Overruled) => {
                self.pause = None;
                self.escalate("a person resumed the fleet: it is not paused again for this".to_owned())
            }
            (_, Done::Late) => {
                self.pause = None;
                let known = self.what_is_known();
                self.escalate(format!("the time for a pause is over: agents go on; {known}"))
            }
            (_, Done::Hindered(why)) => {
                self.hindered += 1;
                if self.hindered < HINDERED_MAX {
                    why
                } else {
                    self.escalate(format!("given up after {HINDERED_MAX} tries: {why}"))
                }
            }
            // Said of another state: an older order, done twice.
            _ => String::new(),
        }
    }

    fn red_again(&mut self) -> String {
        self.runs.push(Run { build: Build::Prefix(self.suspects.len()), verdict: Verdict::Red });
        if !self.is_confirmed() {
            return String::new();
        }
        self.state = State::Confirmed;
        let reds = self.reds();
        format!("`{}` is red, {reds} times of {reds}", self.check)
    }

    fn built(&mut self, runs: Vec<Run>) -> String {
        self.state = State::Searching;
        self.runs.extend(runs);
        match culprit::next_step(&self.queue(), &self.runs, 1) {
            Step::Build(_) => String::new(),
            Step::Found(found) => {
                self.state = State::Reverting;
                self.culprits = found.suspects.iter().map(|number| number - 1).collect();
                self.proven = Some(found);
                let who: Vec<String> = self.culprits.iter().filter_map(|n| self.suspects.get(*n)).map(named).collect();
                format!("proven: {} ({} builds)", who.join(" together with "), self.runs.len())
            }
            Step::Flake => {
                self.state = State::Resumed;
                format!("nobody broke it: `{}` flakes ({} builds)", self.check, self.runs.len())
            }
            Step::Unproven { why, most_likely } => {
                let likely = most_likely.iter().filter_map(|number| self.suspects.get(number.wrapping_sub(1)));
                let likely: Vec<String> = likely.map(named).collect();
                let likely =
                    if likely.is_empty() { String::new() } else { format!("; most likely: {}", likely.join(", ")) };
                self.escalate(format!("not proven: {}{likely}", in_words(why)))
            }
        }
    }

    fn prepared(&mut self, tip: CommitId, tree: ObjectId, verdict: Verdict) -> String {
        match verdict {
            Verdict::Green => {
                self.revert = Some(Revert { tip, tree, green: true, commit: None });
                "the branch without it passes".to_owned()
            }
            Verdict::Red | Verdict::Unresolved => {
                let what = self.proposal();
                self.escalate(format!("the branch without it does not pass `{}`; {what}", self.check))
            }
        }
    }

    fn drained(&mut self, late: &[String]) -> String {
        self.drained = true;
        if late.is_empty() {
            return String::new();
        }
        format!(
            "not waited for any longer, though a call from before the pause may still be under way: {}",
            late.join(", ")
        )
    }

    fn landed(&mut self, commit: CommitId, kept: Option<String>) -> String {
        let said = format!("reverted by {}", commit.short());
        if let Some(revert) = &mut self.revert {
            revert.commit = Some(commit);
        }
        (self.state, self.kept) = (State::Verifying, kept);
        said
    }

    fn verified(&mut self, tip: &CommitId, verdict: Verdict) -> String {
        match verdict {
            Verdict::Green => {
                self.state = State::Resumed;
                format!("`{}` passes at {}", self.check, tip.short())
            }
            Verdict::Red => {
                self.escalate(format!("`{}` is red again at {}, after the revert", self.check, tip.short()))
            }
            Verdict::Unresolved => String::new(),
        }
    }

    fn another_try(&mut self, why: &str) -> String {
        self.tries += 1;
        if self.tries < TRIES_MAX {
            why.to_owned()
        } else {
            self.escalate(format!("{why}; given up after {TRIES_MAX} tries"))
        }
    }

    fn escalate(&mut self, why: String) -> String {
        self.state = State::Escalated;
        self.escalated = Some(why.clone());
        why
    }

    fn proposal(&self) -> String {
        format!("to revert it all the same: rrctl incident resolve {} --revert", self.id.short())
    }

    /// When the fleet was closed for it; when it was opened, if it never was.
    #[must_use]
    pub fn paused_unix_ms(&self) -> u64 {
        self.paused_at_unix_ms.unwrap_or(self.opened_unix_ms)
    }

    /// For the person who takes over.
    #[must_use]
    pub fn what_is_known(&self) -> String {
        let who: Vec<String> = self.culprits.iter().filter_map(|n| self.suspects.get(*n)).map(named).collect();
        if who.is_empty() {
            let n = self.suspects.len();
            format!(
                "`{}` passes at {} and fails at {}, {n} commits apart",
                self.check,
                self.green.short(),
                self.red.short()
            )
        } else {
            format!("`{}` fails because of {}", self.check, who.join(" together with "))
        }
    }

    fn note(&mut self, text: String, at_unix_ms: u64) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(Note { at_unix_ms, text });
        }
    }
}

fn in_words(why: culprit::Why) -> &'static str {
    match why {
        culprit::Why::BaseIsRed => "it is red without any of these commits as well",
        culprit::Why::LimitReached => "as many builds as it may take did not decide it",
        culprit::Why::Unresolved => "what would decide it does not merge or build",
        culprit::Why::NothingFits => "no commit, nor any two, explain what was seen",
        culprit::Why::NoSuspect => "none of these commits can have done it",
    }
}

fn named(suspect: &Suspect) -> String {
    format!("{} \"{}\" by {}", suspect.commit.short(), suspect.subject, suspect.author)
}

#[cfg(test)]
mod tests;
