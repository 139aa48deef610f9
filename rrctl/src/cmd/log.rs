//! `rrctl log`: what happened, out of the journal's own files.

use std::ffi::OsString;

use std::thread;
use std::time::Duration;

use jiff::tz::TimeZone;
use rr_journal::{Entry, Filter, Kind as EntryKind, Order, Reader};
use rr_runtime::clock::unix_ms;
use serde_json::json;

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::journal::rows::Rows;
use crate::journal::{self, Missing, when};
use crate::out;

/// What fits a few screens; more is asked for.
const LIMIT_DEFAULT: u32 = 200;
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Show what happened on this machine: each call with its verdict, what it changed, locks, pauses and rollbacks
///
/// Reads the journal's files, so it works with no daemon; with --all-hosts the sidecars of all hosts are asked. The newest
/// entries are shown, oldest first. On a terminal a row is cut to its width; --wide, --json and a pipe have all of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of this session (the begin of its id, or the name that an agent of this machine has for it)
    #[arg(long, value_name = "S")]
    session: Option<String>,
    /// Only what names this path, or something below it
    #[arg(long, value_name = "P")]
    path: Option<OsString>,
    /// Only from then on: 10m (ago), 14:30, 2026-05-01, 2026-05-01T14:30:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only of this kind, such as verdict or done; can be given more than once
    #[arg(long = "kind", value_name = "K", value_parser = kind)]
    kinds: Vec<EntryKind>,
    /// Go on as more happens, until interrupted; with --json one line an entry
    #[arg(long)]
    follow: bool,
    /// Of all hosts of the fleet, by time; a host that does not answer is named
    #[arg(long, conflicts_with = "follow")]
    all_hosts: bool,
    /// How many, the newest
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Cut nothing, even on a terminal
    #[arg(long)]
    wide: bool,
}

fn kind(word: &str) -> Result<EntryKind, String> {
    EntryKind::parse(word).ok_or_else(|| {
        let all: Vec<&str> = EntryKind::ALL.iter().map(|kind| kind.word()).collect();
        format!("one of {}", all.join(", "))
    })
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let (reader, zone) = (journal::reader(&hand.dirs), TimeZone::system());
    let filter = filter(args, &reader, unix_ms(), &zone)?;
    if args.all_hosts {
        let rows = rows(args.wide, true, zone);
        return hand.wait_for(crate::cmd::log_all::run(&filter, args.limit, rows, hand));
    }
    let page = Page::read(&reader, &filter, args.limit as usize);
    let mut rows = rows(args.wide, false, zone);
    if !args.follow {
        return hand.answer(&page.json(), || page.text(&mut rows));
    }
    let after = page.entries.last().map(|(sequence, _)| *sequence);
    let follow = reader.follow(&Filter { after: after.or(filter.after), ..filter });
    if hand.wants_json() {
        page.entries.iter().try_for_each(|(sequence, entry)| out::json(&rr_journal::json::of(*sequence, entry)))?;
    } else {
        out::text(&page.text(&mut rows))?;
    }
    keep_on(follow, hand, &mut rows)
}

fn rows(wide: bool, hosts: bool, zone: TimeZone) -> Rows {
    let columns = out::columns().filter(|_| !wide).map(usize::from);
    Rows::new(columns, out::has_colours(), hosts, zone)
}

fn keep_on(mut follow: rr_journal::Follow, hand: &Hand, rows: &mut Rows) -> Result<(), Failure> {
    loop {
        for find in follow.poll() {
            match find {
                Ok((sequence, entry)) if hand.wants_json() => out::json(&rr_journal::json::of(sequence, &entry))?,
                Ok((sequence, entry)) => out::text(&rows.row(&rr_journal::json::of(sequence, &entry)))?,
                Err(damage) => eprintln!("damaged: {damage}"),
            }
        }
        thread::sleep(FOLLOW_EVERY);
    }
}

fn filter(args: &Args, reader: &Reader, now_unix_ms: u64, zone: &TimeZone) -> Result<Filter, Failure> {
    let time = |typed: &Option<String>| typed.as_ref().map(|typed| when::parse(typed, now_unix_ms, zone)).transpose();
    let (since_unix_ms, until_unix_ms) = (time(&args.since)?, time(&args.until)?);
    if since_unix_ms.zip(until_unix_ms).is_some_and(|(since, until)| since >= until) {
        return Err(Failure::new(Kind::Usage, "--since is not before --until").hint("such as --since 2h --until 1h"));
    }
    Ok(Filter {
        session: args.session.as_deref().map(|typed| journal::sessions(reader, typed)).transpose()?,
        path: args.path.as_deref().map(|typed| journal::place(typed).map(|(_, path)| path)).transpose()?,
        since_unix_ms,
        until_unix_ms,
        kinds: (!args.kinds.is_empty()).then(|| args.kinds.clone()),
        ..Filter::default()
    })
}

/// The newest entries, oldest first.
struct Page {
    entries: Vec<(u64, Entry)>,
    missing: Missing,
    /// There are older ones.
    more: bool,
    /// What was removed with age would belong here.
    reaches_back: bool,
}

impl Page {
    fn read(reader: &Reader, filter: &Filter, limit: usize) -> Self {
        let filter = Filter { limit: Some(limit.saturating_add(1)), order: Order::NewestFirst, ..filter.clone() };
        let (mut entries, mut damage) = (Vec::new(), Vec::new());
        for find in reader.query(&filter) {
            match find {
                Ok(entry) => entries.push(entry),
                Err(found) => damage.push(found),
            }
        }
        let more = entries.len() > limit;
        entries.truncate(limit);
        entries.reverse();
        let missing = Missing::of(reader, damage);
        let since = filter.since_unix_ms.unwrap_or(0);
        let reaches_back = !more && filter.after.is_none() && missing.begins_unix_ms().is_some_and(|at| since < at);
        Self { entries, missing, more, reaches_back }
    }

    fn json(&self) -> serde_json::Value {
        let entries: Vec<_> =
            self.entries.iter().map(|(sequence, entry)| rr_journal::json::of(*sequence, entry)).collect();
        let (begins, damage) = (self.missing.begins(), self.missing.json());
        json!({ "entries": entries, "more": self.more, "begins": begins, "damage": damage })
    }

    fn text(&self, rows: &mut Rows) -> String {
        let mut text = String::new();
        if let Some(removed) = self.missing.removed(&rows.zone).filter(|_| self.reaches_back) {
            text.push_str(&format!("{removed}\n\n"));
        }
        if self.more {
            text.push_str("There are older entries: --limit, --since and --until show them.\n\n");
        }
        if self.entries.is_empty() {
            text.push_str("Nothing of that is in the journal.\n");
        } else {
            text.push_str(&rows.heading());
            let row = |(sequence, entry): &(u64, Entry)| rows.row(&rr_journal::json::of(*sequence, entry));
            text.extend(self.entries.iter().map(row));
        }
        for damage in &self.missing.damage {
            text.push_str(&format!("\ndamaged: {damage}\n"));
        }
        if !self.missing.damage.is_empty() {
            text.push_str(
                "\nWhat happened there is not among the rows above. rrctl doctor looks at all of the journal.\n",
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{AT, Shelf, edit};

    fn page() -> Page {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("a"), shelf.put("b"));
        let entries = (1..).zip(edit(1, "t1", "src/a.rs", a, b)).collect();
        Page { entries, missing: Missing::default(), more: false, reaches_back: false }
    }

    #[test]
    fn entries_are_a_plain_table() {
        let expected = "\
NUMBER  TIME                 SESSION   KIND             WHAT
1       2023-11-14 22:13:20  01010101  intent           Edit src/a.rs
2       2023-11-14 22:13:20  01010101  verdict          passed
3       2023-11-14 22:13:20  01010101  snapped          kept src/a.rs
4       2023-11-14 22:13:20  01010101  started          may run
5       2023-11-14 22:13:20  01010101  done             changed src/a.rs
";
        let mut rows = Rows::new(None, false, false, TimeZone::UTC);
        assert_eq!(page().text(&mut rows), expected);
        let empty = Page { entries: vec![], more: true, ..page() };
        assert!(empty.text(&mut rows).starts_with("There are older entries"));
    }

    #[test]
    fn what_was_typed_becomes_a_filter_or_is_refused() {
        let args = |since: &str, until: &str, session: &str| Args {
            session: Some(session.into()),
            path: None,
            since: Some(since.into()),
            until: Some(until.into()),
            kinds: vec![],
            follow: false,
            all_hosts: false,
            limit: 5,
            wide: false,
        };
        let empty = tempfile::tempdir().expect("folder");
        let reader = Reader::open(empty.path());
        let filter_of = |args: &Args| filter(args, &reader, AT, &TimeZone::UTC).map_err(|f| f.kind);
        let typed = filter_of(&args("10m", "5m", "0A")).expect("understood");
        assert_eq!((typed.since_unix_ms, typed.until_unix_ms), (Some(AT - 600_000), Some(AT - 300_000)));
        assert_eq!((typed.session.as_deref(), typed.kinds), (Some("0a"), None));
        assert_eq!(filter_of(&args("5m", "10m", "0a")).map(drop), Err(Kind::Usage));
        assert_eq!(filter_of(&args("5m", "1m", "x")).map(drop), Err(Kind::NotFound));
        assert!(kind("verdict").is_ok() && kind("nothing").is_err_and(|why| why.contains("verdict")));
    }
}
