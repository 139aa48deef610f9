//! Which bytes have to stand where, so that the changes of one session (or some together) are gone and everybody else's stay. For each path all recorded
//! changes are replayed in order: the others' are made again, one by one, on a state that never had the session's (ADR 17).
//! It knows no disk and no text: a [`Ground`] looks, and weaves lines. A path's own replay is in `replay`; who writes a
//! [`Plan`] down is rr-git's `apply`.

mod replay;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use crate::content::{BlobId, Content};
use crate::id::SessionId;
use replay::{End, Replay};

/// One path of one work tree. Any bytes: two spellings are two places, unlike two locks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The work tree's root, absolute.
    pub root: PathBuf,
    /// Below it.
    pub path: PathBuf,
}

/// One file of one call. A call that moves a file makes two: one where it was, one where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Grows along the journal; the changes of one call may share it.
    pub seq: u64,
    pub session: SessionId,
    pub call: String,
    pub at_unix_ms: u64,
    pub place: Place,
    pub before: Content,
    pub after: Content,
    /// For a change that a rollback made: the `seq` of each change of this place that it took out. Empty for every other.
    pub undoes: Vec<u64>,
}

/// What is to be taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Several are taken out together: edits of one on top of another's are no conflict then.
    pub sessions: BTreeSet<SessionId>,
    pub selection: Selection,
    /// Only these and what is below them.
    pub below: Option<Vec<Place>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    All,
    /// The last calls of the session that changed anything and still count.
    Steps(usize),
    /// What it did at this time or later, in milliseconds since 1970.
    Since(u64),
    /// What it did after this point of the journal: a checkpoint's.
    After(u64),
}

/// What a session's changes come to when they are taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub writes: Vec<Write>,
    /// Paths of the session where nothing has to be written. They are journalled like writes, else they are found again.
    pub settled: Vec<Settled>,
    /// With one of these, nothing may be written.
    pub conflicts: Vec<Conflict>,
    /// Selected changes that a rollback had taken out before.
    pub already_undone: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub place: Place,
    /// What stands there now.
    pub expects: Content,
    pub becomes: Content,
    /// The changes that are gone with it.
    pub undoes: Vec<u64>,
}

impl Write {
    /// Whether anything is to become of it.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.expects != self.becomes
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub place: Place,
    pub stands: Content,
    pub why: Left,
    pub undoes: Vec<u64>,
}

/// Why a path is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing of the session's is left in it.
    NothingLeft,
    /// Somebody has written it wholly anew, or deleted it.
    Overwritten,
}

/// The session's change and somebody else's cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub place: Place,
    pub why: Why,
    /// What stands there now.
    pub ours: Content,
    /// Without the session's changes and without what came after the clash.
    pub theirs: Content,
    /// What the edit that clashes was made on.
    pub base: Content,
    /// Whose edit that is; none for one that no call made.
    pub by: Option<(SessionId, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Both changed the same lines, or lines that look the same.
    SameLines,
    /// Both changed its mode.
    SameMode,
    /// Both changed bytes that are not lines.
    NotText,
    /// The session made the file and somebody has edited it.
    EditedWhatItMade,
    /// The session deleted it and somebody has made another one.
    MadeAnew,
    /// It was a file for one and a link or a folder for the other.
    OtherKind,
    /// Somebody moved it, with the session's changes in it.
    Moved { to: Place },
    /// What would have to be put back was not kept, or cannot be read.
    NotKept,
}

/// What the rules need to see and to have merged.
pub trait Ground {
    /// A text on its way through a path's changes: as it stood, and as it would have without the session.
    type Weave;

    /// What stands at a place now, its bytes kept. [`Content::Unkept`] where that cannot be said.
    fn stands(&mut self, place: &Place) -> Content;
    fn has(&mut self, blob: BlobId) -> bool;
    /// Both sides begin with these bytes.
    ///
    /// # Errors
    /// If they are not there, or are not text.
    fn weave(&mut self, from: BlobId) -> Result<Self::Weave, Woven>;
    /// The text became this, and is not to have.
    ///
    /// # Errors
    /// Why it cannot be followed through that.
    fn take_out(&mut self, weave: &mut Self::Weave, to: BlobId) -> Result<(), Woven>;
    /// The text became this by somebody whose edit stays: the name of the other side with it.
    fn leave_in(&mut self, weave: &mut Self::Weave, to: BlobId) -> Woven;
    /// Whether the second is no edit of the first, but written anew.
    fn overwrites(&mut self, from: BlobId, to: BlobId) -> bool;
    /// Keeps the bytes of the side without the session. False: they could not be kept.
    fn keep(&mut self, weave: &Self::Weave) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woven {
    /// The text without the session's changes.
    Without(BlobId),
    Clash,
    NotText,
    NotKept,
}

/// What has to be written to take a session's changes out of what stands now. `history` is in journal order; changes of others
/// that it lacks are seen as edits that nobody recorded, and stay.
pub fn plan<G: Ground>(history: &[Change], request: &Request, ground: &mut G) -> Plan {
    let before = Effect::of(history, &HashSet::new());
    let selected = select(history, request, &before);
    let (chosen, already): (Vec<usize>, Vec<usize>) = selected.into_iter().partition(|at| before.counts[*at]);
    let mut plan = Plan { already_undone: already.iter().map(|at| history[*at].seq).collect(), ..Plan::default() };
    let mut places: BTreeMap<&Place, Vec<u64>> = BTreeMap::new();
    for at in &chosen {
        places.entry(&history[*at].place).or_default().push(history[*at].seq);
    }
    let effect = Effect::of(history, &chosen.into_iter().collect());
    let chains = chains(history, &places);
    let moves = moves(history);
    for (place, undoes) in places {
        let replay = Replay::new(ground);
        let chain = chains.get(place).map_or(&[][..], Vec::as_slice);
        match run(replay, history, chain, &effect, &moves, place) {
            End::Write { expects, becomes } => {
                plan.writes.push(Write { place: place.clone(), expects, becomes, undoes });
            }
            End::Settled { stands, why } => plan.settled.push(Settled { place: place.clone(), stands, why, undoes }),
            End::Conflict { why, ours, theirs, base, by } => {
                plan.conflicts.push(Conflict { place: place.clone(), why, ours, theirs, base, by });
            }
        }
    }
    plan
}

/// The changes of each of these places, in order.
fn chains<'a>(history: &'a [Change], places: &BTreeMap<&Place, Vec<u64>>) -> HashMap<&'a Place, Vec<usize>> {
    let mut chains: HashMap<&Place, Vec<usize>> = HashMap::new();
    for (at, change) in history.iter().enumerate() {
        if places.contains_key(&change.place) {
            chains.entry(&change.place).or_default().push(at);
        }
    }
    chains
}

fn run<G: Ground>(
    mut replay: Replay<'_, G>,
    history: &[Change],
    chain: &[usize],
    effect: &Effect,
    moves: &Moves<'_>,
    place: &Place,
) -> End {
    for at in chain {
        let change = &history[*at];
        replay.reach(change.before);
        if effect.stays[*at] {
            let moved =
                moves.get(&(&change.session, &change.call, change.before)).filter(|_| change.after == Content::Absent);
            replay.leave_in(change.after, Some(change), moved.copied());
        } else {
            replay.take_out(change.after);
        }
    }
    let now = replay.stands_at(place);
    replay.reach(now);
    replay.end(now)
}

/// Where each call put a file that was not there before: with the same contents gone elsewhere, it was moved.
type Moves<'a> = HashMap<(&'a SessionId, &'a String, Content), &'a Place>;

fn moves(history: &[Change]) -> Moves<'_> {
    let made = history.iter().filter(|c| c.before == Content::Absent && c.after.blob().is_some());
    made.map(|c| ((&c.session, &c.call, c.after), &c.place)).collect()
}

/// The selected changes, by their place in the history.
fn select(history: &[Change], request: &Request, effect: &Effect) -> Vec<usize> {
    let asked = |change: &Change| {
        let is_below = |top: &Place| change.place.root == top.root && change.place.path.starts_with(&top.path);
        let below = request.below.as_ref().is_none_or(|tops| tops.iter().any(is_below));
        let counts = change.before != change.after || !change.undoes.is_empty();
        request.sessions.contains(&change.session) && counts && below
    };
    let all: Vec<usize> = (0..history.len()).filter(|at| asked(&history[*at])).collect();
    match request.selection {
        Selection::All => all,
        Selection::Since(ms) => all.into_iter().filter(|at| history[*at].at_unix_ms >= ms).collect(),
        Selection::After(seq) => all.into_iter().filter(|at| history[*at].seq > seq).collect(),
        Selection::Steps(steps) => {
            let mut calls: Vec<&String> = Vec::new();
            for at in all.iter().rev().filter(|at| effect.counts[**at]) {
                if !calls.contains(&&history[*at].call) {
                    calls.push(&history[*at].call);
                }
            }
            calls.truncate(steps);
            all.into_iter().filter(|at| effect.counts[*at] && calls.contains(&&history[*at].call)).collect()
        }
    }
}

/// Which changes count. A rollback that counts makes what it took out not count; taking a rollback out makes it count again.
struct Effect {
    /// Neither taken out now nor before.
    counts: Vec<bool>,
    /// To be replayed. A rollback is not: what it did follows from what it took out.
    stays: Vec<bool>,
}

impl Effect {
    fn of(history: &[Change], taken_out: &HashSet<usize>) -> Self {
        let known: HashSet<(u64, &Place)> = history.iter().map(|c| (c.seq, &c.place)).collect();
        let mut undone: HashSet<(u64, &Place)> = HashSet::new();
        let (mut counts, mut stays) = (vec![false; history.len()], vec![false; history.len()]);
        for (at, change) in history.iter().enumerate().rev() {
            counts[at] = !taken_out.contains(&at) && !undone.contains(&(change.seq, &change.place));
            // One whose own targets the journal has forgotten is an edit like any other.
            let cancels =
                !change.undoes.is_empty() && change.undoes.iter().all(|seq| known.contains(&(*seq, &change.place)));
            stays[at] = counts[at] && !cancels;
            if counts[at] {
                undone.extend(change.undoes.iter().map(|seq| (*seq, &change.place)));
            }
        }
        Self { counts, stays }
    }
}
