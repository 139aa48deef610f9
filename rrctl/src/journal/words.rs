//! One entry in one line of words. Nothing that an agent wrote can break the line.

use rr_core::content::Content;
use rr_journal::{Does, Event, FileChange, LockStep, Spot};

use crate::table::plain;

/// More names than this are counted.
const NAMES_MAX: usize = 3;

pub(crate) fn of(event: &Event) -> String {
    plain(&match event {
        Event::SessionStarted { agent, agent_session, workspace, pid, task, .. } => {
            let task = if task.shown.is_empty() { String::new() } else { format!(": {task}") };
            format!("{agent} {agent_session} (pid {pid}) in {}{task}", workspace.display())
        }
        Event::SessionEnded { how } => how.to_string(),
        Event::Intent { tool, does, .. } => format!("{tool} {}", intent(does)).trim_end().to_owned(),
        Event::Verdict { verdict, reason, rule } => {
            let reason = if reason.shown.is_empty() { String::new() } else { format!(": {reason}") };
            let rule = rule.as_ref().map_or_else(String::new, |rule| format!(" (rule {rule})"));
            format!("{}{reason}{rule}", verdict.word())
        }
        Event::Snapped { files } => format!("kept {}", names(files.iter().map(|kept| kept.path.to_string()))),
        Event::Started => "may run".to_owned(),
        Event::Done { ok, changes } => {
            let how = if *ok { "" } else { "failed; " };
            let what = if changes.is_empty() { "changed nothing".to_owned() } else { changed(changes) };
            format!("{how}{what}")
        }
        Event::Lock { scope, token, how } => match how {
            LockStep::Granted => format!("{scope} granted (token {token})"),
            other => format!("{scope} {}", other.word()),
        },
        Event::Told { text } => text.to_string(),
        Event::Paused { epoch, who, reason } => format!("by {who} (epoch {epoch}): {reason}"),
        Event::Resumed { epoch, who } => format!("by {who} (epoch {epoch})"),
        Event::Approval { id, outcome, who, reason } => {
            let who = if who.is_empty() { String::new() } else { format!(" by {who}") };
            let reason = if reason.shown.is_empty() { String::new() } else { format!(": {reason}") };
            format!("{id} {}{who}{reason}", outcome.word())
        }
        Event::RolledBack { of, undone, changes, undoes } => {
            let which = undoes.map_or_else(
                || format!("{} of session {}", count(undone.len(), "call"), of.short()),
                |sequence| format!("the rollback {sequence} of session {} taken back", of.short()),
            );
            format!("{which}; {}", changed(changes))
        }
        Event::Checkpoint { commit, why, .. } => format!("{}: {why}", commit.get(..10).unwrap_or(commit)),
        Event::Missed { notes } => format!("{} lost while the journal could not be written", count_u64(*notes, "note")),
        Event::Forgotten { before } => format!("entries before {before} were removed: too old, or too many"),
    })
}

pub(crate) fn intent(does: &Does) -> String {
    let spots = |spots: &[Spot]| names(spots.iter().map(|spot| spot.path.to_string()));
    match does {
        Does::Read(at) | Does::Write(at) => spots(at),
        Does::Shell(command) => command.to_string(),
        Does::Other => String::new(),
    }
}

fn changed(changes: &[FileChange]) -> String {
    names(changes.iter().map(|change| {
        let how = match (change.before, change.after) {
            (Content::Absent, _) => "new ",
            (_, Content::Absent) => "deleted ",
            _ => "changed ",
        };
        let unforeseen = if change.foreseen { "" } else { " (unforeseen)" };
        format!("{how}{}{unforeseen}", change.path)
    }))
}

fn names(all: impl ExactSizeIterator<Item = String>) -> String {
    let count = all.len();
    let mut shown: Vec<String> = all.take(NAMES_MAX).collect();
    match count {
        0 => "nothing".to_owned(),
        _ if count > NAMES_MAX => {
            shown.push(format!("{} more", count - NAMES_MAX));
            shown.join(", ")
        }
        _ => shown.join(", "),
    }
}

fn count(n: usize, what: &str) -> String {
    count_u64(n as u64, what)
}

fn count_u64(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{Shelf, change, of as session};
    use rr_journal::Verdict;

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
        for (event, words) in [
            (shell("ls\n\u{1b}[2J"), "Bash ls  [2J"),
            (refused, "denied: it deletes all (rule rm)"),
            (done(vec![]), "changed nothing"),
            (
                done(vec![new.clone(), change("b", a, b), change("c", a, Content::Absent)]),
                "new a, changed b, deleted c",
            ),
            (done(vec![new.clone(), new.clone(), new.clone(), new.clone(), new]), "new a, new a, new a, 2 more"),
            (rolled, "1 call of session 01010101; changed a"),
            (Event::Missed { notes: 2 }, "2 notes lost while the journal could not be written"),
        ] {
            assert_eq!(of(&event), words);
        }
    }
}
