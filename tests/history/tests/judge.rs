//! The judge on made-up histories: a small good one, and for each promise one in which only that is broken. The known bugs of
//! the real code are in rr-fleet's `bugs` and in rr-tests' `bugs`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rr_core::id::{Epoch, SessionId, Token};
use rr_core::limits::Timing;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::{BootTime, Span};
use rr_history::{Call, Deed, History, Lock, Outcome, Pass, Rule, Seen, check};
use rr_store::{Change, KeyValue, WatchEvent};

const P: &str = "p/";

fn sid(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

fn claim(path: &str) -> Claim {
    Claim::exclusive(Scope::Path(RepoPath::parse(path.as_bytes()).unwrap()))
}

fn key(path: &str, n: u8) -> String {
    format!("x/r/{path}/@/{}.0", sid(n))
}

/// A store by hand, and what clients say of it. Everything takes one second.
struct Story {
    events: Vec<Seen>,
    keys: BTreeMap<String, KeyValue>,
    calls: Vec<Call>,
    passes: Vec<Pass>,
    revision: u64,
    now: u64,
}

impl Story {
    /// A running fleet with two sessions.
    fn new() -> Self {
        let (events, keys, calls, passes) = (vec![], BTreeMap::new(), vec![], vec![]);
        let mut story = Self { events, keys, calls, passes, revision: 0, now: 0 };
        let run = r#"{"epoch":1,"who":"x"}"#;
        story.write(&[("meta/gen", Some("g")), ("fleet/epoch", Some("1")), ("fleet/run", Some(run))]);
        for n in [1, 2] {
            let revision =
                story.write(&[(&format!("slot/h/{n}"), Some("{}")), (&format!("sess/{}", sid(n)), Some("{}"))]);
            story.answered(Some(n), Deed::Register, Outcome::Registered { revision });
        }
        story
    }

    fn at(&self) -> BootTime {
        BootTime::default() + Span::from_secs(self.now)
    }

    /// One revision.
    fn write(&mut self, changes: &[(&str, Option<&str>)]) -> u64 {
        self.revision += 1;
        self.now += 1;
        let changes = changes.iter().map(|(key, value)| self.change(&format!("{P}{key}"), *value)).collect();
        self.events.push(Seen { event: WatchEvent { revision: self.revision, changes }, at: self.at() });
        self.revision
    }

    fn change(&mut self, key: &str, value: Option<&str>) -> Change {
        let Some(value) = value else {
            self.keys.remove(key);
            return Change::Delete { key: key.to_owned() };
        };
        let old = self.keys.get(key);
        let kv = KeyValue {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
            create_revision: old.map_or(self.revision, |old| old.create_revision),
            mod_revision: self.revision,
            version: old.map_or(0, |old| old.version) + 1,
            lease: None,
        };
        self.keys.insert(key.to_owned(), kv.clone());
        Change::Put(kv)
    }

    fn answered(&mut self, session: Option<u8>, deed: Deed, outcome: Outcome) {
        let invoked = self.at();
        self.now += 1;
        let call = Call { session: session.map(sid), invoked, answered: Some(self.at()), deed, outcome };
        self.calls.push(call);
    }

    fn holds(&mut self, path: &str, n: u8) -> u64 {
        let record = format!(r#"{{"shown":"{path}","mode":"exclusive"}}"#);
        let mark = key(path, n).replacen("x/", "mark/", 1);
        self.write(&[(&key(path, n), Some(&record)), (&mark, Some("{}"))])
    }

    fn told(&mut self, path: &str, n: u8, token: u64) {
        let lock = Lock { key: format!("{P}{}", key(path, n)), token: Token(token), claim: claim(path) };
        let outcome = Outcome::Granted { revision: token, locks: vec![lock], unclean: vec![] };
        self.answered(Some(n), Deed::Acquire(vec![claim(path)]), outcome);
    }

    fn lock(&mut self, path: &str, n: u8) -> u64 {
        let token = self.holds(path, n);
        self.told(path, n, token);
        token
    }

    fn release(&mut self, path: &str, n: u8, token: u64) {
        self.write(&[(&key(path, n), None)]);
        self.released(path, n, token);
    }

    fn released(&mut self, path: &str, n: u8, token: u64) {
        let deed = Deed::Release { key: format!("{P}{}", key(path, n)), token: Token(token) };
        self.answered(Some(n), deed, Outcome::Released);
    }

    fn passes(&mut self, n: u8, path: &str, token: u64) {
        let locks = vec![(format!("{P}{}", key(path, n)), Token(token))];
        self.passes.push(Pass { session: sid(n), at: self.at(), epoch: Epoch(1), locks });
    }

    fn beat(&mut self, n: u8) {
        self.answered(Some(n), Deed::KeepAlive, Outcome::Alive);
    }

    /// Pauses the fleet; `told` says whether anybody was told so.
    fn pause(&mut self, told: bool) {
        self.write(&[("fleet/run", None), ("fleet/epoch", Some("2")), ("fleet/hold/h", Some("{}"))]);
        let outcome = Outcome::Paused { epoch: Epoch(2), hold: "h".to_owned() };
        self.answered(None, Deed::Pause, if told { outcome } else { Outcome::Unknown });
    }

    fn broken(self) -> Vec<Rule> {
        let timing = Timing::default();
        let (prefix, grace, until) = (P.to_owned(), timing.cool, self.at());
        let (events, calls, passes, watches) = (self.events, self.calls, self.passes, vec![]);
        let last = self.keys.into_values().collect();
        let history = History { prefix, timing, grace, events, last, until, calls, passes, watches };
        let found = check(&history).err().unwrap_or_default();
        let mut rules: Vec<Rule> = found.iter().map(|violation| violation.rule).collect();
        rules.dedup();
        rules
    }
}

#[track_caller]
fn breaks(rule: Rule, tell: impl FnOnce(&mut Story)) {
    let mut story = Story::new();
    tell(&mut story);
    assert_eq!(story.broken(), [rule]);
}

#[test]
fn a_history_in_which_all_is_well_breaks_nothing() {
    let mut story = Story::new();
    let first = story.lock("a/b", 1);
    story.lock("c", 2);
    story.passes(1, "a/b", first);
    story.release("a/b", 1, first);
    let next = story.lock("a", 2);
    story.passes(2, "a", next);
    story.pause(true);
    story.passes(2, "a", next);
    assert_eq!(story.broken(), []);
}

#[test]
fn two_holders_that_exclude_each_other_are_found() {
    breaks(Rule::Exclusive, |story| {
        story.lock("a/b", 1);
        story.lock("a", 2);
    });
}

#[test]
fn a_lock_that_outlives_its_session_or_never_had_one_is_found() {
    breaks(Rule::GoesWithSession, |story| {
        story.lock("a", 1);
        story.write(&[(&format!("sess/{}", sid(1)), None)]);
        story.write(&[(&key("a", 1), None)]);
        story.released("a", 1, 4);
    });
    breaks(Rule::GoesWithSession, |story| {
        story.lock("a", 3);
    });
}

#[test]
fn a_slot_taken_twice_is_found() {
    breaks(Rule::Slot, |story| {
        story.write(&[("slot/h/1", Some("{}"))]);
    });
}

#[test]
fn a_value_that_cannot_be_read_is_found() {
    breaks(Rule::Readable, |story| {
        story.write(&[(&key("a", 1), Some("?"))]);
    });
}

#[test]
fn an_acknowledged_lock_release_registration_or_pause_that_is_not_there_is_found() {
    breaks(Rule::Acknowledged, |story| {
        story.told("a", 1, 3);
    });
    breaks(Rule::Acknowledged, |story| {
        let token = story.lock("a", 1);
        story.released("a", 1, token);
    });
    breaks(Rule::Acknowledged, |story| {
        story.answered(Some(3), Deed::Register, Outcome::Registered { revision: 3 });
    });
    breaks(Rule::Acknowledged, |story| {
        let outcome = Outcome::Paused { epoch: Epoch(2), hold: "h".to_owned() };
        story.answered(None, Deed::Pause, outcome);
    });
    breaks(Rule::Acknowledged, |story| {
        story.answered(None, Deed::Resume { epoch: Epoch(4) }, Outcome::Resumed { epoch: Epoch(5) });
    });
    breaks(Rule::Acknowledged, |story| {
        let outcome = Outcome::Read { revision: 3, running: false, epoch: Epoch(1) };
        story.answered(None, Deed::ReadPermit, outcome);
    });
}

#[test]
fn a_grant_that_was_denied_or_that_nobody_heard_of_is_found() {
    breaks(Rule::NotDone, |story| {
        let token = story.holds("a", 1);
        story.answered(Some(1), Deed::Acquire(vec![claim("a")]), Outcome::No);
        story.release("a", 1, token);
    });
    breaks(Rule::NotDone, |story| {
        story.holds("a", 1);
        story.answered(Some(1), Deed::Acquire(vec![claim("a")]), Outcome::Unknown);
    });
}

#[test]
fn an_unclear_request_that_was_withdrawn_is_fine() {
    let mut story = Story::new();
    story.holds("a", 1);
    story.answered(Some(1), Deed::Acquire(vec![claim("a")]), Outcome::Unknown);
    story.write(&[(&key("a", 1), None)]);
    assert_eq!(story.broken(), []);
}

#[test]
fn a_token_told_twice_is_found() {
    breaks(Rule::Token, |story| {
        let token = story.lock("a", 1);
        story.told("a", 1, token);
    });
}

#[test]
fn a_reply_that_shows_an_older_store_is_found() {
    breaks(Rule::NeverOlder, |story| {
        let old = story.holds("c", 2);
        story.lock("a", 1);
        story.now += 1;
        story.told("c", 2, old);
    });
}

#[test]
fn a_call_after_the_cut_off_is_found_and_one_before_it_is_not() {
    let with_silence = |secs: u64| {
        let mut story = Story::new();
        let token = story.lock("a", 1);
        story.beat(1);
        story.now += secs;
        story.passes(1, "a", token);
        story.broken()
    };
    // The keep-alive was sent one second before its answer.
    assert_eq!(with_silence(48), []);
    assert_eq!(with_silence(49), [Rule::CutOff]);
}

#[test]
fn a_call_long_after_a_pause_is_found_whoever_it_was_told() {
    let after = |secs: u64, told: bool| {
        let mut story = Story::new();
        let token = story.lock("a", 1);
        story.pause(told);
        story.now += secs;
        story.passes(1, "a", token);
        story.broken()
    };
    assert_eq!(after(15, true), []);
    assert_eq!(after(16, true), [Rule::PauseReaches]);
    assert_eq!(after(16, false), [], "nobody was promised anything");
}

#[test]
fn a_call_on_a_lock_that_went_with_the_lease_and_is_another_s_is_found() {
    breaks(Rule::PassesWithLock, |story| {
        let token = story.lock("a", 1);
        story.write(&[(&format!("sess/{}", sid(1)), None), (&key("a", 1), None)]);
        story.passes(1, "a", token);
        story.lock("a", 2);
        story.passes(1, "a", token);
    });
}

#[test]
fn a_session_that_stays_after_its_lease_is_found() {
    breaks(Rule::NothingLeft, |story| {
        story.now += 68;
        story.beat(2);
    });
}

#[test]
fn a_read_that_differs_from_what_was_replayed_is_found() {
    let mut story = Story::new();
    story.lock("a", 1);
    story.keys.remove(&format!("{P}{}", key("a", 1)));
    assert_eq!(story.broken(), [Rule::WatchTellsAll]);
}

/// Fifty locks held at any time, each change with its call and its pass.
#[test]
fn a_hundred_thousand_changes_are_judged_in_seconds() {
    let mut story = Story::new();
    let mut held = std::collections::VecDeque::new();
    for n in 0u64..50_000 {
        let (path, session) = (format!("f/{}", n % 997), u8::try_from(n % 2).unwrap() + 1);
        // Time stands still, so that nobody's lease is over.
        let now = story.now;
        held.push_back((path.clone(), session, story.lock(&path, session)));
        story.passes(session, &path, story.revision);
        if held.len() > 50 {
            let (path, session, token) = held.pop_front().unwrap();
            story.release(&path, session, token);
        }
        story.now = now;
    }
    assert!(story.revision > 99_000);
    let began = Instant::now();
    assert_eq!(story.broken(), []);
    let took = began.elapsed();
    println!("{took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
