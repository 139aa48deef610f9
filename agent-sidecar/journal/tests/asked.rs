//! Queries against the plainest reader there is: all entries in a list. In the log as it is written and in sealed segments,
//! with any filter, both ways round.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{AT, Recorded, all, call, entry, file, path, session};
use proptest::prelude::*;
use rr_core::content::Content;
use rr_journal::{
    ApprovalStep, Does, Entry, Event, FileChange, Filter, Journal, Kept, Kind, LockStep, Options, Order, Reader, Spot,
    Text, Verdict, decode, encode,
};

const PATHS: [&str; 6] = ["src/a.rs", "src/b.rs", "src", "docs/x.md", "Src/A.rs", "srcs"];

fn any_text() -> impl Strategy<Value = Text> {
    ("[a-zé ]{0,20}", 0..3_u64).prop_map(|(shown, cut)| Text { shown, cut })
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Absent),
        Just(Content::Folder),
        Just(Content::Unkept),
        (0..9_u64).prop_map(|n| Content::Link { blob: common::blob(n) }),
        (0..9_u64).prop_map(file),
    ]
}

fn any_place() -> impl Strategy<Value = (std::path::PathBuf, rr_core::path::RepoPath)> {
    let roots = prop::sample::select(vec!["/repo", "/tree two"]);
    (roots, prop::sample::select(PATHS.to_vec())).prop_map(|(root, at)| (root.into(), path(at)))
}

fn any_changes() -> impl Strategy<Value = Vec<FileChange>> {
    let one = (any_place(), any_content(), any_content(), any::<bool>());
    prop::collection::vec(one, 0..4).prop_map(|changes| {
        let change = |((root, path), before, after, foreseen)| FileChange { root, path, before, after, foreseen };
        changes.into_iter().map(change).collect()
    })
}

fn any_does() -> impl Strategy<Value = Does> {
    let spots = || {
        let spots = prop::collection::vec(any_place(), 0..3);
        spots.prop_map(|places| places.into_iter().map(|(root, path)| Spot { root, path }).collect())
    };
    prop_oneof![
        spots().prop_map(Does::Read),
        spots().prop_map(Does::Write),
        any_text().prop_map(Does::Shell),
        Just(Does::Other)
    ]
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn any_event() -> impl Strategy<Value = Event> {
    let name = || "[a-z]{1,6}";
    prop_oneof![
        (name(), name(), any::<u32>(), any_text()).prop_map(|(agent, agent_session, pid, task)| {
            Event::SessionStarted { agent, agent_session, workspace: "/repo".into(), pid, task }
        }),
        any_text().prop_map(|how| Event::SessionEnded { how }),
        (name(), any_does()).prop_map(|(tool, does)| Event::Intent { tool, does, cwd: "/repo".into() }),
        (one_of(Verdict::ALL), any_text(), prop::option::of(name()))
            .prop_map(|(verdict, reason, rule)| Event::Verdict { verdict, reason, rule }),
        prop::collection::vec((any_place(), any_content()), 0..4).prop_map(|files| {
            let kept = |((root, path), content)| Kept { root, path, content };
            Event::Snapped { files: files.into_iter().map(kept).collect() }
        }),
        Just(Event::Started),
        (any::<bool>(), any_changes()).prop_map(|(ok, changes)| Event::Done { ok, changes }),
        (prop::sample::select(vec!["src/a.rs", "!build", "src/**"]), any::<u64>(), one_of(LockStep::ALL))
            .prop_map(|(scope, token, how)| Event::Lock { scope: scope.into(), token, how }),
        any_text().prop_map(|text| Event::Told { text }),
        (any::<u64>(), name(), any_text()).prop_map(|(epoch, who, reason)| Event::Paused { epoch, who, reason }),
        (any::<u64>(), name()).prop_map(|(epoch, who)| Event::Resumed { epoch, who }),
        (name(), one_of(ApprovalStep::ALL), name(), any_text())
            .prop_map(|(id, outcome, who, reason)| Event::Approval { id, outcome, who, reason }),
        (0..4_u8, prop::collection::vec(any::<u64>(), 0..3), any_changes(), prop::option::of(any::<u64>()))
            .prop_map(|(of, undone, changes, undoes)| Event::RolledBack { of: session(of), undone, changes, undoes }),
        (name(), any_text()).prop_map(|(commit, why)| Event::Checkpoint { root: "/repo".into(), commit, why }),
        any::<u64>().prop_map(|notes| Event::Missed { notes }),
        any::<u64>().prop_map(|before| Event::Forgotten { before }),
    ]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let who = (prop::option::of(0..4_u8), prop::option::of("[a-z]{1,4}"), prop::option::of("[a-z]{1,4}"));
    (0..50_u64, who, any::<u64>(), any_event()).prop_map(|(at, (of, agent_id, call), revision, event)| Entry {
        at_unix_ms: AT + at,
        session: of.map(session),
        agent_id,
        call,
        revision,
        event,
    })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let of = prop::option::of(prop::sample::select(vec!["0", "01", "0202", "03030303", "ff"]));
    let at = prop::option::of(prop::sample::select(PATHS.to_vec()));
    let root = prop::option::of(Just("/repo"));
    let since = prop::option::of(0..60_u64);
    let until = prop::option::of(0..60_u64);
    let kinds = prop::option::of(prop::collection::vec(one_of(Kind::ALL), 0..4));
    let after = prop::option::of(0..120_u64);
    let limit = prop::option::of(0..20_usize);
    let order = prop::sample::select(vec![Order::OldestFirst, Order::NewestFirst]);
    (of, at, root, since, until, kinds, after, limit, order).prop_map(
        |(of, at, root, since, until, kinds, after, limit, order)| Filter {
            session: of.map(Into::into),
            path: at.map(path),
            root: root.map(Into::into),
            since_unix_ms: since.map(|since| AT + since),
            until_unix_ms: until.map(|until| AT + until),
            kinds,
            after,
            limit,
            order,
        },
    )
}

fn ask(dir: &Path, filter: &Filter) -> Vec<(u64, Entry)> {
    Reader::open(dir).query(filter).map(|find| find.expect("whole")).collect()
}

/// The plainest reader.
fn expected(entries: &[(u64, Entry)], filter: &Filter) -> Vec<(u64, Entry)> {
    let mut wanted: Vec<_> =
        entries.iter().filter(|(sequence, entry)| filter.wants(*sequence, entry)).cloned().collect();
    if filter.order == Order::NewestFirst {
        wanted.reverse();
    }
    wanted.truncate(filter.limit.unwrap_or(usize::MAX));
    wanted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_reads_back_as_it_was_and_no_cut_of_it_does(entry in any_entry()) {
        let bytes = encode(&entry);
        prop_assert_eq!(decode(&bytes), Ok(entry));
        for len in 0..bytes.len() {
            prop_assert!(decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_query_answers_as_the_plainest_reader_would(
        entries in prop::collection::vec(any_entry(), 1..120),
        filters in prop::collection::vec(any_filter(), 12),
        segment_bytes in prop::sample::select(vec![1_u64 << 10, 4 << 10, 1 << 20]),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options { segment_bytes, ..Options::default() };
        let (journal, _) = Journal::open(dir.path(), &options, Arc::new(Recorded::default())).expect("opened");
        for some in entries.chunks(5) {
            journal.append_blocking(some.to_vec()).expect("kept");
        }
        // Asked while segments may be on their way into their last form, and after.
        let written: Vec<(u64, Entry)> = (1..).zip(entries).collect();
        let check = || {
            for filter in &filters {
                assert_eq!(ask(dir.path(), filter), expected(&written, filter), "{filter:?}");
            }
        };
        check();
        drop(journal);
        check();
        prop_assert_eq!(all(dir.path()), written);
        prop_assert!(Reader::open(dir.path()).verify().damage.is_empty());
    }
}

#[test]
fn one_entry_is_found_by_its_number() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = common::open(dir.path());
    journal.append_blocking(common::call(1, 1)).expect("kept");
    let reader = journal.reader();
    assert_eq!(reader.get(2), Ok(Some(common::call(1, 1).remove(1))));
    assert_eq!((reader.get(0), reader.get(4)), (Ok(None), Ok(None)));
}

#[test]
fn a_follower_gets_each_entry_once_and_nothing_from_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options { segment_bytes: 2 << 10, ..Options::default() };
    let (journal, _) = Journal::open(dir.path(), &options, Arc::new(Recorded::default())).expect("opened");
    journal.append_blocking(common::call(1, 0)).expect("kept");
    let mut follow = journal.reader().follow(&Filter { session: Some("01".into()), ..Filter::default() });
    assert!(follow.poll().is_empty());
    let mut came = vec![];
    for n in 1..30 {
        journal.append_blocking(common::call(1, n)).expect("kept");
        journal.append_blocking(vec![entry(2, "other", Event::Started)]).expect("kept");
        came.extend(follow.poll().into_iter().map(|find| find.expect("whole").0));
    }
    let expected: Vec<u64> = (0..29).flat_map(|n| [4 * n + 4, 4 * n + 5, 4 * n + 6]).collect();
    assert_eq!(came, expected);
}

#[tokio::test]
async fn after_settling_a_reader_finds_every_note_and_settling_writes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    // A note would wait for company longer than any test runs.
    let options = Options { note_delay: Duration::from_secs(3_600), ..Options::default() };
    let (journal, _) = Journal::open(dir.path(), &options, Arc::new(rr_journal::RealDisk)).expect("opened");
    let entries = call(1, 1);
    entries.iter().for_each(|entry| journal.note(entry.clone()));
    assert!(all(dir.path()).is_empty(), "not yet");
    journal.settled().await.expect("settles");
    let found: Vec<Entry> = all(dir.path()).into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(found, entries);
    let head = journal.head();
    journal.settled().await.expect("settles");
    assert_eq!((journal.head(), all(dir.path()).len()), (head, entries.len()), "nothing was written for it");
}
