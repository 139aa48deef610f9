//! Every answer against what happened: what was acknowledged is there, what was denied is not, and what was answered unclearly
//! is looked up. No reply shows an older store than one that was answered before it was asked.

use std::collections::{HashMap, HashSet};

use rr_core::id::{Epoch, SessionId, Token};
use rr_core::time::BootTime;
use rr_store::Revision;

use crate::check::{Rule, Violation};
use crate::facts::{End, Facts, Life};
use crate::record::{Call, Deed, History, Lock, Outcome};
use crate::scope::related;

struct Account<'a> {
    history: &'a History,
    facts: &'a Facts,
    found: &'a mut Vec<Violation>,
    told: HashSet<(&'a str, Revision)>,
}

pub(crate) fn check(history: &History, facts: &Facts, found: &mut Vec<Violation>) {
    let mut account = Account { history, facts, found, told: HashSet::new() };
    let floors = account.floors();
    for (call, floor) in history.calls.iter().zip(floors) {
        account.answer(call, floor);
    }
    account.every_end_has_a_cause();
    account.nobody_holds_unawares();
    account.every_permit_has_a_resume();
}

/// A lock by the names that calls have for it.
type Name<'a> = (&'a str, Revision);

impl<'a> Account<'a> {
    fn broken(&mut self, rule: Rule, revision: Revision, why: String) {
        self.found.push(Violation { rule, revision, why });
    }

    /// For each call: the newest revision that somebody had been told of before it was made.
    fn floors(&self) -> Vec<Revision> {
        let calls = &self.history.calls;
        let mut answers: Vec<(BootTime, Revision)> =
            calls.iter().filter_map(|call| Some((call.answered?, self.revision_of(call)?))).collect();
        answers.sort_unstable();
        let mut order: Vec<usize> = (0..calls.len()).collect();
        order.sort_by_key(|at| calls[*at].invoked);
        let (mut floors, mut floor, mut heard) = (vec![0; calls.len()], 0, answers.into_iter().peekable());
        for at in order {
            while let Some((_, revision)) = heard.next_if(|(answered, _)| *answered < calls[at].invoked) {
                floor = floor.max(revision);
            }
            floors[at] = floor;
        }
        floors
    }

    /// The revision that an answer is about.
    fn revision_of(&self, call: &Call) -> Option<Revision> {
        match (&call.outcome, &call.deed) {
            (
                Outcome::Registered { revision } | Outcome::Granted { revision, .. } | Outcome::Read { revision, .. },
                _,
            ) => Some(*revision),
            (Outcome::Released, Deed::Release { key, token } | Deed::ForceRelease { key, token }) => {
                self.life(key, *token)?.ended.map(|(revision, _)| revision)
            }
            (Outcome::Paused { hold, .. }, _) => self.facts.holds.get(hold).copied(),
            (Outcome::Resumed { epoch }, _) => self.permit_put(*epoch),
            _ => None,
        }
    }

    fn life(&self, key: &str, token: Token) -> Option<&'a Life> {
        self.facts.holders.get(&(key.to_owned(), token.0))
    }

    fn permit_put(&self, epoch: Epoch) -> Option<Revision> {
        let put = |r: &&crate::facts::Running| r.changed && r.running && r.epoch == epoch.0;
        self.facts.permit.iter().find(put).map(|r| r.since)
    }

    fn answer(&mut self, call: &'a Call, floor: Revision) {
        if let Some(revision) = self.revision_of(call)
            && revision < floor
            && !matches!(call.outcome, Outcome::Released)
        {
            self.broken(Rule::NeverOlder, revision, format!("{call:?} came after revision {floor} had been told of"));
        }
        match (&call.deed, &call.outcome) {
            (_, Outcome::Registered { revision }) => self.registered(call, *revision),
            (Deed::Acquire(claims), Outcome::Granted { revision, locks, unclean }) => {
                self.granted(call, *revision, locks);
                for (token, owner) in unclean {
                    self.left_over(call, *revision, claims, *token, owner);
                }
            }
            (Deed::Release { key, token } | Deed::ForceRelease { key, token }, outcome) => {
                self.released(call, key, *token, outcome);
            }
            (_, Outcome::Alive) => self.alive(call, floor),
            (_, Outcome::Ended) => self.ended(call),
            (_, Outcome::Paused { epoch, hold }) => self.paused(*epoch, hold, floor),
            (_, Outcome::PausedBare { epoch }) => self.paused_bare(*epoch, floor),
            (_, Outcome::Resumed { epoch }) => self.resumed(*epoch),
            (_, Outcome::Read { revision, running, epoch }) => self.read(*revision, *running, *epoch),
            _ => {}
        }
    }

    fn session(&self, call: &Call) -> Option<&'a crate::facts::SessionLife> {
        self.facts.sessions.get(call.session.as_ref()?.as_str())
    }

    fn registered(&mut self, call: &Call, revision: Revision) {
        if self.session(call).is_none_or(|life| life.created != revision) {
            self.broken(Rule::Acknowledged, revision, format!("a registration is not in the history: {call:?}"));
        }
    }

    fn granted(&mut self, call: &'a Call, revision: Revision, locks: &'a [Lock]) {
        for lock in locks {
            let life = self.life(&lock.key, lock.token);
            let of_session = |life: &Life| call.session.as_ref().is_some_and(|sid| sid.as_str() == life.session);
            match life {
                _ if lock.token.0 != revision => {
                    self.broken(Rule::Token, revision, format!("{} was told with token {}", lock.key, lock.token));
                }
                Some(life) if of_session(life) && life.claimed.is(&lock.claim) => {}
                _ => self.broken(Rule::Acknowledged, revision, format!("never held as told: {lock:?}")),
            }
            if !self.told.insert((&lock.key, lock.token.0)) {
                self.broken(Rule::Token, revision, format!("{} was told twice with this token", lock.key));
            }
        }
    }

    fn left_over(
        &mut self,
        call: &Call,
        revision: Revision,
        claims: &[rr_core::scope::Claim],
        token: Token,
        owner: &SessionId,
    ) {
        let anchors = self.facts.marks.get(&(owner.to_string(), token.0));
        let wanted: Vec<String> = claims.iter().map(|claim| claim.scope.anchor_key()).collect();
        let in_scope = |anchor: &String| wanted.iter().any(|claim| related(anchor, claim));
        if !anchors.is_some_and(|anchors| anchors.iter().any(in_scope)) {
            let why = format!("told of left-overs at {anchors:?}, outside of {wanted:?}: {:?}", call.session);
            self.broken(Rule::LeftOvers, revision, why);
        }
    }

    fn released(&mut self, call: &Call, key: &str, token: Token, outcome: &Outcome) {
        let ended = self.life(key, token).map(|life| life.ended.is_some());
        match (outcome, ended) {
            (Outcome::Released | Outcome::WasLost, Some(false)) => {
                self.broken(Rule::Acknowledged, token.0, format!("held on after {call:?}"));
            }
            (Outcome::Released, None) => {
                self.broken(Rule::Acknowledged, token.0, format!("never held: {call:?}"));
            }
            _ => {}
        }
    }

    fn alive(&mut self, call: &Call, floor: Revision) {
        if let Some((revision, _)) = self.session(call).and_then(|life| life.ended)
            && revision <= floor
        {
            self.broken(Rule::Acknowledged, revision, format!("kept alive after its end: {call:?}"));
        }
    }

    fn ended(&mut self, call: &Call) {
        if self.session(call).is_some_and(|life| life.ended.is_none()) {
            self.broken(Rule::Acknowledged, 0, format!("lives on after {call:?}"));
        }
    }

    fn paused(&mut self, epoch: Epoch, hold: &str, floor: Revision) {
        let Some(revision) = self.facts.holds.get(hold).copied() else {
            return self.broken(Rule::Acknowledged, floor, format!("pause {epoch} with hold {hold} is not there"));
        };
        let now = self.facts.permit_at(revision);
        if now.is_none_or(|now| now.running || now.epoch != epoch.0) {
            self.broken(Rule::Acknowledged, revision, format!("pause {epoch} with hold {hold} left {now:?}"));
        }
    }

    /// No key is its own: the permit must have been absent at some time since it was asked for.
    fn paused_bare(&mut self, epoch: Epoch, floor: Revision) {
        let absent = |r: &crate::facts::Running| !r.running && r.epoch == epoch.0;
        let since =
            self.facts.permit.iter().filter(|r| r.since >= floor).chain(&self.facts.permit_at(floor)).any(absent);
        if !since {
            self.broken(Rule::Acknowledged, floor, format!("a pause of epoch {epoch} is not there"));
        }
    }

    fn resumed(&mut self, epoch: Epoch) {
        if self.permit_put(epoch).is_none() {
            self.broken(Rule::Acknowledged, 0, format!("a resume to epoch {epoch} is not in the history"));
        }
    }

    fn read(&mut self, revision: Revision, running: bool, epoch: Epoch) {
        let was = self.facts.permit_at(revision);
        if was.is_none_or(|was| was.running != running || was.epoch != epoch.0) {
            let why = format!("read as running: {running}, epoch {epoch}, and was {was:?}");
            self.broken(Rule::Acknowledged, revision, why);
        }
    }

    /// A lock that somebody knew he had goes by a release or by force, or with its session.
    fn every_end_has_a_cause(&mut self) {
        let causes: HashSet<Name<'_>> = self.history.calls.iter().filter_map(gives_up).collect();
        let mut taken: Vec<(&String, Revision, Revision)> = Vec::new();
        for ((key, token), life) in &self.facts.holders {
            if let Some((revision, End::Alone)) = life.ended
                && self.told.contains(&(key.as_str(), *token))
                && !causes.contains(&(key.as_str(), *token))
            {
                taken.push((key, *token, revision));
            }
        }
        for (key, token, revision) in taken {
            self.broken(Rule::NotTaken, revision, format!("{key} with token {token} went, and nobody gave it up"));
        }
    }

    /// A grant that nobody was told of is the work of a call with an unclear answer, and is withdrawn.
    fn nobody_holds_unawares(&mut self) {
        let mut unclear: HashMap<&str, usize> = HashMap::new();
        for call in &self.history.calls {
            if let (Deed::Acquire(_), Outcome::Unknown, Some(sid)) = (&call.deed, &call.outcome, &call.session) {
                *unclear.entry(sid.as_str()).or_default() += 1;
            }
        }
        let untold = self.facts.holders.iter().filter(|((key, token), _)| !self.told.contains(&(key.as_str(), *token)));
        let mut broken = Vec::new();
        for ((key, token), life) in untold {
            if life.ended.is_none() {
                broken.push((*token, format!("{key} is held and nobody was told")));
            } else if !unclear.contains_key(life.session.as_str()) {
                broken.push((
                    *token,
                    format!("{key} was granted, and every request of its session was answered otherwise"),
                ));
            }
        }
        broken.into_iter().for_each(|(token, why)| self.broken(Rule::NotDone, token, why));
    }

    fn every_permit_has_a_resume(&mut self) {
        let may = |call: &'a Call| match (&call.deed, &call.outcome) {
            (Deed::Resume { epoch }, Outcome::Resumed { .. } | Outcome::Unknown) => Some(epoch.0 + 1),
            _ => None,
        };
        let named: HashSet<u64> = self.history.calls.iter().filter_map(may).collect();
        let put = self.facts.permit.iter().filter(|r| r.changed && r.running).skip(1);
        let wild: Vec<_> = put.filter(|r| !named.contains(&r.epoch)).map(|r| (r.since, r.epoch)).collect();
        for (revision, epoch) in wild {
            let why = format!("running again with epoch {epoch}, and no resume named {}", epoch.saturating_sub(1));
            self.broken(Rule::ResumeNamesItsPause, revision, why);
        }
        let pauses = self.history.calls.iter().any(|call| matches!(call.deed, Deed::Pause));
        let stopped = self.facts.permit.iter().find(|r| r.changed && !r.running && !r.restore);
        if let Some(stopped) = stopped.filter(|_| !pauses) {
            self.broken(Rule::NotDone, stopped.since, "paused, and nobody asked for it".to_owned());
        }
    }
}

fn gives_up(call: &Call) -> Option<Name<'_>> {
    match (&call.deed, &call.outcome) {
        (Deed::Release { key, token } | Deed::ForceRelease { key, token }, Outcome::Released | Outcome::Unknown) => {
            Some((key, token.0))
        }
        _ => None,
    }
}
