//! The state of files and work trees: what others have changed under an agent, and what it has changed of theirs.

use super::{Who, quote};

/// Nothing stops a person: who holds the file learns that it is another one now (X14).
pub(crate) fn saved_by_person(file: &str, who: &Who) -> String {
    format!("{file}, which you hold, was edited by {}. Read it again before writing.", who.named())
}

pub(crate) fn stale(what: &str, by: Option<&Who>) -> String {
    let by = by.map_or_else(|| "by somebody outside of all sessions".to_owned(), |w| format!("by {}", w.named()));
    format!(
        "{what} was changed {by} since you read it. Your change is based on an older version: read the file again, then make the change."
    )
}

pub(crate) fn unread(what: &str) -> String {
    format!("It is not known which version of {what} this session has read. Read the file again, then make the change.")
}

pub(crate) fn read_under_edit(what: &str, who: &Who) -> String {
    format!(
        "{what} is being edited by {}. Reading is fine; its contents may change, and you will be told when they have.",
        who.named()
    )
}

pub(crate) fn changed_since_read(what: &str, who: &Who) -> String {
    format!("{what}, which you have read, has been changed by {}. What you know of it may be out of date.", who.named())
}

pub(crate) fn commit_overtaken(commit: &str, paths: &str) -> String {
    format!(
        "Commit {commit} changes what was not yours when it was made: {paths}. It will not be published as it is. Write those \
         files once more with a tool (that asks for their locks), look at what others changed in them, then amend or redo the \
         commit; or a person vouches for it (`rrctl publish vouch {commit}`)."
    )
}

pub(crate) fn would_sweep(command: &str, files: &str) -> String {
    format!(
        "{command} would move or take along uncommitted work of other sessions: {files}. Name only your own paths (`git add PATH`, `git commit PATH`, `git stash push -- PATH`)."
    )
}

pub(crate) fn unforeseen(files: &str) -> String {
    format!(
        "That command also changed {files}, which it did not name. These changes are counted as yours, and the files are locked for you where they were free."
    )
}

pub(crate) fn hit_others(file: &str, who: &Who) -> String {
    format!(
        "That command changed {file} while it was held by {}. They have been told. Look at the file together before going on.",
        who.named()
    )
}

pub(crate) fn hit_by(file: &str, who: &Who) -> String {
    format!("{file}, which you hold, was changed by a command of {}. Read it again before writing.", who.named())
}

pub(crate) fn not_compared() -> String {
    "The work tree could not be looked at after this command: what it changed is not known.".to_owned()
}

pub(crate) fn tree_moved(command: &str) -> String {
    format!("Another branch or commit was checked out by `{}`: files you read may have changed.", quote(command))
}

/// A command failed in a work tree where others have just changed files: path, who, and whether a call of theirs still runs.
pub(crate) fn others_at_work(rows: &[(String, Who, bool)]) -> String {
    let row = |(path, who, busy): &(String, Who, bool)| {
        let state = if *busy { "still at it" } else { "settled" };
        format!("{} by {}, {state}", quote(path), who.named())
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!(
        "Others changed files here in the last minute: {}. If what failed is in these, it is theirs: leave it, go on with your own work, and \
         run the command again in about 30 s.",
        rows.join("; ")
    )
}
