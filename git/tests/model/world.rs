//! Files, sessions and a journal in memory: plays a random history, has rollbacks planned by the product, and compares what they
//! come to with the model's own answer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use rr_core::content::{BlobId, Content};
use rr_core::id::SessionId;
use rr_core::rollback::{Change, Left, Place, Plan, Request, Selection, plan};
use rr_git::{Contents, Ground, VaultError, name_of};

use super::doc::{Doc, Kind};

const SESSIONS: usize = 5;
/// Whoever edits without the journal, and whoever rolls back.
const NOBODY: usize = SESSIONS;
const PERSON: usize = SESSIONS + 1;
const PATHS: [&str; 4] = ["a", "b", "c/d", "e"];
/// Where links and folders come and go: one is below another.
const KINDS_PATHS: [&str; 4] = ["a", "b", "c", "c/d"];
/// The lines of a file that is made where anything may come and go: so many that edits of a few leave some.
const KINDS_LINES: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Anything,
    /// Each session changes lines of its own share of each file only.
    Apart,
    /// Lines are of three kinds.
    Alike,
    /// Links, folders and files take each other's places, and come back.
    Kinds,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) schedules: u64,
    pub(crate) rollbacks: u64,
    pub(crate) clean: u64,
    pub(crate) conflicts: u64,
    overwritten: u64,
    /// Results that the model cannot say: somebody left no line of what was there, or made the same again.
    pub(crate) anew: u64,
    /// Results that differ from the model's.
    pub(crate) otherwise: u64,
    redone: u64,
    writes: u64,
    changes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.schedules += 1;
        self.rollbacks += other.rollbacks;
        self.clean += other.clean;
        self.conflicts += other.conflicts;
        self.overwritten += other.overwritten;
        self.anew += other.anew;
        self.otherwise += other.otherwise;
        self.redone += other.redone;
        self.writes += other.writes;
        self.changes += other.changes;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.conflicts as f64 / self.rollbacks.max(1) as f64;
        write!(f, "{} histories of {} changes, {} rollbacks", self.schedules, self.changes, self.rollbacks)?;
        write!(
            f,
            ": {} clean with {} files written, {} conflicts ({share:.1} %)",
            self.clean, self.writes, self.conflicts
        )?;
        write!(f, ", {} left as overwritten, {} undone again", self.overwritten, self.redone)?;
        write!(f, ", {} written anew in between, {} not as the model has it", self.anew, self.otherwise)
    }
}

/// Contents by their names, and what stands.
#[derive(Default)]
struct Memory {
    blobs: RefCell<HashMap<BlobId, Vec<u8>>>,
    stands: RefCell<BTreeMap<PathBuf, Content>>,
}

impl Contents for Memory {
    fn stands(&self, place: &Place) -> Result<Content, VaultError> {
        Ok(self.stands.borrow().get(&place.path).copied().unwrap_or(Content::Absent))
    }

    fn has(&self, blob: BlobId) -> bool {
        self.blobs.borrow().contains_key(&blob)
    }

    fn bytes(&self, blob: BlobId) -> Result<Vec<u8>, VaultError> {
        self.blobs.borrow().get(&blob).cloned().ok_or(VaultError::Missing { blob })
    }

    fn keep_bytes(&self, bytes: &[u8]) -> Result<BlobId, VaultError> {
        self.blobs.borrow_mut().entry(name_of(bytes)).or_insert_with(|| bytes.to_vec());
        Ok(name_of(bytes))
    }
}

pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).expect("small")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// One call of somebody.
struct Call {
    who: usize,
    /// What a rollback took out, where it is one.
    undoes: BTreeSet<usize>,
}

pub(crate) struct World {
    random: Random,
    style: Style,
    memory: Memory,
    docs: BTreeMap<&'static str, Vec<Doc>>,
    journal: Vec<Change>,
    calls: Vec<Call>,
    /// The calls that never were.
    out: BTreeSet<usize>,
    tally: Tally,
    words: u64,
}

fn session(who: usize) -> SessionId {
    SessionId::from_random([u8::try_from(who).expect("few"); 16])
}

/// What a session's own share of a file begins with, where each has one.
fn heading(who: usize) -> String {
    format!("== {who}")
}

fn place(path: &str) -> Place {
    Place { root: "/tree".into(), path: path.into() }
}

impl World {
    pub(crate) fn anything(seed: u64) -> Self {
        Self::new(seed, Style::Anything)
    }

    pub(crate) fn apart(seed: u64) -> Self {
        Self::new(seed, Style::Apart)
    }

    pub(crate) fn alike(seed: u64) -> Self {
        Self::new(seed, Style::Alike)
    }

    pub(crate) fn kinds(seed: u64) -> Self {
        Self::new(seed, Style::Kinds)
    }

    fn new(seed: u64, style: Style) -> Self {
        let mut world = Self {
            random: Random(seed),
            style,
            memory: Memory::default(),
            docs: BTreeMap::new(),
            journal: Vec::new(),
            calls: Vec::new(),
            out: BTreeSet::new(),
            tally: Tally::default(),
            words: 0,
        };
        if style == Style::Kinds {
            world.begin_with_kinds();
            return world;
        }
        for path in &PATHS[..3] {
            let lines = if style == Style::Apart { 60 } else { 4 + world.random.below(16) };
            let word =
                |n: usize| if style == Style::Apart && n.is_multiple_of(10) { heading(n / 10) } else { world.word() };
            let texts = (0..lines).map(word).collect();
            let ends_open = style != Style::Apart && world.random.one_in(8);
            world.docs.insert(path, vec![Doc::new(None, texts, ends_open)]);
        }
        world.stand();
        world
    }

    fn begin_with_kinds(&mut self) {
        for (path, kind) in
            [("a", Kind::Text), ("b", Kind::Link("to 0".into())), ("c", Kind::Folder), ("c/d", Kind::Text)]
        {
            let doc = self.made(None, kind);
            self.docs.insert(path, vec![doc]);
        }
        self.stand();
    }

    fn paths(&self) -> [&'static str; 4] {
        if self.style == Style::Kinds { KINDS_PATHS } else { PATHS }
    }

    fn word(&mut self) -> String {
        self.words += 1;
        match self.style {
            Style::Alike => ["x", "y", "z"][self.random.below(3)].to_owned(),
            _ => format!("{:06x}.{}", self.random.next() & 0xff_ffff, self.words),
        }
    }

    fn some_words(&mut self) -> Vec<String> {
        let n = 1 + self.random.below(3);
        (0..n).map(|_| self.word()).collect()
    }

    pub(crate) fn play(mut self) -> Tally {
        for _ in 0..10 + self.random.below(20) {
            if self.calls.len() > 3 && self.random.one_in(5) {
                if !self.roll_back() {
                    return self.told();
                }
            } else {
                self.call();
            }
        }
        self.roll_back();
        self.told()
    }

    fn told(mut self) -> Tally {
        self.tally.changes = self.calls.len() as u64;
        self.tally
    }

    // --- what stands ---

    fn live(&self, path: &str, out: &BTreeSet<usize>) -> Vec<&Doc> {
        self.docs.get(path).into_iter().flatten().filter(|doc| doc.lives(out)).collect()
    }

    fn live_now(&mut self, path: &str) -> Option<&mut Doc> {
        let out = &self.out;
        self.docs.get_mut(path)?.iter_mut().find(|doc| doc.lives(out))
    }

    /// What the model says a path is without some calls. None: it cannot be said.
    fn model(&self, path: &str, out: &BTreeSet<usize>) -> Option<Content> {
        let lives = self.live(path, out);
        let orphaned = |doc: &Doc| {
            let is_made_by_one = doc.by.is_some_and(|by| out.contains(&by));
            is_made_by_one && !doc.is_gone(out) && !doc.only_rewritten(out) && !doc.seen(out).is_empty()
        };
        if lives.len() > 1 || self.docs.get(path).into_iter().flatten().any(orphaned) {
            return None;
        }
        match lives.first() {
            Some(doc) => Some(self.content(doc, out)),
            // Whatever is in it keeps a folder.
            None if self.below(path).any(|below| self.model(below, out) != Some(Content::Absent)) => {
                Some(Content::Folder)
            }
            None => Some(Content::Absent),
        }
    }

    fn content(&self, doc: &Doc, out: &BTreeSet<usize>) -> Content {
        let keep = |text: &str| self.memory.keep_bytes(text.as_bytes()).expect("kept");
        match &doc.kind {
            Kind::Text => Content::File { blob: keep(&doc.text(out)), mode: doc.mode(out) },
            Kind::Link(to) => Content::Link { blob: keep(to) },
            Kind::Folder => Content::Folder,
        }
    }

    fn below(&self, path: &str) -> impl Iterator<Item = &'static str> + use<> {
        let path = path.to_owned();
        self.paths().into_iter().filter(move |at| *at != path && Path::new(at).starts_with(&path))
    }

    /// Brings what stands up to what the documents are.
    fn stand(&self) {
        // What is inside comes before what is around it.
        for path in self.paths().into_iter().rev() {
            let lives = self.live(path, &self.out);
            let now = lives.first().map_or(Content::Absent, |doc| self.content(doc, &self.out));
            let now = if now == Content::Absent && self.holds_something(path) { Content::Folder } else { now };
            self.memory.stands.borrow_mut().insert(path.into(), now);
        }
    }

    fn holds_something(&self, path: &str) -> bool {
        let stands = self.memory.stands.borrow();
        self.below(path).any(|below| stands.get(Path::new(below)).is_some_and(|is| *is != Content::Absent))
    }

    fn standing(&self) -> BTreeMap<PathBuf, Content> {
        self.memory.stands.borrow().clone()
    }

    // --- calls ---

    fn call(&mut self) {
        // What came and went unrecorded between two calls, no plan can know of, and a model that knows it would be no measure.
        let is_nobody = self.style != Style::Kinds && self.random.one_in(7);
        let who = if is_nobody { NOBODY } else { self.random.below(SESSIONS) };
        let call = self.calls.len();
        self.calls.push(Call { who, undoes: BTreeSet::new() });
        let before = self.standing();
        let (first, files, paths) = (self.random.below(PATHS.len()), 1 + self.random.below(2), self.paths());
        for n in 0..files {
            let path = paths[(first + n) % paths.len()];
            match self.style {
                // One call does not change both a folder and what is in it, but for what that comes to by itself.
                Style::Kinds if n > 0 && path == "c/d" => {}
                Style::Kinds => self.change_kind(who, call, path),
                _ => self.change(who, call, path),
            }
        }
        self.stand();
        if who != NOBODY {
            self.journal(who, call, &before, &BTreeMap::new());
        }
    }

    fn journal(
        &mut self,
        who: usize,
        call: usize,
        before: &BTreeMap<PathBuf, Content>,
        undoes: &BTreeMap<PathBuf, Vec<u64>>,
    ) {
        for (path, after) in self.standing() {
            let was = before[&path];
            let undoes = undoes.get(&path).cloned().unwrap_or_default();
            if was != after || !undoes.is_empty() {
                let place = place(path.to_str().expect("text"));
                let seq = call as u64;
                let (session, name) = (session(who), call.to_string());
                self.journal.push(Change {
                    seq,
                    session,
                    call: name,
                    at_unix_ms: seq,
                    place,
                    before: was,
                    after,
                    undoes,
                });
            }
        }
    }

    fn change(&mut self, who: usize, call: usize, path: &'static str) {
        let kind = if self.style == Style::Apart { self.random.below(6) } else { self.random.below(20) };
        let Some(_) = self.live_now(path) else {
            if self.style != Style::Apart {
                let texts = self.some_words();
                self.docs.entry(path).or_default().push(Doc::new(Some(call), texts, false));
            }
            return;
        };
        match kind {
            0..=13 => {
                let edits = if self.style == Style::Alike { 1 } else { 1 + self.random.below(3) };
                for _ in 0..edits {
                    self.edit(who, call, path);
                }
            }
            14 if self.style != Style::Alike => {
                let texts = self.some_words();
                self.live_now(path).expect("there").rewrite(call, texts);
            }
            14 | 15 => self.live_now(path).expect("there").delete(call),
            16 => self.move_away(call, path),
            _ => {
                let mode = [0o644, 0o755, 0o600][self.random.below(3)];
                let out = self.out.clone();
                let doc = self.live_now(path).expect("there");
                if doc.mode(&out) != mode {
                    doc.set_mode(call, mode);
                }
            }
        }
    }

    fn made(&mut self, by: Option<usize>, kind: Kind) -> Doc {
        let lines = if kind == Kind::Text { KINDS_LINES } else { 0 };
        let lines = (0..lines).map(|_| self.word()).collect();
        let mut doc = Doc::new(by, lines, false);
        doc.kind = kind;
        doc
    }

    fn change_kind(&mut self, who: usize, call: usize, path: &'static str) {
        let stands = self.standing()[Path::new(path)];
        let is_file = |content| matches!(content, Content::File { .. });
        match self.random.below(9) {
            0..=3 if is_file(stands) => self.edit(who, call, path),
            // To few places, so that it often is led back to where it led.
            0..=4 => {
                let kind = Kind::Link(format!("to {}", self.random.below(3)));
                let link = self.made(Some(call), kind);
                self.put(call, path, link);
            }
            // One text for another is an edit of its lines, and another style's matter; so below.
            5 if is_file(stands) => {}
            5 => {
                let text = self.made(Some(call), Kind::Text);
                self.put(call, path, text);
            }
            6 => {
                let folder = self.made(Some(call), Kind::Folder);
                self.put(call, path, folder);
            }
            7 if stands != Content::Absent => self.take_away(call, path),
            _ => self.put_back(call, path),
        }
    }

    /// Whatever was there goes, with what was in it; around it there is a folder.
    fn put(&mut self, call: usize, path: &'static str, doc: Doc) {
        if self.standing()[Path::new(path)] == self.content(&doc, &self.out) {
            return;
        }
        let around = self.paths().into_iter().find(|at| *at != path && Path::new(path).starts_with(at));
        if let Some(around) = around {
            let folder = self.made(Some(call), Kind::Folder);
            self.put(call, around, folder);
        }
        self.take_away(call, path);
        let lives = self.docs.entry(path).or_default();
        lives.iter_mut().for_each(|doc| doc.delete(call));
        lives.push(doc);
        self.stand();
    }

    /// Also what others had taken away before does not come back without them.
    fn take_away(&mut self, call: usize, path: &'static str) {
        let stands = self.standing();
        for at in self.below(path).chain([path]).filter(|at| stands[Path::new(at)] != Content::Absent) {
            self.docs.entry(at).or_default().iter_mut().for_each(|doc| doc.delete(call));
        }
        self.stand();
    }

    /// Makes it what it was at some time before.
    fn put_back(&mut self, call: usize, path: &'static str) {
        let was: Vec<Content> = self
            .journal
            .iter()
            .filter(|change| change.place.path == Path::new(path))
            .map(|change| change.before)
            .collect();
        let stands = self.standing()[Path::new(path)];
        let Some(was) = was.get(self.random.below(was.len())).copied().filter(|was| *was != stands) else { return };
        if matches!((was, stands), (Content::File { .. }, Content::File { .. })) {
            return;
        }
        let doc = match was {
            Content::File { mode, .. } => {
                let text = self.text(was);
                let mut doc = Doc::new(Some(call), text.split_terminator(' ').map(str::to_owned).collect(), false);
                doc.set_mode(call, mode);
                doc
            }
            Content::Link { .. } => Doc::of_kind(Some(call), Kind::Link(self.text(was))),
            Content::Folder => Doc::of_kind(Some(call), Kind::Folder),
            Content::Absent | Content::Unkept => return self.take_away(call, path),
        };
        self.put(call, path, doc);
    }

    fn move_away(&mut self, call: usize, path: &'static str) {
        let to = PATHS[self.random.below(PATHS.len())];
        if self.live_now(to).is_some() {
            return;
        }
        let out = self.out.clone();
        let doc = self.live_now(path).expect("there");
        let texts = doc.seen(&out).into_iter().map(|at| doc.lines[at].text.clone()).collect();
        let (ends_open, mode) = (doc.ends_open, doc.mode(&out));
        doc.delete(call);
        let mut moved = Doc::new(Some(call), texts, ends_open);
        moved.set_mode(call, mode);
        self.docs.entry(to).or_default().push(moved);
    }

    fn edit(&mut self, who: usize, call: usize, path: &'static str) {
        let out = self.out.clone();
        let doc = self.live_now(path).expect("there");
        let seen = doc.seen(&out);
        let lines = seen.len();
        let headed = |who: usize| seen.iter().position(|at| doc.lines[*at].text == heading(who));
        let low = headed(who).map_or(0, |at| at + 1);
        let high = headed(who + 1).unwrap_or(lines);
        let from = low + self.random.below(high.saturating_sub(low).max(1));
        let to = (from + 1 + self.random.below(3)).min(high);
        let (texts, kind) = (self.some_words(), self.random.below(3));
        let (apart, alike) = (self.style == Style::Apart, self.style == Style::Alike);
        let doc = self.live_now(path).expect("there");
        match kind {
            _ if from >= to => doc.insert(call, &out, from.min(lines), texts),
            0 => doc.insert(call, &out, from, texts),
            2 if alike => {}
            1 if apart || to - from == lines => {}
            1 => doc.remove(call, &out, from, to),
            _ => doc.replace(call, &out, (from, to), texts),
        }
    }

    // --- rollbacks ---

    /// False: the model cannot follow what comes after.
    fn roll_back(&mut self) -> bool {
        let undone = self.calls.iter().enumerate().filter(|(at, c)| c.who == PERSON && !self.out.contains(at));
        // Apart, a session's own later edits may well lie where its earlier ones would come back.
        let again = undone.map(|(at, _)| at).next_back();
        let again = again.filter(|_| self.style != Style::Apart && self.random.one_in(4));
        let who = if again.is_some() { PERSON } else { self.random.below(SESSIONS) };
        let steps = if again.is_some() || self.random.one_in(2) { Some(1 + self.random.below(3)) } else { None };
        let steps = again.map_or(steps, |_| Some(1));
        let taken: BTreeSet<usize> = again.map_or_else(|| self.chosen(who, steps), |at| BTreeSet::from([at]));
        let request = Request {
            sessions: [session(who)].into(),
            selection: steps.map_or(Selection::All, Selection::Steps),
            below: None,
        };
        let mut ground = Ground::new(&self.memory);
        let plan = plan(&self.journal, &request, &mut ground);
        ground.finish().expect("memory does not fail");
        self.tally.rollbacks += 1;
        // A file with something in it cannot be: such a plan is refused where it is written.
        if !plan.conflicts.is_empty() || self.comes_to(&plan).is_none() {
            self.tally.conflicts += 1;
            return true;
        }
        self.tally.clean += 1;
        self.tally.redone += u64::from(again.is_some());
        let out = self.out_after(&taken);
        let follows = self.check(&plan, &taken, &out);
        self.write(&plan, taken, out);
        follows
    }

    /// What stands once a plan is written. None: it cannot be.
    fn comes_to(&self, plan: &Plan) -> Option<BTreeMap<PathBuf, Content>> {
        let mut all = self.standing();
        all.extend(plan.writes.iter().map(|write| (write.place.path.clone(), write.becomes)));
        for path in self.paths() {
            let holds = self.below(path).any(|below| all[Path::new(below)] != Content::Absent);
            match all[Path::new(path)] {
                Content::Absent if holds => drop(all.insert(path.into(), Content::Folder)),
                Content::Absent | Content::Folder => {}
                _ if holds => return None,
                _ => {}
            }
        }
        Some(all)
    }

    /// The last calls of a session that changed anything and were not undone.
    fn chosen(&self, who: usize, steps: Option<usize>) -> BTreeSet<usize> {
        let mut calls: Vec<usize> = Vec::new();
        for change in self.journal.iter().rev() {
            let call = usize::try_from(change.seq).expect("small");
            if self.calls[call].who == who && !self.out.contains(&call) && !calls.contains(&call) {
                calls.push(call);
            }
        }
        calls.into_iter().take(steps.unwrap_or(usize::MAX)).collect()
    }

    /// The calls that never were, with these: the last word is the last rollback's.
    fn out_after(&self, taken: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut out = taken.clone();
        for (at, call) in self.calls.iter().enumerate().rev() {
            if !out.contains(&at) {
                out.extend(&call.undoes);
            }
        }
        out
    }

    fn check(&mut self, plan: &Plan, taken: &BTreeSet<usize>, out: &BTreeSet<usize>) -> bool {
        let (mut follows, now) = (true, self.standing());
        let becomes = self.comes_to(plan).expect("it can be");
        for write in &plan.writes {
            assert_eq!(write.expects, now[&write.place.path], "it expects what stands");
            assert_ne!(write.expects, write.becomes, "a write changes something");
        }
        let overwritten: BTreeSet<&PathBuf> =
            plan.settled.iter().filter(|s| s.why == Left::Overwritten).map(|s| &s.place.path).collect();
        for path in self.paths() {
            let at = PathBuf::from(path);
            let becomes = becomes[&at];
            if overwritten.contains(&at) {
                self.tally.overwritten += 1;
                let model = self.model(path, out);
                follows &= model == Some(becomes);
                continue;
            }
            if self.model(path, out) == Some(becomes) {
                continue;
            }
            self.keeps_the_others_lines(path, becomes, out, taken);
            // Two lives of the same text: which of them somebody edited later, the model cannot say.
            let is_unsaid = self.style == Style::Kinds && self.model(path, out).is_none();
            if is_unsaid || self.was_written_anew(path) {
                self.tally.anew += 1;
                follows = false;
            } else if self.style == Style::Alike {
                self.tally.otherwise += 1;
                follows = false;
            } else {
                let model = self.model(path, out).map(|model| (model, self.text(model)));
                panic!("{path}: {becomes} {:?}\nmodel {model:?}\n{}", self.text(becomes), self.story(path, taken));
            }
        }
        follows
    }

    fn text(&self, content: Content) -> String {
        let bytes = content.blob().map(|blob| self.memory.bytes(blob).expect("there"));
        bytes.map_or_else(|| "-".to_owned(), |bytes| String::from_utf8_lossy(&bytes).replace('\n', " "))
    }

    /// Every line that stands and is by nobody who is taken out still stands. Equal lines are counted.
    fn keeps_the_others_lines(&self, path: &str, becomes: Content, out: &BTreeSet<usize>, taken: &BTreeSet<usize>) {
        let text = self.text(becomes);
        let mut left: Vec<&str> = text.split(' ').collect();
        for doc in self.live(path, &self.out) {
            for line in doc.seen(&self.out).into_iter().map(|at| &doc.lines[at]) {
                let at = left.iter().position(|text| *text == line.text);
                if line.by.is_none_or(|by| !out.contains(&by)) && self.style != Style::Alike {
                    assert!(at.is_some(), "{path}: {line:?} is lost\n{text}\n{}", self.story(path, taken));
                }
                at.map(|at| left.swap_remove(at));
            }
        }
    }

    /// Whether a step of a path's contents left nothing of what was there before: the model only knows lines.
    fn was_written_anew(&self, path: &str) -> bool {
        let at = PathBuf::from(path);
        let changes = self.journal.iter().filter(|change| change.place.path == at);
        let steps = changes.flat_map(|change| [change.before, change.after]).chain([self.standing()[&at]]);
        let texts: Vec<Option<String>> =
            steps.map(|content| matches!(content, Content::File { .. }).then(|| self.text(content))).collect();
        texts.windows(2).any(|pair| {
            // Of few different lines, a file that went and one that came may be the same by chance.
            let [Some(from), Some(to)] = pair else { return self.style == Style::Alike };
            from.split(' ').all(|line| line.is_empty() || !to.split(' ').any(|l| l == line))
        })
    }

    fn story(&self, path: &str, taken: &BTreeSet<usize>) -> String {
        let mut told = format!("taken out: {taken:?}, out before: {:?}\n", self.out);
        for change in self.journal.iter().filter(|c| c.place.path.to_str() == Some(path)) {
            let (who, undoes) = (self.calls[usize::try_from(change.seq).unwrap()].who, &change.undoes);
            told += &format!(
                "{} by {who} {undoes:?}: {} {:?}\n  -> {} {:?}\n",
                change.seq,
                change.before,
                self.text(change.before),
                change.after,
                self.text(change.after)
            );
        }
        told
    }

    fn write(&mut self, plan: &Plan, taken: BTreeSet<usize>, out: BTreeSet<usize>) {
        if plan.writes.is_empty() && plan.settled.is_empty() {
            assert!(taken.is_empty(), "nothing to do, and yet {taken:?}");
            return;
        }
        let call = self.calls.len();
        self.calls.push(Call { who: PERSON, undoes: taken });
        let (before, comes_to) = (self.standing(), self.comes_to(plan).expect("it can be"));
        let mut undoes = BTreeMap::new();
        *self.memory.stands.borrow_mut() = comes_to;
        for write in &plan.writes {
            self.tally.writes += 1;
            undoes.insert(write.place.path.clone(), write.undoes.clone());
        }
        for settled in &plan.settled {
            undoes.insert(settled.place.path.clone(), settled.undoes.clone());
        }
        self.journal(PERSON, call, &before, &undoes);
        self.out = out;
    }
}
