//! One entry in one line of words. It reads the entry as JSON has it, so that what another host's journal said reads the same.
//! Nothing that an agent wrote can break the line.

use serde_json::Value;

use crate::table::plain;

/// More names than this are counted.
const NAMES_MAX: usize = 3;
/// What every entry has; the rest says what happened.
const COMMON: [&str; 9] =
    ["sequence", "at_unix_ms", "session", "agent_id", "call", "revision", "kind", "host", "host_name"];

pub(crate) fn of(entry: &Value) -> String {
    let word = |key: &str| entry[key].as_str().unwrap_or_default();
    let after =
        |sign: &str, key: &str| if word(key).is_empty() { String::new() } else { format!("{sign}{}", word(key)) };
    plain(&match word("kind") {
        "session-started" => {
            let task = if word("task").is_empty() { String::new() } else { format!(": {}", whole(entry, "task")) };
            let (who, place) = (format!("{} {}", word("agent"), word("agent_session")), word("workspace"));
            format!("{who} (pid {}) in {place}{task}", entry["pid"])
        }
        "session-ended" | "told" => whole(entry, "text"),
        "intent" => format!("{} {}", word("tool"), intent(entry)).trim_end().to_owned(),
        "verdict" => {
            let rule = if word("rule").is_empty() { String::new() } else { format!(" (rule {})", word("rule")) };
            format!("{}{}{rule}", word("verdict"), after(": ", "reason"))
        }
        "snapped" => format!("kept {}", names(list(entry, "files").iter().map(path), NAMES_MAX)),
        "started" => "may run".to_owned(),
        "done" => {
            let how = if entry["ok"] == false { "failed; " } else { "" };
            format!("{how}{}", changed(entry))
        }
        "lock" if word("how") == "granted" => format!("{} granted (token {})", word("lock"), entry["token"]),
        "lock" => format!("{} {}", word("lock"), word("how")),
        "paused" => format!("by {} (epoch {}): {}", word("who"), entry["epoch"], word("reason")),
        "resumed" => format!(
            "{}epoch {}",
            if word("who").is_empty() { String::new() } else { format!("by {}, ", word("who")) },
            entry["epoch"]
        ),
        "approval" => {
            format!("{} {}{}{}", short(word("id")), word("outcome"), after(" by ", "who"), after(": ", "reason"))
        }
        "rolled-back" => {
            let of = short(word("of"));
            let which = match entry["undoes"].as_u64() {
                Some(sequence) => format!("the rollback {sequence} of session {of} taken back"),
                None => format!("{} of session {of}", count(list(entry, "undone").len() as u64, "call")),
            };
            format!("{which}; {}", changed(entry))
        }
        "checkpoint" => format!("{}: {}", word("commit").get(..10).unwrap_or(word("commit")), word("why")),
        "missed" => {
            let notes = count(entry["notes"].as_u64().unwrap_or(0), "note");
            format!("{notes} lost while the journal could not be written")
        }
        "forgotten" => format!("entries before {} were removed: too old, or too many", entry["before"]),
        _ => unknown(entry),
    })
}

/// What a call is about.
pub(crate) fn intent(entry: &Value) -> String {
    match entry["does"].as_str() {
        Some("read" | "write") => names(list(entry, "paths").iter().map(path), NAMES_MAX),
        Some("shell") => whole(entry, "command"),
        _ => String::new(),
    }
}

/// Of what a newer version wrote on another host: all that is particular to it.
fn unknown(entry: &Value) -> String {
    let fields = entry.as_object().into_iter().flatten();
    let own = fields.filter(|(key, value)| !COMMON.contains(&key.as_str()) && !value.is_null());
    let shown = own.map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}: {text}"),
        None => format!("{key}: {value}"),
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// A text, and how much of it was not written down.
fn whole(entry: &Value, key: &str) -> String {
    let text = entry[key].as_str().unwrap_or_default();
    match entry["cut"].as_u64() {
        Some(cut) if cut > 0 => format!("{text} [{cut} bytes cut]"),
        _ => text.to_owned(),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn list<'a>(entry: &'a Value, key: &str) -> &'a [Value] {
    entry[key].as_array().map_or(&[], Vec::as_slice)
}

fn path(of: &Value) -> String {
    of["path"].as_str().unwrap_or_default().to_owned()
}

fn changed(entry: &Value) -> String {
    let changes = list(entry, "changes");
    if changes.is_empty() {
        return "changed nothing".to_owned();
    }
    let change = |change: &Value| {
        let how = match (change["before"].as_str(), change["after"].as_str()) {
            (Some("absent"), _) => "new ",
            (_, Some("absent")) => "deleted ",
            _ => "changed ",
        };
        let unforeseen = if change["foreseen"] == false { " (unforeseen)" } else { "" };
        format!("{how}{}{unforeseen}", path(change))
    };
    names(changes.iter().map(change), NAMES_MAX)
}

/// At most so many of them by name.
pub(crate) fn names(all: impl ExactSizeIterator<Item = String>, names_max: usize) -> String {
    let count = all.len();
    let mut shown: Vec<String> = all.take(names_max).collect();
    if count > names_max {
        shown.push(format!("{} more", count - names_max));
    }
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{Shelf, change, entry, of as session};
    use rr_core::content::Content;
    use rr_journal::{ApprovalStep, Does, Event, LockStep, Verdict};

    fn words(event: Event) -> String {
        of(&rr_journal::json::of(1, &entry(1, "", event)))
    }

    #[test]
    fn each_kind_is_one_line_of_words() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("a"), shelf.put("b"));
        let shell = |command: &str| Event::Intent {
            tool: "Bash".into(),
            does: Does::Shell(command.into()),
            cwd: "/repo".into(),
        };
        let done = |changes| Event::Done { ok: true, changes };
        let new = change("a", Content::Absent, a);
        let rolled =
            Event::RolledBack { of: session(1), undone: vec![5], changes: vec![change("a", b, a)], undoes: None };
        let refused =
            Event::Verdict { verdict: Verdict::Denied, reason: "it deletes all".into(), rule: Some("rm".into()) };
        let approval = Event::Approval {
            id: "0123456789".into(),
            outcome: ApprovalStep::Approved,
            who: "ann".into(),
            reason: "".into(),
        };
        let lock = |how| Event::Lock { scope: "a".into(), token: 7, how };
        for (event, line) in [
            (shell("ls\n\u{1b}[2J"), "Bash ls  [2J"),
            (refused, "denied: it deletes all (rule rm)"),
            (done(vec![]), "changed nothing"),
            (Event::Done { ok: false, changes: vec![] }, "failed; changed nothing"),
            (
                done(vec![new.clone(), change("b", a, b), change("c", a, Content::Absent)]),
                "new a, changed b, deleted c",
            ),
            (done(vec![new.clone(), new.clone(), new.clone(), new.clone(), new]), "new a, new a, new a, 2 more"),
            (rolled, "1 call of session 01010101; changed a"),
            (lock(LockStep::Granted), "a granted (token 7)"),
            (lock(LockStep::Released), "a released"),
            (approval, "01234567 approved by ann"),
            (Event::Resumed { epoch: 4, who: String::new() }, "epoch 4"),
            (Event::Missed { notes: 2 }, "2 notes lost while the journal could not be written"),
        ] {
            assert_eq!(words(event), line);
        }
    }

    #[test]
    fn what_only_a_newer_version_knows_is_told_with_all_that_it_says() {
        let value = serde_json::json!({ "sequence": 7, "kind": "moved", "from": "a\u{1b}", "to": null, "n": 2 });
        assert_eq!(of(&value), "from: a ; n: 2");
    }
}
