//! What a session did, as scenes: one for each of its calls, with all that belongs to it, and one for everything else that
//! happened to it. Plain data in, plain data out.

use std::collections::HashMap;

use rr_journal::{Contents, Does, Entry, Event, FileChange, Verdict};
use serde_json::{Value, json};

use crate::journal::diff::{self, Mark};
use crate::journal::words;
use crate::table::plain;

/// One call, or one thing that happened between calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    /// Sequence number of its first entry.
    pub(crate) first: u64,
    pub(crate) at_unix_ms: u64,
    pub(crate) title: String,
    pub(crate) verdict: Option<Verdict>,
    /// What else is known, a line each.
    pub(crate) facts: Vec<String>,
    pub(crate) changes: Vec<FileChange>,
    pub(crate) end: End,
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
    for (sequence, entry) in entries {
        let known = entry.call.as_ref().and_then(|call| of_call.get(call)).copied();
        // An agent may use a name again: a new intent is a new call.
        let known = known.filter(|_| !matches!(entry.event, Event::Intent { .. }));
        let at = known.unwrap_or_else(|| {
            scenes.push(begin(sequence, &entry));
            scenes.len() - 1
        });
        if let Some(call) = &entry.call {
            of_call.insert(call.clone(), at);
        }
        scenes[at].take(&entry.event, known.is_some());
    }
    scenes
}

fn begin(first: u64, entry: &Entry) -> Scene {
    let title = match &entry.event {
        Event::Intent { tool, does, .. } => match does {
            Does::Shell(_) => format!("{tool}: {}", words::intent(does)),
            _ => format!("{tool} {}", words::intent(does)),
        },
        event => format!("{}: {}", event.kind().word(), words::of(event)),
    };
    let title = plain(title.trim_end());
    let at_unix_ms = entry.at_unix_ms;
    Scene { first, at_unix_ms, title, verdict: None, facts: vec![], changes: vec![], end: End::None }
}

impl Scene {
    /// `joins`: the scene was begun by another entry, so that this one is not yet told.
    fn take(&mut self, event: &Event, joins: bool) {
        match event {
            Event::Verdict { verdict, .. } => {
                self.verdict = Some(*verdict);
                self.fact(event);
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
            Event::RolledBack { changes, .. } => self.changes.extend(changes.iter().cloned()),
            Event::Intent { .. } | Event::Snapped { .. } => {}
            _ if joins => self.fact(event),
            _ => {}
        }
    }

    fn fact(&mut self, event: &Event) {
        let words = words::of(event);
        self.facts.push(match event {
            Event::Verdict { .. } => words,
            other => format!("{} {words}", other.kind().word()),
        });
    }

    /// All there is to show of it, a line each, with its diffs.
    pub(crate) fn lines(&self, contents: &dyn Contents) -> Vec<(Mark, String)> {
        let mut lines = self.outline();
        lines.extend(self.changes.iter().flat_map(|change| diff::of(change, contents)));
        lines
    }

    /// The same, with the names of what it changed only.
    pub(crate) fn short_lines(&self) -> Vec<(Mark, String)> {
        let mut lines = self.outline();
        lines.extend(self.changes.iter().map(|change| (Mark::Head, plain(change.path.shown()))));
        lines
    }

    fn outline(&self) -> Vec<(Mark, String)> {
        let facts = self.facts.iter().cloned();
        facts.chain(self.end_words().map(str::to_owned)).map(|line| (Mark::Head, line)).collect()
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
            "sequence": self.first, "at_unix_ms": self.at_unix_ms, "title": self.title,
            "verdict": self.verdict.map(Verdict::word), "facts": self.facts, "end": end,
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{Shelf, edit, entry};

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
        assert_eq!(lines, ["passed", "done", "a.rs (changed)", "@@ -1 +1 @@", "-one", "+two"]);
    }

    #[test]
    fn a_refused_call_says_why_and_one_without_an_end_that_it_is_unknown() {
        let intent = || {
            entry(1, "t1", Event::Intent { tool: "Bash".into(), does: Does::Shell("rm -rf /".into()), cwd: "/".into() })
        };
        let refused =
            Event::Verdict { verdict: Verdict::Denied, reason: "it deletes all".into(), rule: Some("r1".into()) };
        let scene = &scenes((1..).zip([intent(), entry(1, "t1", refused)]))[0];
        assert_eq!(scene.facts, ["denied: it deletes all (rule r1)"]);
        assert_eq!((scene.verdict, scene.end), (Some(Verdict::Denied), End::None));
        let scenes = scenes((1..).zip([intent(), entry(1, "t1", Event::Started), intent()]));
        assert_eq!(scenes.iter().map(|s| s.end).collect::<Vec<_>>(), [End::Unknown, End::None]);
    }
}
