//! What a call that waits for a person would make of its files, as lines to read before a word is given. Only what is certain from the
//! call itself: a file tool's new text, a here-document put into a file, a file removed. Bounded, and without secrets. Whether the
//! call passes is not decided here.

use std::path::Path;

use rr_core::content::Content;
use rr_core::rollback::Place as Spot;
use rr_git::Contents as _;
use rr_shell::{Analysis, Certainty, How, Target};

use crate::call::{Action, ToolCall};
use crate::effects::Effects;
use crate::hosts::claude;
use crate::repos::Place;
use crate::service::Service;

/// A file longer than this is not read for it: nobody reads such a change.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Files of one call that are shown.
const FILES_MAX: usize = 8;
/// Of all lines together, before secrets are taken out: what is shown is less.
const LINES_BYTES_MAX: usize = 64 << 10;

/// What a file is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proposal {
    Whole(String),
    Edited(Vec<Replace>),
    Appended(String),
    Gone,
}

/// One edit of a file tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replace {
    pub old: String,
    pub new: String,
    pub all: bool,
}

impl Proposal {
    /// What would stand there then; none if it does not apply to what stands there now.
    fn applied(&self, before: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Whole(text) => Some(text.clone().into_bytes()),
            Self::Gone => Some(Vec::new()),
            Self::Appended(text) => Some([before, text.as_bytes()].concat()),
            Self::Edited(edits) => {
                let mut text = std::str::from_utf8(before).ok()?.to_owned();
                for Replace { old, new, all } in edits {
                    if old.is_empty() && text.is_empty() {
                        text.clone_from(new);
                    } else if old.is_empty() || !text.contains(old.as_str()) {
                        return None;
                    } else {
                        text = if *all { text.replace(old, new) } else { text.replacen(old, new, 1) };
                    }
                }
                Some(text.into_bytes())
            }
        }
    }
}

impl Service {
    /// The lines that a call would change. Blocks: reads files.
    pub(crate) fn proposed(&self, call: &ToolCall, found: &Effects) -> Option<String> {
        let mut lines = String::new();
        for (place, proposal) in self.proposals(call, found).into_iter().take(FILES_MAX) {
            let Some(changed) = self.changed_lines(&place, &proposal) else { continue };
            lines.push_str(&format!("--- {0}\n+++ {0}\n{changed}", place.path.shown()));
            if lines.len() > LINES_BYTES_MAX {
                lines.truncate(lines.floor_char_boundary(LINES_BYTES_MAX));
                lines.push_str("\n(and more)\n");
                break;
            }
        }
        let vague = |a: &Analysis| matches!(a.certainty, Certainty::Unforeseen(_));
        if !lines.is_empty() && found.analysis.as_ref().is_some_and(vague) {
            lines.push_str("(The command may change more than this.)\n");
        }
        (!lines.is_empty()).then(|| rr_journal::redact(&lines).into_owned())
    }

    fn proposals(&self, call: &ToolCall, found: &Effects) -> Vec<(Place, Proposal)> {
        let place = |path: &Path| self.repos.place(path, false).ok().flatten();
        match &call.action {
            Action::Write { .. } => found.writes.iter().cloned().zip(claude::proposal(call)).collect(),
            Action::Shell { .. } => {
                let all = found.analysis.as_ref().map(of_command).unwrap_or_default();
                all.into_iter().filter_map(|(path, proposal)| Some((place(path)?, proposal))).collect()
            }
            Action::Read(_) | Action::Harmless | Action::Unknown { .. } => Vec::new(),
        }
    }

    fn changed_lines(&self, place: &Place, proposal: &Proposal) -> Option<String> {
        let root = &place.repo.tree.root;
        let path = place.disk.strip_prefix(root).ok()?;
        if place.disk.symlink_metadata().is_ok_and(|seen| seen.len() > FILE_BYTES_MAX) {
            return None;
        }
        // Kept as it is looked at, no link followed: it would be before the call anyway.
        let stands = self.snapshots.vault.stands(&Spot { root: root.clone(), path: path.to_owned() }).ok()?;
        let before = match stands {
            Content::Absent => Vec::new(),
            Content::File { blob, .. } => self.snapshots.vault.bytes(blob).ok()?,
            Content::Link { .. } | Content::Folder | Content::Unkept => return None,
        };
        rr_git::changed_lines(path, &before, &proposal.applied(&before)?)
    }
}

/// What a command puts into files for certain.
fn of_command(analysis: &Analysis) -> Vec<(&Path, Proposal)> {
    let redirected: Vec<_> = analysis.writes.iter().filter(|w| w.by == "redirection").collect();
    let texts: Vec<&String> = analysis.invocations.iter().filter_map(here_document).collect();
    let mut all = Vec::new();
    // The parse does not say whose a redirection is: where each command is a here-document with one of its own, the order does.
    if texts.len() == analysis.invocations.len() && texts.len() == redirected.len() {
        for (write, text) in redirected.iter().zip(texts) {
            let proposal = match write.how {
                How::Write | How::Create => Proposal::Whole(text.clone()),
                How::Append => Proposal::Appended(text.clone()),
                How::Delete | How::Rename | How::Metadata => continue,
            };
            all.extend(single(&write.target).map(|path| (path, proposal)));
        }
    }
    let gone = analysis.writes.iter().filter(|w| w.how == How::Delete).filter_map(|w| single(&w.target));
    all.extend(gone.map(|path| (path, Proposal::Gone)));
    all
}

fn single(target: &Target) -> Option<&Path> {
    if let Target::File(path) = target { Some(path) } else { None }
}

/// The text of `cat <<EOF`.
fn here_document(call: &rr_shell::Invocation) -> Option<&String> {
    let plain = call.name() == Some("cat") && call.wrappers.is_empty() && call.fed_by.is_empty();
    let stdin_only = call.args.iter().all(|word| word.text() == "-");
    call.stdin.as_ref().filter(|_| plain && stdin_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &str) -> Vec<(String, Proposal)> {
        let analysis = rr_shell::analyse(command, &rr_shell::Env { cwd: Path::new("/w"), home: None });
        of_command(&analysis).into_iter().map(|(path, what)| (path.display().to_string(), what)).collect()
    }

    #[test]
    fn a_here_document_in_a_file_and_a_file_removed_are_certain_and_nothing_else() {
        let whole = |text: &str| Proposal::Whole(text.into());
        assert_eq!(of("cat > a.yaml <<'E'\nx: 1\nE\n"), [("/w/a.yaml".to_owned(), whole("x: 1\n"))]);
        assert_eq!(of("cat >> a <<'E'\nx\nE\n"), [("/w/a".to_owned(), Proposal::Appended("x\n".into()))]);
        let two = of("cat > a <<'E'\n1\nE\ncat > b <<'E'\n2\nE\n");
        assert_eq!(two, [("/w/a".to_owned(), whole("1\n")), ("/w/b".to_owned(), whole("2\n"))]);
        assert_eq!(of("rm a"), [("/w/a".to_owned(), Proposal::Gone)]);
        for unclear in [
            "echo hi > x; cat <<'E'\n1\nE\n",
            "cat <<'E' | sed s/1/2/ > x\n1\nE\n",
            "cat - y > x <<'E'\n1\nE\n",
            "cat > a > b <<'E'\n1\nE\n",
            "sed -i s/1/2/ a",
        ] {
            assert_eq!(of(unclear), [], "{unclear}");
        }
    }

    #[test]
    fn an_edit_that_does_not_fit_what_stands_there_is_not_made_up() {
        let edit =
            |old: &str, new: &str, all| Proposal::Edited(vec![Replace { old: old.into(), new: new.into(), all }]);
        assert_eq!(edit("1", "2", false).applied(b"1 1"), Some(b"2 1".to_vec()));
        assert_eq!(edit("1", "2", true).applied(b"1 1"), Some(b"2 2".to_vec()));
        assert_eq!(edit("3", "2", true).applied(b"1 1"), None);
        assert_eq!(edit("", "new", false).applied(b""), Some(b"new".to_vec()));
        assert_eq!(edit("", "new", false).applied(b"old"), None);
    }
}
