//! `rrctl approvals`: what waits for a person's word, on all hosts, once or as it changes.

use rr_proto::v1;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::Failure;
use crate::follow::{More, follow};
use crate::hand::Hand;
use crate::out;
use crate::table::{age, plain, table};
use crate::view::short;

/// How a request stands that nobody has decided on.
pub(super) const WAITING: &str = "waiting";

/// List the calls of agents that wait for a person's approval, on all hosts
///
/// `rrctl approve ID` lets such a call pass once, `rrctl reject ID --reason TEXT` tells its agent no. A request that nobody answers
/// in time is a no as well.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show them again after each change, until interrupted; with --json one line a change
    #[arg(long)]
    watch: bool,
    /// Also show what each call would change, as far as known
    #[arg(long)]
    diff: bool,
    /// Also those that are decided and not used yet, and those whose time is over
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    if args.watch {
        let pictures = door.watch_approvals().await?;
        return follow(pictures, hand, |reply| show(reply, args, hand).map(|()| More::ToCome)).await;
    }
    show(&door.approvals().await?, args, hand)
}

fn show(reply: &v1::ApprovalsReply, args: &Args, hand: &Hand) -> Result<(), Failure> {
    let now = reply.now_unix_ms;
    let rows: Vec<&v1::Approval> = reply.approvals.iter().filter(|a| args.all || a.state == WAITING).collect();
    let as_json = || json!({ "approvals": rows.iter().map(|a| view(a, now)).collect::<Vec<_>>(), "now_unix_ms": now });
    hand.answer(&as_json(), || as_text(&rows, args, now, out::columns()))
}

/// One request as JSON has it.
pub(super) fn view(asked: &v1::Approval, now_unix_ms: u64) -> Value {
    let or_null = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "id": asked.id,
        "revision": asked.revision,
        "state": asked.state,
        "who": or_null(&asked.who),
        "reason": or_null(&asked.reason),
        "session": asked.session,
        "agent": asked.agent,
        "host": asked.host_name,
        "repo": or_null(&asked.repo),
        "folder": asked.folder,
        "tool": asked.tool,
        "command": asked.command,
        "diff": or_null(&asked.diff),
        "rule": asked.rule,
        "because": asked.because,
        "asked_unix_ms": asked.asked_unix_ms,
        "expires_unix_ms": asked.expires_unix_ms,
        "age_ms": now_unix_ms.saturating_sub(asked.asked_unix_ms),
        "expires_in_ms": asked.expires_unix_ms.saturating_sub(now_unix_ms),
    })
}

fn as_text(rows: &[&v1::Approval], args: &Args, now: u64, columns: Option<u16>) -> String {
    if rows.is_empty() {
        return "Nothing waits for approval.\n".to_owned();
    }
    let mut headings = vec!["ID", "AGE", "EXPIRES", "HOST", "SESSION", "AGENT", "FOLDER", "COMMAND", "RULE"];
    let changes = rows.iter().any(|a| !a.diff.is_empty());
    headings.extend(changes.then_some("CHANGES"));
    headings.extend(args.all.then_some("STATE"));
    let row = |a: &&v1::Approval| {
        let expires = match a.state.as_str() {
            WAITING => age(a.expires_unix_ms.saturating_sub(now)),
            _ => "-".to_owned(),
        };
        let (session, rule) = (short(&a.session).to_owned(), one_line(&a.rule));
        let mut row = vec![short(&a.id).to_owned(), age(now.saturating_sub(a.asked_unix_ms)), expires];
        row.extend([a.host_name.clone(), session, a.agent.clone(), one_line(&a.folder), one_line(&a.command), rule]);
        row.extend(changes.then(|| line_counts(&a.diff)));
        row.extend(args.all.then(|| state(a)));
        row
    };
    let mut text = table(&headings, rows.iter().map(row), columns);
    if args.diff {
        rows.iter().for_each(|a| text.push_str(&diff(a)));
    }
    text
}

fn state(asked: &v1::Approval) -> String {
    if asked.who.is_empty() { asked.state.clone() } else { format!("{} by {}", asked.state, asked.who) }
}

/// How many lines come and go, as far as they are shown.
fn line_counts(diff: &str) -> String {
    let count = |sign: char, header: &str| {
        diff.lines().filter(|line| line.starts_with(sign) && !line.starts_with(header)).count()
    };
    if diff.is_empty() { "-".to_owned() } else { format!("+{} -{}", count('+', "+++ "), count('-', "--- ")) }
}

fn diff(asked: &v1::Approval) -> String {
    let head = format!("\n{}  {}\n", short(&asked.id), plain(&one_line(&asked.command)));
    match asked.diff.as_str() {
        "" => head + "    What it would change is not known.\n",
        _ => head + &diff_lines(asked, usize::MAX),
    }
}

/// The lines that a call would change, at most so many of them.
pub(super) fn diff_lines(asked: &v1::Approval, lines_max: usize) -> String {
    let line = |line: &str| format!("    {}\n", plain(&line.replace('\t', "    ")));
    let mut text: String = asked.diff.lines().take(lines_max).map(line).collect();
    let more = asked.diff.lines().count().saturating_sub(lines_max);
    if more > 0 {
        text.push_str(&format!("    ({more} more lines: rrctl approvals --all --diff)\n"));
    }
    text
}

/// On one line, and still seen to be several: what is approved must not look like something else.
pub(super) fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cmd) fn asked(id: &str, command: &str) -> v1::Approval {
        v1::Approval {
            id: id.repeat(8),
            revision: 7,
            state: WAITING.into(),
            session: "cccc".repeat(8),
            agent: "claude".into(),
            host_name: "box".into(),
            folder: "/w".into(),
            tool: "Bash".into(),
            command: command.into(),
            rule: "npm publish".into(),
            asked_unix_ms: 40_000,
            expires_unix_ms: 940_000,
            ..Default::default()
        }
    }

    fn args(diff: bool, all: bool) -> Args {
        Args { watch: false, diff, all }
    }

    #[test]
    fn requests_are_a_table_and_a_second_line_of_a_command_is_not_hidden() {
        let two = [asked("aaaa", "npm publish"), asked("bbbb", "npm publish\nrm -r /\u{1b}[2K")];
        let rows: Vec<_> = two.iter().collect();
        let expected = "\
ID        AGE  EXPIRES  HOST  SESSION   AGENT   FOLDER  COMMAND                   RULE
aaaaaaaa  12s  14m      box   cccccccc  claude  /w      npm publish               npm publish
bbbbbbbb  12s  14m      box   cccccccc  claude  /w      npm publish\\nrm -r / [2K  npm publish
";
        assert_eq!(as_text(&rows, &args(false, false), 52_000, None), expected);
        assert_eq!(as_text(&[], &args(false, false), 0, None), "Nothing waits for approval.\n");
    }

    #[test]
    fn what_a_call_would_change_is_shown_on_request_and_what_is_decided_too() {
        let mut one = asked("aaaa", "terraform apply");
        one.diff = "-old\n+\tnew\u{1b}".into();
        let text = as_text(&[&one], &args(true, false), 52_000, None);
        assert!(text.ends_with("\naaaaaaaa  terraform apply\n    -old\n    +    new \n"), "{text}");
        (one.state, one.who, one.diff) = ("approved".into(), "ann".into(), String::new());
        let text = as_text(&[&one], &args(true, true), 52_000, None);
        assert!(text.contains("approved by ann") && text.contains("is not known") && text.contains("  -  "), "{text}");
    }

    #[test]
    fn json_has_null_for_what_is_not_there() {
        let value = view(&asked("aaaa", "npm publish"), 52_000);
        assert_eq!((&value["age_ms"], &value["expires_in_ms"]), (&12_000.into(), &888_000.into()));
        assert!(value["repo"].is_null() && value["diff"].is_null() && value["who"].is_null());
    }
}
