//! `rrctl rollback`: takes one session's own changes out of what stands now. What that comes to is decided on the
//! session's host; here it is asked for and shown. With a conflict nothing was written, and both sides are shown.

use std::ffi::{OsStr, OsString};

use jiff::tz::TimeZone;
use rr_proto::v1;
use rr_runtime::clock::unix_ms;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::journal::{place, when};
use crate::out;
use crate::publish::Pusher;
use crate::table::{plain, table};
use crate::view::short;

/// Lines of each side of a conflict that are shown; --json has all.
const SIDE_LINES_MAX: usize = 30;

/// Take a session's own changes out of the files as they stand now
///
/// Works on whatever host the session worked, whether it has ended or not. Later edits of the others stay. If a
/// change cannot be told apart from theirs, nothing is written, both sides are shown, and the command ends with 4.
/// The rollback is itself on record and can be undone like a session.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The begin of its id (four digits at least), or the agent's own name for it
    #[arg(long, value_name = "S")]
    session: String,
    /// Only its last N calls that changed something
    #[arg(long, value_name = "N", group = "bound", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Only what it changed since then: 10m (ago), 14:30, 2026-05-01T14:30:00Z
    #[arg(long, value_name = "TIME", group = "bound")]
    to: Option<String>,
    /// Only what it changed since the last checkpoint
    #[arg(long, group = "bound")]
    to_checkpoint: bool,
    /// Only this file, or what is below this folder, in the work tree that it is typed in
    #[arg(long, value_name = "P")]
    path: Option<OsString>,
    /// Say what it would come to, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    check(&Pusher::of_environment(), args)?;
    let request = request(args, hand.who(), unix_ms(), &TimeZone::system())?;
    let reply = Door::to_look(&hand.dirs).await?.rollback(request).await?;
    hand.answer(&as_json(&reply, args.dry_run), || as_text(&reply, args.dry_run, out::columns()))?;
    if reply.conflicts.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, "the changes cannot be told apart from the others'").told())
}

/// An agent may look, and take back its own work; what another did is a person's to undo.
fn check(who: &Pusher, args: &Args) -> Result<(), Failure> {
    match who {
        Pusher::Agent { session } if !args.dry_run && args.session != *session => {
            Err(Failure::new(Kind::Refused, "only a person can roll back another session")
                .because(format!("this is a command of agent session {session}"))
                .hint("--dry-run shows what it would come to"))
        }
        Pusher::Agent { .. } | Pusher::Person => Ok(()),
    }
}

fn request(args: &Args, who: String, now_unix_ms: u64, zone: &TimeZone) -> Result<v1::RollbackRequest, Failure> {
    let since = args.to.as_ref().map(|typed| when::parse(typed, now_unix_ms, zone)).transpose()?;
    let (folder, path) = args.path.as_deref().map_or_else(|| Ok(Default::default()), folder_and_path)?;
    Ok(v1::RollbackRequest {
        session: args.session.clone(),
        steps: args.steps.unwrap_or(0),
        since_unix_ms: since.unwrap_or(0),
        to_checkpoint: args.to_checkpoint,
        path,
        folder,
        dry_run: args.dry_run,
        who,
        with: vec![],
    })
}

/// The same path may be in several work trees: the one that it is typed in is meant.
fn folder_and_path(typed: &OsStr) -> Result<(String, String), Failure> {
    let (root, path) = place(typed)?;
    if path.shown().is_empty() {
        return Err(Failure::new(Kind::Usage, "that is the whole work tree").hint("leave --path out"));
    }
    let folder = root.map_or_else(std::env::current_dir, Ok);
    let folder = folder.map_err(|e| Failure::at("find the present folder", &e))?;
    Ok((folder.to_string_lossy().into_owned(), path.shown().to_owned()))
}

fn as_json(reply: &v1::RollbackReply, dry_run: bool) -> Value {
    let file = |f: &v1::UndoneFile| json!({ "root": f.root, "path": f.path, "before": f.before, "after": f.after, "what": f.what });
    let conflict = |c: &v1::UndoConflict| {
        let by = Some(&c.by).filter(|by| !by.is_empty());
        json!({ "root": c.root, "path": c.path, "why": c.why, "now": c.now, "without": c.without, "by": by })
    };
    json!({
        "of": reply.of,
        "dry_run": dry_run,
        "session": Some(&reply.session).filter(|session| !session.is_empty()),
        "calls": reply.calls,
        "already_undone": reply.already_undone,
        "files": reply.files.iter().map(file).collect::<Vec<_>>(),
        "conflicts": reply.conflicts.iter().map(conflict).collect::<Vec<_>>(),
    })
}

fn as_text(reply: &v1::RollbackReply, dry_run: bool, columns: Option<u16>) -> String {
    let mut text = headline(reply, dry_run);
    if !reply.files.is_empty() && reply.conflicts.is_empty() {
        text.push('\n');
        let rows = reply.files.iter().map(|f| vec![f.path.clone(), id(&f.before), id(&f.after), f.what.clone()]);
        text.push_str(&table(&["FILE", "BEFORE", "AFTER", "WHAT"], rows, columns));
    }
    for conflict in &reply.conflicts {
        text.push('\n');
        text.push_str(&side_by_side(conflict, &reply.of));
    }
    if !reply.conflicts.is_empty() {
        let of = short(&reply.of);
        text.push_str(&format!(
            "\nrrctl rollback --session {of} --path FILE takes out one file at a time; these are to be settled by hand.\n"
        ));
    }
    if !reply.session.is_empty() {
        text.push_str(&format!("\nTo undo this: rrctl rollback --session {}\n", plain(&reply.session)));
    }
    text
}

fn headline(reply: &v1::RollbackReply, dry_run: bool) -> String {
    let (of, calls, files) = (short(&reply.of), count(reply.calls as usize, "call"), count(reply.files.len(), "file"));
    let before = match reply.already_undone {
        0 => String::new(),
        n => format!(" {} of it had been undone before.", count(n as usize, "call")),
    };
    let what = if !reply.conflicts.is_empty() {
        let conflicts = count(reply.conflicts.len(), "file");
        format!(
            "Nothing was written: in {conflicts} the changes of session {of} cannot be told apart from what came later."
        )
    } else if reply.files.is_empty() {
        format!("Session {of} has changed nothing that is to be undone.")
    } else if dry_run {
        format!("Would take {calls} of session {of} out of {files}. Nothing was written.")
    } else {
        format!("Took {calls} of session {of} out of {files}.")
    };
    plain(&(what + &before)) + "\n"
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn side_by_side(conflict: &v1::UndoConflict, of: &str) -> String {
    let by = match conflict.by.as_str() {
        "" => String::new(),
        by => format!(" (session {})", short(by)),
    };
    let mut text = plain(&format!("{}: {}{by}", conflict.path, conflict.why)) + "\n";
    if conflict.now.is_empty() && conflict.without.is_empty() {
        return text;
    }
    let sides = [("as it stands:", &conflict.now), ("without session", &conflict.without)];
    for (n, (title, side)) in sides.into_iter().enumerate() {
        let title = if n == 0 { title.to_owned() } else { format!("{title} {}:", short(of)) };
        text.push_str(&plain(&format!("  {title}")));
        text.push('\n');
        text.push_str(&lines(side));
    }
    text
}

fn lines(side: &str) -> String {
    let mut text = String::new();
    for line in side.lines().take(SIDE_LINES_MAX) {
        text.push_str(&format!("    | {}\n", plain(line)));
    }
    match side.lines().count() {
        0 => text.push_str("    (nothing, or no text)\n"),
        n if n > SIDE_LINES_MAX => text.push_str(&format!("    ({} more lines)\n", n - SIDE_LINES_MAX)),
        _ => {}
    }
    text
}

/// A file's mode stands before its id, which is what tells one content from another.
fn id(content: &str) -> String {
    short(content.split_once(':').map_or(content, |(_, id)| id)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn reply() -> v1::RollbackReply {
        let file = |path: &str, after: &str, what: &str| v1::UndoneFile {
            root: "/work".into(),
            path: path.into(),
            before: "644:1a2b3c4d5e6f".into(),
            after: after.into(),
            what: what.into(),
        };
        v1::RollbackReply {
            files: vec![file("src/a.rs", "9f8e7d6c5b4a", "restored"), file("new.rs", "absent", "removed")],
            session: "63".repeat(16),
            of: "5e".repeat(16),
            calls: 3,
            already_undone: 1,
            ..Default::default()
        }
    }

    fn in_conflict() -> v1::RollbackReply {
        let conflict = v1::UndoConflict {
            path: "src/a.rs".into(),
            why: "both changed line 7".into(),
            now: "let a = 2;\u{1b}[2J\n".into(),
            without: "x\n".repeat(SIDE_LINES_MAX + 2),
            by: "01".repeat(16),
            ..Default::default()
        };
        v1::RollbackReply { conflicts: vec![conflict], session: String::new(), already_undone: 0, ..reply() }
    }

    #[test]
    fn what_was_undone_is_a_table_with_the_way_back() {
        let expected = "\
Took 3 calls of session 5e5e5e5e out of 2 files. 1 call of it had been undone before.

FILE      BEFORE    AFTER     WHAT
src/a.rs  1a2b3c4d  9f8e7d6c  restored
new.rs    1a2b3c4d  absent    removed

To undo this: rrctl rollback --session 63636363636363636363636363636363
";
        assert_eq!(as_text(&reply(), false, None), expected);
        let planned = v1::RollbackReply { session: String::new(), calls: 1, already_undone: 0, ..reply() };
        let text = as_text(&planned, true, None);
        assert!(
            text.starts_with("Would take 1 call of session 5e5e5e5e out of 2 files. Nothing was written.\n"),
            "{text}"
        );
        assert!(!text.contains("To undo this"), "{text}");
        let nothing = v1::RollbackReply { of: "5e".repeat(16), ..Default::default() };
        assert_eq!(as_text(&nothing, false, None), "Session 5e5e5e5e has changed nothing that is to be undone.\n");
    }

    #[test]
    fn a_conflict_shows_both_sides_and_that_nothing_was_written() {
        let text = as_text(&in_conflict(), false, None);
        assert!(text.starts_with("Nothing was written: in 1 file the changes of session 5e5e5e5e cannot"), "{text}");
        assert!(
            text.contains("\nsrc/a.rs: both changed line 7 (session 01010101)\n  as it stands:\n    | let a"),
            "{text}"
        );
        assert!(text.contains("  without session 5e5e5e5e:\n    | x\n"), "{text}");
        assert!(text.contains("    (2 more lines)\n") && !text.contains('\u{1b}'), "{text}");
        assert!(!text.contains("FILE  "), "files that were not written are no result: {text}");
        let json = as_json(&in_conflict(), false);
        assert_eq!((&json["session"], &json["conflicts"][0]["by"]), (&Value::Null, &json!("01".repeat(16))));
        assert_eq!(json["conflicts"][0]["without"], json!("x\n".repeat(SIDE_LINES_MAX + 2)), "programs get all");
    }

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    fn typed(words: &str) -> Result<Typed, clap::Error> {
        use clap::Parser as _;
        Typed::try_parse_from(std::iter::once("rollback").chain(words.split(' ')))
    }

    #[test]
    fn an_agent_undoes_its_own_work_and_nobody_elses() {
        let agent = Pusher::Agent { session: "abcd-1".into() };
        let may = |who: &Pusher, words: &str| check(who, &typed(words).expect("understood").args).is_ok();
        assert!(may(&agent, "--session abcd-1") && may(&agent, "--session 5e5e --dry-run"));
        assert!(!may(&agent, "--session 5e5e") && !may(&agent, "--session abcd"));
        assert!(may(&Pusher::Person, "--session 5e5e"));
    }

    #[test]
    fn what_was_typed_becomes_a_request() {
        let asked = |words: &str| {
            let args = typed(words).expect("understood").args;
            request(&args, "kim".into(), NOW, &TimeZone::UTC).expect("makes sense")
        };
        let whole = v1::RollbackRequest { session: "5e5e".into(), who: "kim".into(), ..Default::default() };
        assert_eq!(asked("--session 5e5e"), whole);
        assert_eq!(asked("--session 5e5e --steps 3"), v1::RollbackRequest { steps: 3, ..whole.clone() });
        let since = v1::RollbackRequest { since_unix_ms: NOW - 600_000, dry_run: true, ..whole.clone() };
        assert_eq!(asked("--session 5e5e --to 10m --dry-run"), since);
        assert_eq!(asked("--session 5e5e --to-checkpoint"), v1::RollbackRequest { to_checkpoint: true, ..whole });
        for wrong in [
            "--steps 3",
            "--session a --steps 0",
            "--session a --steps 1 --to 1m",
            "--session a --to 1m --to-checkpoint",
        ] {
            assert!(typed(wrong).is_err(), "{wrong}");
        }
        let args = typed("--session 5e5e --to tomorrow").expect("words").args;
        assert_eq!(request(&args, String::new(), NOW, &TimeZone::UTC).expect_err("no time").kind, Kind::Usage);
    }
}
