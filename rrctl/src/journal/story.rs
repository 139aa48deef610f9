//! What a session did, as scenes: one for each of its calls, with all that belongs to it, and one for everything else that
//! happened to it. Plain data in, plain data out.

use std::collections::HashMap;

use rr_journal::{Contents, Does, Entry, Event, FileChange, LockStep, Verdict};
use serde_json::{Value, json};

use crate::journal::diff::{self, Mark};
use crate::journal::words;
use crate::table::plain;

/// More locks than this are counted.
const LOCKS_SHOWN_MAX: usize = 8;

/// One call, or one thing that happened between calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    /// Sequence number of its first entry.
    pub(crate) first: u64,
    pub(crate) at_unix_ms: u64,
    /// Which of the session's agents, if it is not the first one.
    pub(crate) agent_id: Option<String>,
    pub(crate) title: String,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) changes: Vec<FileChange>,
    pub(crate) end: End,
    /// The verdicts on it, as far as they say why.
    rulings: Vec<String>,
    /// What is known of it besides, a line each.
    facts: Vec<String>,
    /// Steps of locks, in their order.
    locks: Vec<(String, LockStep)>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A call of which the intent is known.
    Call,
    /// A call as far as it is known: what led to its intent, or what is left of it.
    PartOfCall,
    /// Locks that came or went between calls.
    Locks(LockStep),
    Other,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is no call, or never began.
    None,
    /// It may run, and nothing is known of its end.
    Unknown,
    Done,
    Failed,
}

pub(crate) fn scenes(entries: impl IntoIterator<Item = (u64, Entry)>) -> Vec<Scene> {
    let mut scenes: Vec<Scene> = Vec::new();
    let mut of_call: HashMap<String, usize> = HashMap::new();
    // By the entry that says what a call has done.
    let mut of_done: HashMap<u64, usize> = HashMap::new();
    for (sequence, entry) in entries {
        let known = match &entry.call {
            Some(call) => of_call.get(call).copied().filter(|at| !scenes[*at].is_before(&entry.event)),
            None => scenes.len().checked_sub(1).filter(|last| scenes[*last].goes_on(&entry.event)),
        };
        if let Some(at) = known {
            scenes[at].join(&entry);
        } else {
            scenes.push(Scene::begin(sequence, &entry));
        }
        let at = known.unwrap_or(scenes.len() - 1);
        if let Some(call) = entry.call {
            of_call.insert(call, at);
        }
        match &entry.event {
            Event::Done { .. } => drop(of_done.insert(sequence, at)),
            Event::RolledBack { undone, undoes, .. } => {
                let how = if undoes.is_none() { "taken back by" } else { "brought back by" };
                for at in undone.iter().filter_map(|done| of_done.get(done)) {
                    scenes[*at].facts.push(format!("{how} the rollback #{sequence}"));
                }
            }
            _ => {}
        }
    }
    scenes
}

impl Scene {
    /// A place of the story where entries are missing.
    pub(crate) fn gap(after: u64, at_unix_ms: u64, words: String) -> Self {
        Self {
            first: after,
            at_unix_ms,
            agent_id: None,
            title: words,
            verdict: None,
            changes: vec![],
            end: End::None,
            rulings: vec![],
            facts: vec![],
            locks: vec![],
            what: What::Other,
        }
    }

    fn begin(first: u64, entry: &Entry) -> Self {
        let what = match &entry.event {
            Event::Intent { .. } => What::Call,
            _ if entry.call.is_some() => What::PartOfCall,
            Event::Lock { how, .. } => What::Locks(*how),
            _ => What::Other,
        };
        let mut scene = Self {
            first,
            at_unix_ms: entry.at_unix_ms,
            agent_id: entry.agent_id.clone(),
            title: String::new(),
            verdict: None,
            changes: vec![],
            end: End::None,
            rulings: vec![],
            facts: vec![],
            locks: vec![],
            what,
        };
        scene.take(entry);
        match what {
            What::Locks(_) => scene.title = scene.locks_line().unwrap_or_default(),
            What::Other => scene.title = titled(entry),
            What::PartOfCall => scene.title = "a call of which the begin is not on record".to_owned(),
            What::Call => {}
        }
        scene
    }

    fn join(&mut self, entry: &Entry) {
        self.agent_id = self.agent_id.take().or_else(|| entry.agent_id.clone());
        self.take(entry);
        if let What::Locks(_) = self.what {
            self.title = self.locks_line().unwrap_or_default();
        }
    }

    /// An agent may use the name of a call again: this belongs to another one.
    fn is_before(&self, event: &Event) -> bool {
        let is_refused = self.verdict.is_some_and(|v| !matches!(v, Verdict::Passed | Verdict::Shadowed));
        let is_over = is_refused || matches!(self.end, End::Done | End::Failed);
        match event {
            Event::Intent { .. } => self.what == What::Call,
            Event::Lock { .. } | Event::Approval { .. } => self.what == What::Call && is_over,
            _ => false,
        }
    }

    /// Something of no call that happened together with this.
    fn goes_on(&self, event: &Event) -> bool {
        matches!((self.what, event), (What::Locks(was), Event::Lock { how, .. }) if was == *how)
    }

    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Intent { does, .. } => {
                self.title = titled(entry);
                self.what = What::Call;
                if matches!(does, Does::Read(_) | Does::Other) {
                    // What only reads is written down when it passes; if it does not, its verdict follows.
                    self.verdict.get_or_insert(Verdict::Passed);
                }
            }
            Event::Verdict { verdict, .. } => {
                self.verdict = Some(*verdict);
                self.rulings.push(said(entry));
            }
            Event::Started => {
                self.end = End::Unknown;
                // What may run was let through.
                self.verdict.get_or_insert(Verdict::Passed);
            }
            Event::Done { ok, changes } => {
                self.end = if *ok { End::Done } else { End::Failed };
                self.changes.extend(changes.iter().cloned());
            }
            Event::RolledBack { changes, .. } => {
                self.changes.extend(changes.iter().cloned());
                if self.what != What::Other {
                    self.facts.push(titled(entry));
                }
            }
            Event::Lock { scope, how, .. } => self.locks.push((scope.clone(), *how)),
            Event::Snapped { .. } => {}
            _ if self.what == What::Other => {}
            _ => self.facts.push(titled(entry)),
        }
    }

    /// What is known of it: the verdict first.
    pub(crate) fn facts(&self) -> Vec<String> {
        let verdict = self.verdict.filter(|_| self.rulings.is_empty()).map(|verdict| verdict.word().to_owned());
        let locks = self.locks_line().filter(|_| !matches!(self.what, What::Locks(_)));
        let rulings = verdict.into_iter().chain(self.rulings.iter().cloned());
        rulings.chain(locks).chain(self.facts.iter().cloned()).collect()
    }

    fn locks_line(&self) -> Option<String> {
        let groups = self.locks.chunk_by(|(_, one), (_, other)| one == other).map(|group| {
            let names = words::names(group.iter().map(|(scope, _)| scope.clone()), LOCKS_SHOWN_MAX);
            format!("{names} {}", group[0].1.word())
        });
        let groups: Vec<String> = groups.collect();
        (!groups.is_empty()).then(|| plain(&format!("lock: {}", groups.join("; "))))
    }

    /// All there is to show of it, a line each, with its diffs.
    pub(crate) fn lines(&self, contents: &dyn Contents) -> Vec<(Mark, String)> {
        self.around(self.changes.iter().flat_map(|change| diff::of(change, contents)))
    }

    /// The same, with the names of what it changed only.
    pub(crate) fn short_lines(&self) -> Vec<(Mark, String)> {
        self.around(self.changes.iter().map(|change| (Mark::Head, diff::head(change))))
    }

    fn around(&self, changes: impl Iterator<Item = (Mark, String)>) -> Vec<(Mark, String)> {
        let head = |line: String| (Mark::Head, line);
        let end = self.end_words().map(str::to_owned);
        self.facts().into_iter().map(head).chain(changes).chain(end.map(head)).collect()
    }

    #[cfg(test)]
    pub(crate) fn bare(first: u64, at_unix_ms: u64) -> Self {
        let told = Event::Told { text: format!("scene {first}").into() };
        Self::begin(first, &Entry { at_unix_ms, session: None, agent_id: None, call: None, revision: 0, event: told })
    }

    fn end_words(&self) -> Option<&'static str> {
        match self.end {
            End::None => None,
            End::Unknown => Some("it may have run: what it did is unknown"),
            End::Done if self.changes.is_empty() => Some("done, changed nothing"),
            End::Done => Some("done"),
            End::Failed => Some("failed"),
        }
    }

    pub(crate) fn json(&self, contents: &dyn Contents) -> Value {
        let change = |change: &FileChange| {
            let mut value = rr_journal::json::change(change);
            let lines = diff::of(change, contents);
            value["diff"] = lines[1..].iter().map(|(mark, line)| format!("{}{line}", mark.sign())).collect();
            value
        };
        let end = match self.end {
            End::None => Value::Null,
            End::Unknown => json!("unknown"),
            End::Done => json!("done"),
            End::Failed => json!("failed"),
        };
        json!({
            "sequence": self.first, "at_unix_ms": self.at_unix_ms, "agent_id": self.agent_id, "title": self.title,
            "verdict": self.verdict.map(Verdict::word), "facts": self.facts(), "end": end,
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
        })
    }
}

/// What an entry says, after what it is about.
fn titled(entry: &Entry) -> String {
    let words = said(entry);
    match &entry.event {
        Event::Intent { does: Does::Shell(_), .. } => words.replacen(' ', ": ", 1),
        Event::Intent { .. } => words,
        event => format!("{}: {words}", event.kind().word()),
    }
}

fn said(entry: &Entry) -> String {
    words::of(&rr_journal::json::of(0, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{Shelf, change, edit, entry, of};
    use rr_journal::ApprovalStep;

    #[test]
    fn entries_become_one_scene_a_call_even_if_calls_overlap() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("one\n"), shelf.put("two\n"));
        let (mut first, second) = (edit(1, "t1", "a.rs", a, b), edit(1, "t2", "b.rs", a, b));
        let end = first.pop().expect("done");
        let told = entry(1, "", Event::Told { text: "mind the gap".into() });
        let all = first.into_iter().chain(second).chain([told, end]);
        let scenes = scenes((10..).zip(all));
        let titles: Vec<_> = scenes.iter().map(|s| (s.first, s.title.as_str(), s.end, s.changes.len())).collect();
        let expected = [
            (10, "Edit a.rs", End::Done, 1),
            (14, "Edit b.rs", End::Done, 1),
            (19, "told: mind the gap", End::None, 0),
        ];
        assert_eq!(titles, expected);
        let lines: Vec<_> =
            scenes[0].lines(&shelf.0).into_iter().map(|(mark, l)| mark.sign().to_owned() + &l).collect();
        assert_eq!(lines, ["passed", "a.rs (changed)", "@@ -1 +1 @@", "-one", "+two", "done"]);
    }

    #[test]
    fn a_refused_call_says_why_and_one_without_an_end_that_it_is_unknown() {
        let intent = || {
            entry(1, "t1", Event::Intent { tool: "Bash".into(), does: Does::Shell("rm -rf /".into()), cwd: "/".into() })
        };
        let refused =
            Event::Verdict { verdict: Verdict::Denied, reason: "it deletes all".into(), rule: Some("r1".into()) };
        let scene = &scenes((1..).zip([intent(), entry(1, "t1", refused)]))[0];
        assert_eq!(scene.facts(), ["denied: it deletes all (rule r1)"]);
        assert_eq!((scene.verdict, scene.end), (Some(Verdict::Denied), End::None));
        let scenes = scenes((1..).zip([intent(), entry(1, "t1", Event::Started), intent()]));
        assert_eq!(scenes.iter().map(|s| s.end).collect::<Vec<_>>(), [End::Unknown, End::None]);
    }

    fn lock(call: &str, scope: &str, how: LockStep) -> Entry {
        entry(1, call, Event::Lock { scope: scope.into(), token: 7, how })
    }

    fn approval(call: &str, outcome: ApprovalStep) -> Entry {
        let (id, who) = ("0123456789".into(), if outcome == ApprovalStep::Asked { "" } else { "ann" });
        entry(1, call, Event::Approval { id, outcome, who: who.into(), reason: "".into() })
    }

    #[test]
    fn what_led_to_a_call_is_in_its_scene_and_locks_of_no_call_are_one() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("one\n"), shelf.put("two\n"));
        let locks = [lock("t1", "a.rs", LockStep::Granted), lock("t1", "!tree", LockStep::Granted)];
        let released = ["a.rs", "!tree", "b.rs"].map(|scope| lock("", scope, LockStep::Released));
        let later = lock("", "c.rs", LockStep::Granted);
        let all = locks.into_iter().chain(edit(1, "t1", "a.rs", a, b)).chain(released).chain([later]);
        let scenes = scenes((1..).zip(all));
        let titles: Vec<_> = scenes.iter().map(|s| (s.first, s.title.as_str())).collect();
        let expected = [(1, "Edit a.rs"), (8, "lock: a.rs, !tree, b.rs released"), (11, "lock: c.rs granted")];
        assert_eq!(titles, expected);
        assert_eq!(scenes[0].facts(), ["passed", "lock: a.rs, !tree granted"]);
        assert!(scenes[1].facts().is_empty());
    }

    #[test]
    fn a_call_that_waited_for_a_person_is_told_with_what_they_said() {
        let shell = |call: &str| {
            entry(
                1,
                call,
                Event::Intent { tool: "Bash".into(), does: Does::Shell("npm publish".into()), cwd: "/".into() },
            )
        };
        let asked = Event::Verdict { verdict: Verdict::Asked, reason: "a person".into(), rule: None };
        let entries = [
            approval("t1", ApprovalStep::Asked),
            shell("t1"),
            entry(1, "t1", asked),
            approval("", ApprovalStep::Approved),
            approval("t2", ApprovalStep::Used),
            shell("t2"),
            entry(1, "t2", Event::Started),
            entry(1, "t2", Event::Done { ok: true, changes: vec![] }),
        ];
        let scenes = scenes((1..).zip(entries));
        let told: Vec<_> = scenes.iter().map(|s| (s.title.as_str(), s.facts())).collect();
        let facts = |all: &[&str]| all.iter().map(|fact| (*fact).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("Bash: npm publish", facts(&["asked: a person", "approval: 01234567 asked"])),
            ("approval: 01234567 approved by ann", vec![]),
            ("Bash: npm publish", facts(&["passed", "approval: 01234567 used by ann"])),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_name_that_an_agent_uses_again_is_another_call_with_its_own_locks() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("one\n"), shelf.put("two\n"));
        let first = [vec![lock("t1", "a.rs", LockStep::Granted)], edit(1, "t1", "a.rs", a, b)].concat();
        let second = [vec![lock("t1", "b.rs", LockStep::Granted)], edit(1, "t1", "b.rs", a, b)].concat();
        let scenes = scenes((1..).zip(first.into_iter().chain(second)));
        let told: Vec<_> = scenes.iter().map(|s| (s.title.as_str(), s.facts()[1].clone())).collect();
        assert_eq!(
            told,
            [("Edit a.rs", "lock: a.rs granted".to_owned()), ("Edit b.rs", "lock: b.rs granted".to_owned()),]
        );
    }

    #[test]
    fn what_is_left_of_a_call_whose_begin_was_removed_is_told_as_that() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("one\n"), shelf.put("two\n"));
        let end = edit(1, "t1", "a.rs", a, b).pop().expect("done");
        let scene = &scenes([(9, end)])[0];
        assert_eq!((scene.title.as_str(), scene.end), ("a call of which the begin is not on record", End::Done));
        assert_eq!(scene.changes.len(), 1);
    }

    #[test]
    fn a_call_that_was_taken_back_says_by_which_rollback() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("one\n"), shelf.put("two\n"));
        let back =
            |undoes| Event::RolledBack { of: of(1), undone: vec![5], changes: vec![change("a.rs", b, a)], undoes };
        let rolled = [entry(1, "", back(None)), entry(1, "", back(Some(6)))];
        let scenes = scenes((1..).zip(edit(1, "t1", "a.rs", a, b).into_iter().chain(rolled)));
        assert_eq!(scenes[0].facts(), ["passed", "taken back by the rollback #6", "brought back by the rollback #7"]);
        assert_eq!((scenes.len(), scenes[1].changes.len()), (3, 1));
        assert_eq!(scenes[1].title, "rolled-back: 1 call of session 01010101; changed a.rs");
    }

    #[test]
    fn a_sub_agents_call_is_told_as_its_own() {
        let intent = Event::Intent { tool: "Read".into(), does: Does::Read(vec![]), cwd: "/".into() };
        let of_sub = Entry { agent_id: Some("explore".into()), ..entry(1, "t1", intent) };
        let scene = &scenes([(1, of_sub)])[0];
        assert_eq!((scene.agent_id.as_deref(), scene.facts()), (Some("explore"), vec!["passed".to_owned()]));
    }
}
