//! One log out of many hosts' answers: by time, then host, then sequence number, cut to what was asked for; then a
//! line for each host of which something is missing. An entry's text is the sidecar's; only its time is looked at.

use rr_proto::v1;
use rr_proto::v1::answer::What as Said;
use serde::Deserialize;

use super::asked::{Answers, HostAnswer};
use super::words;

#[derive(Deserialize)]
struct At {
    at_unix_ms: u64,
}

struct Line {
    at_unix_ms: u64,
    /// The last of its host's answer, which had to be cut though less was said than asked for.
    ends_cut: bool,
    reply: v1::LogReply,
}

pub(super) fn merge(answers: Answers, limit: usize, newest_first: bool) -> Vec<v1::LogReply> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let (mut lines, mut notes) = (Vec::new(), Vec::new());
    for answer in answers.said {
        take(answer, limit, &mut lines, &mut notes);
    }
    lines.sort_by(|a, b| {
        let key = |line: &Line| (line.at_unix_ms, line.reply.host.clone(), line.reply.sequence);
        if newest_first { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) }
    });
    lines.truncate(limit);
    // Whoever's last entry is beyond the cut is complete as far as it is shown.
    for line in lines.iter().filter(|line| line.ends_cut) {
        let v1::LogReply { host, host_name, .. } = &line.reply;
        notes.push(note(host.clone(), host_name.clone(), words::cut_short(&shown(host, host_name))));
    }
    for missing in answers.missing {
        notes.push(note(missing.host.to_string(), missing.name, missing.why));
    }
    lines.into_iter().map(|line| line.reply).chain(notes).collect()
}

fn take(answer: HostAnswer, limit: usize, lines: &mut Vec<Line>, notes: &mut Vec<v1::LogReply>) {
    let (host, name) = (answer.host.to_string(), answer.name);
    let found = match answer.what {
        Said::Log(found) => found,
        Said::Refused(why) | Said::NotHere(why) => return notes.push(note(host, name, why)),
        Said::Rollback(_) | Said::Checkpoint(_) | Said::Hold(_) => {
            let why = words::unreadable(&shown(&host, &name));
            return notes.push(note(host, name, why));
        }
    };
    let is_cut = found.more && found.entries.len() < limit;
    if is_cut && found.entries.is_empty() {
        let why = words::cut_short(&shown(&host, &name));
        notes.push(note(host.clone(), name.clone(), why));
    }
    let first = lines.len();
    for mut reply in found.entries {
        // Whose it is, is known from who answered.
        reply.host.clone_from(&host);
        if reply.host_name.is_empty() {
            reply.host_name.clone_from(&name);
        }
        if reply.unreadable.is_empty() {
            lines.push(Line { at_unix_ms: time_of(&reply.entry), ends_cut: false, reply });
        } else {
            notes.push(reply);
        }
    }
    if is_cut && lines.len() > first {
        let last = lines.len() - 1;
        lines[last].ends_cut = true;
    }
}

/// One without a time is shown all the same: before all others.
fn time_of(entry: &str) -> u64 {
    serde_json::from_str::<At>(entry).map_or(0, |at| at.at_unix_ms)
}

fn shown(host: &str, name: &str) -> String {
    rr_core::id::HostId::parse(host).map_or_else(|_| host.to_owned(), |host| words::host(&host, name))
}

fn note(host: String, host_name: String, unreadable: String) -> v1::LogReply {
    v1::LogReply { host, host_name, unreadable, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use rr_core::id::HostId;

    use super::super::asked::MissingHost;
    use super::*;

    fn of(n: u8) -> HostId {
        HostId::from_random([n; 16])
    }

    fn said(n: u8, times: &[u64], more: bool) -> HostAnswer {
        let entry = |(sequence, at): (u64, &u64)| v1::LogReply {
            sequence,
            entry: format!(r#"{{"at_unix_ms":{at}}}"#),
            ..Default::default()
        };
        let entries = (1..).zip(times).map(entry).collect();
        let what = Said::Log(v1::LogAnswer { entries, more });
        HostAnswer { host: of(n), name: format!("box-{n}"), what }
    }

    fn shown(lines: &[v1::LogReply]) -> Vec<(String, u64, u64)> {
        let entries = lines.iter().filter(|line| line.unreadable.is_empty());
        entries.map(|line| (line.host_name.clone(), line.sequence, time_of(&line.entry))).collect()
    }

    fn notes(lines: &[v1::LogReply]) -> Vec<(&str, &str)> {
        let notes = lines.iter().filter(|line| !line.unreadable.is_empty());
        notes.map(|line| (line.host_name.as_str(), line.unreadable.as_str())).collect()
    }

    #[test]
    fn entries_are_in_order_of_time_then_host_then_sequence() {
        let answers =
            || Answers { said: vec![said(2, &[10, 20, 20], false), said(1, &[5, 20], false)], missing: vec![] };
        let expected = [("box-1", 1, 5), ("box-2", 1, 10), ("box-1", 2, 20), ("box-2", 2, 20), ("box-2", 3, 20)];
        let mut expected = expected.map(|(host, n, at)| (host.to_owned(), n, at)).to_vec();
        assert_eq!(shown(&merge(answers(), 0, false)), expected);
        expected.reverse();
        assert_eq!(shown(&merge(answers(), 0, true)), expected);
        assert_eq!(shown(&merge(answers(), 2, true)), expected[..2]);
    }

    #[test]
    fn a_host_of_which_something_is_missing_is_named() {
        let missing = MissingHost { host: of(3), name: "box-3".into(), why: "no sidecar".into() };
        let refused = HostAnswer { host: of(4), name: "box-4".into(), what: Said::Refused("damaged".into()) };
        let lines = merge(Answers { said: vec![said(1, &[5], true), refused], missing: vec![missing] }, 0, false);
        let found = notes(&lines);
        assert_eq!((found[0], found[2]), (("box-4", "damaged"), ("box-3", "no sidecar")));
        assert!(found[1].1.contains("host box-1 (01010101) has more than fits into one answer"), "{found:?}");
        assert_eq!(lines.last().map(|line| line.host.clone()), Some(of(3).to_string()), "after all entries");
    }

    #[test]
    fn who_was_cut_by_what_was_asked_for_is_complete() {
        // As many as were asked for: the rest lies behind all that is shown.
        let lines =
            merge(Answers { said: vec![said(1, &[5, 6], true), said(2, &[7], false)], missing: vec![] }, 2, false);
        assert_eq!((shown(&lines).len(), notes(&lines).len()), (2, 0));
        // Fewer than were asked for, and the last of them is beyond the cut.
        let lines =
            merge(Answers { said: vec![said(1, &[9], true), said(2, &[7, 8], false)], missing: vec![] }, 2, false);
        assert_eq!((shown(&lines).len(), notes(&lines).len()), (2, 0));
        // Fewer, and it is shown: what would come next is missing.
        let lines = merge(Answers { said: vec![said(1, &[6], true), said(2, &[7], false)], missing: vec![] }, 2, false);
        assert_eq!((shown(&lines).len(), notes(&lines).len()), (2, 1));
    }
}
