//! The index without git: random change sets of every kind, answers drawn from the question itself. Whatever way the index came to
//! what it holds, it says the same; and nothing stays behind.

use std::collections::BTreeMap;

use rr_core::id::{CommitId, ObjectId, RepoId};
use rr_core::live::{
    ChangeSet, Entry, FileChange, GitPath, Lines, Onto, PackageChange, Rest, SymbolChange, SymbolEdit, Target,
};
use rr_core::overlap::{Answer, Finding, Index, Options, Question, Standing};

use crate::dice::Dice;
use crate::git::key;

pub(crate) fn object(number: u32) -> ObjectId {
    ObjectId::parse(&format!("{number:040x}")).expect("a name")
}

pub(crate) fn commit(number: u32) -> CommitId {
    CommitId::parse(&format!("{number:040x}")).expect("a name")
}

pub(crate) fn entry(number: u32) -> Option<Entry> {
    Some(Entry { mode: 0o100_644, id: object(number) })
}

/// Settled, clean on the target; its tree is named by its files, so that another content is another tree.
pub(crate) fn change_set(nr: usize, files: Vec<FileChange>) -> ChangeSet {
    let text = serde_json::to_vec(&files).expect("it is written");
    let print = text.iter().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    ChangeSet {
        repo: RepoId::parse("00000000000000aa").expect("an id"),
        root: format!("tree {nr}"),
        branch: String::new(),
        head: Some(commit(900 + u32::try_from(nr).expect("small"))),
        target: Some(Target { branch: "main".to_owned(), commit: commit(1) }),
        tree: object(print),
        committed: false,
        onto: Onto::Clean(object(print)),
        rest: Rest::Settled,
        writers: vec![],
        remote: None,
        files,
        left_out: 0,
    }
}

const PATHS: [&str; 9] =
    ["a.rs", "b.rs", "src/c.rs", "src/d.rs", "src/e/f.rs", "src/e", "Cargo.toml", "Cargo.lock", "lib/g.go"];
const NAMES: [&str; 4] = ["parse", "Reader", "open", "close"];

fn number(dice: &mut Dice, end: usize) -> u32 {
    u32::try_from(dice.below(end)).expect("small")
}

fn any_file(dice: &mut Dice, path: &str) -> FileChange {
    let from = (!dice.one_in(4)).then(|| entry(u32::try_from(path.len()).expect("small"))).flatten();
    let to = if dice.one_in(6) && from.is_some() { None } else { entry(100 + number(dice, 5)) };
    let mut file = FileChange::of(path.into(), from.clone(), to.clone());
    if from.is_some() && to.is_some() {
        file.ranges = (0..dice.below(4)).map(|_| Lines { start: number(dice, 30), count: number(dice, 3) }).collect();
        file.binary = dice.one_in(10);
    }
    if from.is_none() && dice.one_in(3) {
        file.renamed_from = Some((*dice.pick(&PATHS)).into());
    }
    let edits = [SymbolEdit::Added, SymbolEdit::Removed, SymbolEdit::Signature, SymbolEdit::Body];
    for _ in 0..dice.below(3) {
        let (name, change) = ((*dice.pick(&NAMES)).to_owned(), *dice.pick(&edits));
        let container = if dice.one_in(2) { "Parser".to_owned() } else { String::new() };
        file.symbols.push(SymbolChange { name, container, kind: "function".to_owned(), change });
    }
    file.uses = (0..dice.below(3)).map(|_| (*dice.pick(&NAMES)).to_owned()).collect();
    if path == "Cargo.toml" {
        let to = Some(format!("{}", dice.below(3)));
        file.packages = vec![PackageChange { key: format!("dependencies/{}", dice.pick(&NAMES)), from: None, to }];
    }
    file
}

fn any_set(dice: &mut Dice, nr: usize) -> ChangeSet {
    let mut files: Vec<FileChange> = Vec::new();
    for path in PATHS {
        if dice.one_in(3) {
            files.push(any_file(dice, path));
        }
    }
    let mut set = change_set(nr, files);
    match dice.below(11) {
        0 => set.onto = Onto::Stale(vec!["a.rs".into()]),
        1 => (set.onto, set.target) = (Onto::Alone, None),
        2 => set.target = Some(Target { branch: "main".to_owned(), commit: commit(2) }),
        3 => set.target = Some(Target { branch: "release".to_owned(), commit: commit(3) }),
        4 => set.repo = RepoId::parse("00000000000000bb").expect("an id"),
        5 => set.head = None,
        _ => {}
    }
    set
}

/// Always the same answer to the same question; why a check is asked for is no part of it.
fn answer(question: &Question) -> Answer {
    let (kind, drawn) = match question {
        Question::Check { repo, base, ours, theirs, why: _ } => (1, format!("{repo:?} {base:?} {ours} {theirs}")),
        other => (0, format!("{other:?}")),
    };
    let drawn = drawn.bytes().fold(kind, |sum: usize, byte| sum.wrapping_mul(33).wrapping_add(usize::from(byte)));
    match (question, drawn % 3) {
        (_, 0) => Answer::Clean,
        (Question::Check { .. }, nr) => Answer::Fails {
            check: ["types", "tests"][nr - 1].to_owned(),
            findings: vec!["no such name".to_owned()],
            excerpt: String::new(),
        },
        (Question::Files { path, .. }, _) => {
            Answer::Conflict { paths: vec![(path.clone(), String::new())], excerpt: "hunk".to_owned() }
        }
        (Question::Trees { .. }, _) => {
            let path = PATHS[drawn / 3 % PATHS.len()];
            Answer::Conflict { paths: vec![(path.into(), "words".to_owned())], excerpt: String::new() }
        }
    }
}

pub(crate) fn answer_all(index: &mut Index) -> usize {
    let mut asked = 0;
    loop {
        let questions = index.questions();
        if questions.is_empty() {
            return asked;
        }
        asked += questions.len();
        for question in &questions {
            assert!(!index.asked_by(question).is_empty() || asked > 1, "somebody asks {question:?}");
            index.answer(question, answer(question));
        }
    }
}

fn found(sets: &BTreeMap<usize, ChangeSet>, order: &[usize]) -> Vec<Finding> {
    let mut index = Index::new(Options::default());
    for nr in order {
        if let Some(set) = sets.get(nr) {
            index.put(key(*nr), Some(set.clone()));
        }
    }
    stand(&mut index);
    answer_all(&mut index);
    index.findings()
}

/// Two are about to land, one is left aside.
fn stand(index: &mut Index) {
    index.stand(&key(1), Standing::Queued(3));
    index.stand(&key(2), Standing::Queued(4));
    index.stand(&key(5), Standing::Aside);
}

#[test]
fn findings_do_not_depend_on_what_came_first_or_was_there_before() {
    let mut seen = 0;
    for seed in 0..400 {
        let dice = &mut Dice::new(seed);
        let mut order: Vec<usize> = (0..6).collect();
        let (mut index, mut sets) = (Index::new(Options::default()), BTreeMap::new());
        for _ in 0..20 {
            let nr = dice.below(6);
            if dice.one_in(5) {
                sets.remove(&nr);
                index.put(key(nr), None);
            } else {
                let set = any_set(dice, nr);
                sets.insert(nr, set.clone());
                index.put(key(nr), Some(set));
            }
            if dice.one_in(3) {
                stand(&mut index);
                answer_all(&mut index);
            }
        }
        stand(&mut index);
        answer_all(&mut index);
        let lived = index.findings();
        dice.shuffle(&mut order);
        assert_eq!(lived, found(&sets, &order), "seed {seed}: lived through, and put at once");
        order.reverse();
        assert_eq!(lived, found(&sets, &order), "seed {seed}: the other way round");
        seen += lived.len();
        for nr in 0..6 {
            index.put(key(nr), None);
        }
        assert_eq!(index.size(), 0, "seed {seed}: something is left");
        assert!(index.findings().is_empty() && index.questions().is_empty() && index.stale().is_empty());
    }
    assert!(seen > 2_000, "{seen} findings are too few to tell");
}

#[test]
fn what_did_not_change_asks_nothing() {
    for seed in 0..50 {
        let dice = &mut Dice::new(seed);
        let sets: Vec<ChangeSet> = (0..5).map(|nr| any_set(dice, nr)).collect();
        let mut index = Index::new(Options::default());
        for (nr, set) in sets.iter().enumerate() {
            index.put(key(nr), Some(set.clone()));
        }
        answer_all(&mut index);
        let before = (index.findings(), index.size());
        for (nr, set) in sets.iter().enumerate() {
            let mut turned = set.clone();
            turned.files.reverse();
            index.put(key(nr), Some(turned));
            assert!(index.questions().is_empty(), "seed {seed}");
        }
        assert_eq!(before, (index.findings(), index.size()), "seed {seed}");
    }
}

/// What an edit costs hangs on who else is at that path, not on how many trees or files there are.
#[test]
fn an_edit_asks_only_of_those_at_its_path() {
    const TREES: usize = 20;
    let small = |number: usize| u32::try_from(number).expect("small");
    let file = |path: String, to: usize| {
        let mut file = FileChange::of(path.as_str().into(), entry(1), entry(small(to)));
        file.ranges = vec![Lines { start: 5, count: 2 }];
        file
    };
    // All edit one file, pairs share another, and the rest is each one's own.
    let set = |nr: usize, [all, two, own]: [usize; 3]| {
        let files = [("all.rs".to_owned(), all), (format!("two{}.rs", nr / 2), two), (format!("own{nr}.rs"), own)];
        change_set(nr, files.into_iter().map(|(path, to)| file(path, to * 100 + nr)).collect())
    };
    let mut index = Index::new(Options::default());
    (0..TREES).for_each(|nr| index.put(key(nr), Some(set(nr, [1, 1, 1]))));
    let asked = index.questions().len();
    assert_eq!(asked, TREES * (TREES - 1) / 2 + TREES / 2, "every pair on the one file, and ten on their own");
    answer_all(&mut index);
    for (edit, asks) in [([1, 1, 2], 0), ([1, 2, 2], 1), ([2, 2, 2], TREES - 1)] {
        index.put(key(7), Some(set(7, edit)));
        let of_it = |question: &Question| index.asked_by(question).iter().all(|pair| pair.contains(&key(7)));
        let questions = index.questions();
        assert!(questions.iter().all(of_it), "it alone has changed");
        assert_eq!(questions.len(), asks, "{edit:?}");
        answer_all(&mut index);
    }
}

#[test]
fn another_index_goes_on_from_the_answers_and_asks_nothing() {
    let dice = &mut Dice::new(3);
    let sets: Vec<ChangeSet> = (0..6).map(|nr| any_set(dice, nr)).collect();
    let filled = |mut index: Index| {
        for (nr, set) in sets.iter().enumerate() {
            index.put(key(nr), Some(set.clone()));
        }
        index
    };
    let mut first = filled(Index::new(Options::default()));
    assert!(answer_all(&mut first) > 0);
    let saved = serde_json::to_string(&first.answers()).expect("answers are written");
    let mut second = Index::new(Options::default());
    for (question, answer) in serde_json::from_str::<Vec<(Question, Answer)>>(&saved).expect("and read") {
        second.answer(&question, answer);
    }
    let second = filled(second);
    assert!(second.questions().is_empty());
    assert_eq!(first.findings(), second.findings());
}

#[test]
fn old_answers_make_room_and_needed_ones_stay() {
    let file = |at: u32, to: u32| FileChange {
        ranges: vec![Lines { start: 1, count: 1 }],
        ..FileChange::of(GitPath::from(format!("f{at}.rs")), entry(1), entry(to))
    };
    let mut index = Index::new(Options { answers_max: 16 });
    for round in 0..40 {
        let files = |side: u32| (0..8).map(|at| file(at, 1_000 * side + round)).collect::<Vec<_>>();
        index.put(key(0), Some(change_set(0, files(1))));
        index.put(key(1), Some(change_set(1, files(2))));
        answer_all(&mut index);
        assert!(index.questions().is_empty(), "round {round}: an answer that is needed went");
        assert!(index.answers().len() <= 16, "round {round}: {}", index.answers().len());
    }
}
