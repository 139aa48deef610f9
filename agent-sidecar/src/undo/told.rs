//! What a rollback came to, or would, as it is told to whoever asked.

use std::collections::BTreeSet;

use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_core::path::show;
use rr_core::rollback::{Left, Place, Plan, Why};
use rr_proto::v1;

use crate::messages;

/// Text of a conflict's side that is shown: what a person can compare.
const SIDE_BYTES_MAX: usize = 8 << 10;
/// Lines around the place that are shown with it.
const AROUND: usize = 3;

/// Both sides of a conflict: what stands now, and what would without the session.
pub(super) type Sides = Vec<(String, String)>;

/// The lines in which two texts differ, with some around them; a text that is alone, from its begin.
pub(super) fn where_they_differ(now: Option<String>, without: Option<String>) -> (String, String) {
    let cut = |text: &str| messages::cut(text, SIDE_BYTES_MAX);
    let (Some(now), Some(without)) = (&now, &without) else {
        return (cut(&now.unwrap_or_default()), cut(&without.unwrap_or_default()));
    };
    let (a, b): (Vec<&str>, Vec<&str>) = (now.split_inclusive('\n').collect(), without.split_inclusive('\n').collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let begin = same.saturating_sub(AROUND);
    let rest = a.len().min(b.len()) - same;
    let tail = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str]| {
        let end = (lines.len() - tail + AROUND).min(lines.len());
        let place = if begin > 0 { format!("(from line {})\n", begin + 1) } else { String::new() };
        cut(&(place + &lines[begin..end].concat()))
    };
    (part(&a), part(&b))
}

pub(super) fn reply(of: &SessionId, plan: &Plan, sides: &Sides, by: Option<&SessionId>) -> v1::RollbackReply {
    let file = |place: &Place, before: Content, after: Content, what: &str| v1::UndoneFile {
        root: place.root.display().to_string(),
        path: show(&place.path),
        before: before.to_string(),
        after: after.to_string(),
        what: what.to_owned(),
    };
    let written = plan.writes.iter().map(|w| {
        let what = match (w.expects, w.becomes) {
            (Content::Absent, _) => "put back",
            (_, Content::Absent) => "removed",
            _ => "changed",
        };
        file(&w.place, w.expects, w.becomes, what)
    });
    let settled = plan.settled.iter().map(|s| {
        let what = match s.why {
            Left::NothingLeft => "nothing of it is left",
            Left::Overwritten => "written anew by somebody since",
        };
        file(&s.place, s.stands, s.stands, what)
    });
    let mut sides = sides.iter();
    let conflicts = plan.conflicts.iter().map(|c| {
        let (now, without) = sides.next().cloned().unwrap_or_default();
        v1::UndoConflict {
            root: c.place.root.display().to_string(),
            path: show(&c.place.path),
            why: why(&c.why),
            now,
            without,
            by: c.by.as_ref().map(|(sid, _)| sid.to_string()).unwrap_or_default(),
        }
    });
    let calls: BTreeSet<u64> = plan
        .writes
        .iter()
        .flat_map(|w| &w.undoes)
        .chain(plan.settled.iter().flat_map(|s| &s.undoes))
        .copied()
        .collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let already: BTreeSet<u64> = plan.already_undone.iter().copied().collect();
    v1::RollbackReply {
        files: written.chain(settled).collect(),
        conflicts: conflicts.collect(),
        session: by.map(ToString::to_string).unwrap_or_default(),
        of: of.to_string(),
        calls: count(calls.len()),
        already_undone: count(already.len()),
    }
}

fn why(why: &Why) -> String {
    match why {
        Why::SameLines => "both changed the same lines".to_owned(),
        Why::SameMode => "both changed its mode".to_owned(),
        Why::NotText => "both changed it, and it is not text".to_owned(),
        Why::EditedWhatItMade => "the session made this file and somebody has edited it since".to_owned(),
        Why::MadeAnew => "the session deleted it and somebody has made it anew".to_owned(),
        Why::OtherKind => "it has become a link, a folder or a file since".to_owned(),
        Why::Moved { to } => format!("it has been moved to {} since", show(&to.path)),
        Why::NotKept => "what would have to be put back was not kept or cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(now: &str, without: &str) -> (String, String) {
        where_they_differ(Some(now.into()), Some(without.into()))
    }

    #[test]
    fn sides_are_shown_where_they_differ_with_the_lines_around() {
        let text = |n: usize, word: &str| {
            (1..=20).map(|l| format!("{l}{}\n", if l == n { word } else { "" })).collect::<String>()
        };
        let (now, without) = differ(&text(10, " now"), &text(10, " then"));
        assert_eq!(now, "(from line 7)\n7\n8\n9\n10 now\n11\n12\n13\n");
        assert_eq!(without, "(from line 7)\n7\n8\n9\n10 then\n11\n12\n13\n");
        assert_eq!(differ("1\n2\n", "2\n"), ("1\n2\n".into(), "2\n".into()));
        assert_eq!(differ("a\n", "a\na\n"), ("a\n".into(), "a\na\n".into()));
        assert_eq!(differ("", "x"), (String::new(), "x".into()));
        assert_eq!(where_they_differ(None, Some("x".into())), (String::new(), "x".into()));
    }
}
