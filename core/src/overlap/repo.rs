//! All live work of one repository, indexed so that a change costs what it touches: path → who changed it, folder → who fills or
//! empties it, name → who defines or uses it. Each pair that meets anywhere is kept with what it meets on; a pair that does not
//! costs nothing. What the meetings amount to is [`super::pair`]'s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use super::answers::Answers;
use super::folders;
use super::meeting::meet;
use super::pair::{Pair, View};
use super::side::{Side, Standing, is_added, take_files};
use super::symbols::{self, Named};
use crate::live::{ChangeSet, FileChange, GitPath, TreeKey};

/// A work tree inside one repository: short, and given again when it is gone.
pub(super) type No = u32;

#[derive(Clone, Debug, Default)]
pub(super) struct Repo {
    numbers: BTreeMap<TreeKey, No>,
    sides: BTreeMap<No, Side>,
    paths: HashMap<GitPath, BTreeSet<No>>,
    /// How many files of each side are added below a folder, and moved out of it.
    filled: HashMap<GitPath, BTreeMap<No, usize>>,
    emptied: HashMap<GitPath, BTreeMap<No, usize>>,
    names: HashMap<String, Named>,
    /// The lower number first.
    pairs: BTreeMap<(No, No), Pair>,
}

/// What a change set has touched, to be looked at again.
#[derive(Default)]
struct Touched {
    paths: BTreeSet<GitPath>,
    folders: BTreeSet<GitPath>,
    names: BTreeSet<String>,
}

impl Repo {
    /// Replaces what is known of one work tree.
    pub(super) fn put(&mut self, key: &TreeKey, mut set: ChangeSet, answers: &Answers) {
        let files = take_files(&mut set);
        let no = self.number(key, &set);
        if self.sides[&no].set == set && is_same(&self.sides[&no], &files) {
            return;
        }
        self.remember(no, answers);
        let mut touched = Touched::default();
        let side = &self.sides[&no];
        let gone: Vec<_> = side.files.values().filter(|file| files.get(&file.path) != Some(file)).cloned().collect();
        let new: Vec<_> = files
            .into_values()
            .filter(|f| side.files.get(&f.path).map(|old| &**old) != Some(f))
            .map(Arc::new)
            .collect();
        for file in &gone {
            self.forget_file(no, file, &mut touched);
        }
        for file in &new {
            self.learn_file(no, file, &mut touched);
        }
        if let Some(side) = self.sides.get_mut(&no) {
            side.set = set;
        }
        self.meet_again(no, &touched);
    }

    pub(super) fn remove(&mut self, key: &TreeKey) {
        let Some(no) = self.numbers.remove(key) else { return };
        let mut touched = Touched::default();
        let files: Vec<_> = self.sides[&no].files.values().cloned().collect();
        for file in &files {
            self.forget_file(no, file, &mut touched);
        }
        self.sides.remove(&no);
        self.pairs.retain(|(a, b), _| *a != no && *b != no);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sides.is_empty()
    }

    /// Entries of all maps: nothing is left of what is gone.
    pub(super) fn size(&self) -> usize {
        let met: usize = self.pairs.values().map(Pair::size).sum();
        self.sides.len() + self.paths.len() + self.filled.len() + self.emptied.len() + self.names.len() + met
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = &Side> {
        self.sides.values()
    }

    /// How many change this path.
    pub(super) fn sharing(&self, path: &GitPath) -> usize {
        self.paths.get(path).map_or(0, BTreeSet::len)
    }

    /// Every pair that is to be judged: those that meet, and those that are about to land one after the other.
    pub(super) fn views<'a>(
        &'a self,
        standing: &'a BTreeMap<TreeKey, Standing>,
        answers: &'a Answers,
    ) -> impl Iterator<Item = View<'a>> {
        let of = |side: &Side| standing.get(&side.key).copied().unwrap_or_default();
        let queued: Vec<No> =
            self.sides.iter().filter(|(_, side)| matches!(of(side), Standing::Queued(_))).map(|(no, _)| *no).collect();
        let landing = queued.iter().flat_map(|a| queued.iter().filter(move |b| a < b).map(move |b| (*a, *b)));
        let all: BTreeSet<(No, No)> = self.pairs.keys().copied().chain(landing).collect();
        all.into_iter().filter_map(move |(a, b)| {
            let view =
                View::new(Some(self), (a, &self.sides[&a]), (b, &self.sides[&b]), self.pairs.get(&(a, b)), answers);
            view.with_standing(of)
        })
    }

    fn number(&mut self, key: &TreeKey, set: &ChangeSet) -> No {
        if let Some(no) = self.numbers.get(key) {
            return *no;
        }
        let no = (0..).find(|no| !self.sides.contains_key(no)).unwrap_or(No::MAX);
        self.numbers.insert(key.clone(), no);
        self.sides.insert(no, Side::new(key.clone(), set.clone()));
        no
    }

    /// What was known of this side's conflicts stays known until the changed contents are answered for.
    fn remember(&mut self, no: No, answers: &Answers) {
        for ((a, b), pair) in self.pairs.iter_mut().filter(|((a, b), _)| *a == no || *b == no) {
            let view = View::new(None, (*a, &self.sides[a]), (*b, &self.sides[b]), Some(pair), answers);
            let before = view.what_is_known();
            pair.before = before;
        }
    }

    fn learn_file(&mut self, no: No, file: &Arc<FileChange>, touched: &mut Touched) {
        if let Some(side) = self.sides.get_mut(&no) {
            side.add(file);
        }
        self.paths.entry(file.path.clone()).or_default().insert(no);
        for (map, folders) in [(&mut self.filled, folders::fills(file)), (&mut self.emptied, folders::empties(file))] {
            for folder in folders {
                *map.entry(folder).or_default().entry(no).or_default() += 1;
            }
        }
        for name in names(file.symbols.iter().map(|symbol| &symbol.name)) {
            self.names.entry(name.clone()).or_default().add_definition(no, file);
        }
        for name in names(file.uses.iter()) {
            self.names.entry(name.clone()).or_default().add_use(no, file);
        }
        touched.note(file);
    }

    fn forget_file(&mut self, no: No, file: &FileChange, touched: &mut Touched) {
        if let Some(side) = self.sides.get_mut(&no) {
            side.remove(file);
        }
        drop_from(&mut self.paths, &file.path, |who| {
            who.remove(&no);
            who.is_empty()
        });
        for (map, folders) in [(&mut self.filled, folders::fills(file)), (&mut self.emptied, folders::empties(file))] {
            for folder in folders {
                drop_from(map, &folder, |counts| {
                    count_down(counts, no);
                    counts.is_empty()
                });
            }
        }
        for name in names(file.symbols.iter().map(|symbol| &symbol.name).chain(&file.uses)) {
            drop_from(&mut self.names, name, |named| {
                drop_file(&mut named.defined, no, &file.path);
                drop_file(&mut named.used, no, &file.path);
                named.defined.is_empty() && named.used.is_empty()
            });
        }
        touched.note(file);
    }

    fn meet_again(&mut self, no: No, touched: &Touched) {
        for path in &touched.paths {
            self.meet_on_path(no, path);
        }
        for folder in &touched.folders {
            self.meet_on_folder(no, folder);
        }
        for name in &touched.names {
            self.meet_on_name(no, name);
        }
        self.pairs.retain(|_, pair| !pair.is_empty());
    }

    fn meet_on_path(&mut self, no: No, path: &GitPath) {
        let ours = self.sides[&no].files.get(path).cloned();
        let others: Vec<No> = self.others(no, self.paths.get(path).into_iter().flatten());
        let met = others.into_iter().map(|other| {
            let theirs = self.sides[&other].files.get(path);
            let (a, b) = if self.is_first(no, other) { (ours.as_ref(), theirs) } else { (theirs, ours.as_ref()) };
            (other, a.zip(b).and_then(|(a, b)| meet(a, b)))
        });
        for (other, meeting) in met.collect::<Vec<_>>() {
            set(&mut self.pair(no, other).paths, path, meeting);
        }
    }

    fn meet_on_folder(&mut self, no: No, folder: &GitPath) {
        let on = |map: &HashMap<GitPath, BTreeMap<No, usize>>, who: No| {
            map.get(folder).is_some_and(|m| m.contains_key(&who))
        };
        let stands = |who: No| self.sides[&who].files.get(folder).is_some_and(|file| is_added(file));
        let clash = |a: No, b: No| on(&self.filled, a) && (on(&self.emptied, b) || stands(b));
        let who = [&self.filled, &self.emptied].into_iter().filter_map(|map| map.get(folder)).flat_map(BTreeMap::keys);
        let others = self.others(no, who.chain(self.paths.get(folder).into_iter().flatten()));
        let met: Vec<_> = others.into_iter().map(|other| (other, clash(no, other) || clash(other, no))).collect();
        for (other, meets) in met {
            set(&mut self.pair(no, other).folders, folder, meets.then_some(()));
        }
    }

    fn meet_on_name(&mut self, no: No, name: &str) {
        let none = Named::default();
        let named = self.names.get(name).unwrap_or(&none);
        let others = self.others(no, named.defined.keys().chain(named.used.keys()));
        let candidate = |other: No| {
            let (a, b) = if self.is_first(no, other) { (no, other) } else { (other, no) };
            symbols::candidate(name, named, a, b)
        };
        let met: Vec<_> = others.into_iter().map(|other| (other, candidate(other))).collect();
        for (other, candidate) in met {
            set(&mut self.pair(no, other).names, name, candidate);
        }
    }

    /// Everybody else there.
    fn others<'a>(&self, no: No, who: impl Iterator<Item = &'a No>) -> Vec<No> {
        who.copied().filter(|other| *other != no).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// By their keys: numbers depend on who came first, findings must not.
    fn is_first(&self, no: No, other: No) -> bool {
        self.sides[&no].key < self.sides[&other].key
    }

    fn pair(&mut self, a: No, b: No) -> &mut Pair {
        self.pairs.entry((a.min(b), a.max(b))).or_default()
    }
}

impl Touched {
    fn note(&mut self, file: &FileChange) {
        self.paths.insert(file.path.clone());
        self.folders.extend(folders::fills(file));
        self.folders.extend(folders::empties(file));
        if is_added(file) {
            self.folders.insert(file.path.clone());
        }
        self.names.extend(names(file.symbols.iter().map(|symbol| &symbol.name).chain(&file.uses)).into_iter().cloned());
    }
}

/// Each name once.
fn names<'a>(all: impl Iterator<Item = &'a String>) -> BTreeSet<&'a String> {
    all.collect()
}

fn is_same(side: &Side, files: &BTreeMap<GitPath, FileChange>) -> bool {
    side.files.len() == files.len() && side.files.values().zip(files.values()).all(|(a, b)| **a == *b)
}

fn set<K: Ord + ToOwned<Owned = O> + ?Sized, O: Ord + std::borrow::Borrow<K>, V>(
    map: &mut BTreeMap<O, V>,
    key: &K,
    value: Option<V>,
) {
    match value {
        Some(value) => {
            map.insert(key.to_owned(), value);
        }
        None => {
            map.remove(key);
        }
    }
}

fn drop_from<K, Q, V>(map: &mut HashMap<K, V>, key: &Q, drop: impl FnOnce(&mut V) -> bool)
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    if map.get_mut(key).is_some_and(drop) {
        map.remove(key);
    }
}

fn count_down(counts: &mut BTreeMap<No, usize>, no: No) {
    if let Some(count) = counts.get_mut(&no) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&no);
        }
    }
}

fn drop_file(map: &mut BTreeMap<No, Vec<Arc<FileChange>>>, no: No, path: &GitPath) {
    if let Some(files) = map.get_mut(&no) {
        files.retain(|file| file.path != *path);
        if files.is_empty() {
            map.remove(&no);
        }
    }
}
