//! Each rule of the index on its smallest example.

use rr_core::live::{ChangeSet, FileChange, Lines, Onto, PackageChange, Rest, SymbolChange, SymbolEdit, Target};
use rr_core::overlap::{
    Answer, Base, Because, EXCERPT_BYTES_MAX, Finding, Index, Kind, Level, Options, Question, Standing, SymbolClash,
    Why, is_sweep,
};

use crate::git::key;
use crate::pure::{change_set, commit, entry};

/// One line of a file of ten lines and more.
fn edit(path: &str, line: u32, to: u32) -> FileChange {
    FileChange { ranges: vec![Lines { start: line, count: 1 }], ..FileChange::of(path.into(), entry(1), entry(to)) }
}

fn added(path: &str, to: u32) -> FileChange {
    FileChange::of(path.into(), None, entry(to))
}

fn gone(path: &str) -> FileChange {
    FileChange::of(path.into(), entry(1), None)
}

fn moved(from: &str, to: &str) -> [FileChange; 2] {
    [gone(from), FileChange { renamed_from: Some(from.into()), ..added(to, 1) }]
}

fn index(sets: impl IntoIterator<Item = ChangeSet>) -> Index {
    let mut index = Index::new(Options::default());
    for (nr, set) in sets.into_iter().enumerate() {
        index.put(key(nr), Some(set));
    }
    index
}

/// One file each.
fn two(a: impl IntoIterator<Item = FileChange>, b: impl IntoIterator<Item = FileChange>) -> Index {
    index([change_set(0, a.into_iter().collect()), change_set(1, b.into_iter().collect())])
}

fn conflict(path: &str) -> Answer {
    Answer::Conflict { paths: vec![(path.into(), "CONFLICT (content)".to_owned())], excerpt: String::new() }
}

fn answer_all(index: &mut Index, answer: &Answer) {
    for question in index.questions() {
        index.answer(&question, answer.clone());
    }
}

fn levels(index: &Index) -> Vec<u8> {
    index.findings().iter().map(|finding| finding.level.into()).collect()
}

fn worst(index: &Index) -> Finding {
    index.findings().into_iter().next().expect("a finding")
}

#[test]
fn lines_apart_are_no_question_and_touching_ones_are() {
    let apart = two([edit("a.rs", 3, 10)], [edit("a.rs", 5, 11)]);
    assert_eq!((apart.questions().len(), levels(&apart)), (0, vec![0]));
    let mut touching = two([edit("a.rs", 3, 10)], [edit("a.rs", 4, 11)]);
    let asked = touching.questions();
    assert!(matches!(&asked[..], [Question::Files { base: Some(_), .. }]), "{asked:?}");
    assert_eq!(levels(&touching), [0], "nothing is told before it is answered");
    touching.answer(&asked[0], conflict("a.rs"));
    let found = worst(&touching);
    assert_eq!((found.level, &found.kind), (Level::Conflict, &Kind::Merge));
    assert_eq!(found.places[0].lines, [Lines { start: 3, count: 2 }]);
    assert!(found.excerpt.contains("CONFLICT (content)"));
    touching.answer(&asked[0], Answer::Clean);
    assert_eq!(levels(&touching), [0]);
}

#[test]
fn lines_are_compared_in_whatever_order_they_were_sent() {
    let ranges = [30, 3].map(|start| Lines { start, count: 1 }).to_vec();
    let unordered = FileChange { ranges, ..edit("a.rs", 0, 10) };
    assert_eq!(two([unordered], [edit("a.rs", 3, 11)]).questions().len(), 1);
}

#[test]
fn the_same_edit_twice_is_agreement_and_one_question_serves_all_who_ask_it() {
    assert!(two([edit("a.rs", 3, 10)], [edit("a.rs", 3, 10)]).findings().is_empty());
    let set = |nr: usize, to| change_set(nr, vec![edit("a.rs", 3, to)]);
    let mut four = index([set(0, 10), set(1, 20), set(2, 10), set(3, 20)]);
    let asked = four.questions();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(four.asked_by(&asked[0]).len(), 4);
    four.answer(&asked[0], conflict("a.rs"));
    assert_eq!(levels(&four), [2, 2, 2, 2]);
}

#[test]
fn a_question_the_other_way_round_has_the_same_answer() {
    let mut index = two([edit("a.rs", 3, 20)], [edit("a.rs", 3, 10)]);
    let Question::Files { repo, path, base, ours, theirs } = index.questions().remove(0) else { panic!("a file") };
    index.answer(&Question::Files { repo, path, base, ours: theirs, theirs: ours }, conflict("a.rs"));
    assert_eq!((index.questions().len(), levels(&index)), (0, vec![2]));
}

#[test]
fn the_hunks_are_named_after_the_sides_and_cut() {
    let mut index = two([edit("a.rs", 3, 20)], [edit("a.rs", 3, 10)]);
    let hunk = "<<<<<<< ours\nten\n=======\ntwenty\n>>>>>>> theirs\n";
    let long = hunk.to_owned() + &"€".repeat(EXCERPT_BYTES_MAX);
    answer_all(&mut index, &Answer::Conflict { paths: vec![("a.rs".into(), String::new())], excerpt: long });
    let excerpt = worst(&index).excerpt;
    // The content that sorts first is the second side's.
    assert!(excerpt.contains("<<<<<<< tree 1\nten\n=======\ntwenty\n>>>>>>> tree 0\n"), "{excerpt}");
    assert!(excerpt.len() <= EXCERPT_BYTES_MAX);
}

#[test]
fn a_lock_file_is_never_an_alert() {
    for mut index in [
        two([edit("Cargo.lock", 3, 10)], [edit("Cargo.lock", 3, 11)]),
        two([added("web/yarn.lock", 10)], [added("web/yarn.lock", 11)]),
        two([gone("go.sum")], [edit("go.sum", 3, 11)]),
    ] {
        assert!(index.questions().is_empty());
        assert_eq!(levels(&index), [0]);
        index.stand(&key(0), Standing::Queued(1));
        index.stand(&key(1), Standing::Queued(2));
        let path = index.findings()[0].paths[0].to_string();
        answer_all(&mut index, &conflict(&path));
        assert_eq!(levels(&index), [0], "not even where git says so of whole trees");
    }
}

#[test]
fn a_manifest_is_compared_by_key() {
    let edit = |to: u32, keys: &[(&str, &str)]| {
        let change = |(key, to): &(&str, &str)| PackageChange {
            key: format!("dependencies/{key}"),
            from: Some("1".to_owned()),
            to: Some((*to).to_owned()),
        };
        FileChange { packages: keys.iter().map(change).collect(), ..edit("Cargo.toml", 3, to) }
    };
    let apart = two([edit(10, &[("serde", "2")])], [edit(11, &[("tokio", "2")])]);
    assert_eq!((apart.questions().len(), levels(&apart)), (0, vec![0]), "though the lines touch");
    let clash = two([edit(10, &[("serde", "2"), ("tokio", "3")])], [edit(11, &[("tokio", "2"), ("serde", "3")])]);
    assert!(clash.questions().is_empty());
    let found = clash.findings();
    assert_eq!(found.len(), 1, "one finding a pair: {found:?}");
    assert_eq!(found[0].level, Level::Conflict);
    assert_eq!(found[0].kind, Kind::Package("dependencies/serde, dependencies/tokio".to_owned()));
    assert!(found[0].excerpt.contains("dependencies/serde: 1 -> 2 (tree 0), 3 (tree 1)"), "{}", found[0].excerpt);
    let agreed = two([edit(10, &[("serde", "2")])], [edit(11, &[("serde", "2"), ("tokio", "2")])]);
    assert_eq!(levels(&agreed), [0]);
}

#[test]
fn work_that_never_lands_together_is_not_compared() {
    let set = |nr, to| change_set(nr, vec![edit("a.rs", 3, to)]);
    let mut elsewhere = set(1, 11);
    elsewhere.repo = rr_core::id::RepoId::parse("00000000000000bb").expect("an id");
    assert!(index([set(0, 10), elsewhere]).questions().is_empty());
    let mut release = set(1, 11);
    release.target = Some(Target { branch: "release".to_owned(), commit: commit(1) });
    let apart = index([set(0, 10), release]);
    assert!(apart.questions().is_empty() && apart.findings().is_empty());
    let mut aside = index([set(0, 10), set(1, 11)]);
    aside.stand(&key(1), Standing::Aside);
    assert!(aside.questions().is_empty() && aside.findings().is_empty());
    aside.stand(&key(1), Standing::Live);
    assert_eq!(aside.questions().len(), 1);
}

#[test]
fn a_work_tree_that_turns_up_in_another_repository_leaves_the_first() {
    let set = |nr, to| change_set(nr, vec![edit("a.rs", 3, to)]);
    let mut all = index([set(0, 10), set(1, 11)]);
    let mut elsewhere = set(1, 11);
    elsewhere.repo = rr_core::id::RepoId::parse("00000000000000bb").expect("an id");
    all.put(key(1), Some(elsewhere));
    assert!(all.questions().is_empty() && all.findings().is_empty());
}

#[test]
fn stale_work_is_told_apart_and_compared_from_the_merge_base() {
    let stale = |file: FileChange| ChangeSet { onto: Onto::Stale(vec!["a.rs".into()]), ..change_set(1, vec![file]) };
    let other_base = FileChange { from: entry(2), ..edit("a.rs", 50, 11) };
    let mut all = index([change_set(0, vec![edit("a.rs", 3, 10)]), stale(other_base)]);
    assert_eq!(all.stale(), [(key(1), vec!["a.rs".into()])]);
    let asked = all.questions();
    let Question::Trees { base, .. } = &asked[0] else { panic!("whole trees: {asked:?}") };
    assert_eq!(*base, Base::Fork(commit(900), commit(901)), "lines of two bases are not compared");
    all.answer(&asked[0], conflict("only-of-main.rs"));
    assert_eq!(levels(&all), [0], "what only one of them changed is between it and the target");
    all.answer(&asked[0], conflict("a.rs"));
    assert_eq!(levels(&all), [2]);
    let same_base = index([change_set(0, vec![edit("a.rs", 3, 10)]), stale(edit("a.rs", 50, 11))]);
    assert!(same_base.questions().is_empty(), "one content, one numbering of lines, wherever it comes from");
    let no_head = |nr, from| ChangeSet {
        onto: Onto::Alone,
        target: None,
        head: None,
        ..change_set(nr, vec![FileChange { from: entry(from), ..edit("a.rs", 3, from + 7) }])
    };
    assert!(matches!(
        index([no_head(0, 1), no_head(1, 2)]).questions()[0],
        Question::Trees { base: Base::Nothing, .. }
    ));
}

#[test]
fn renames_and_folders_go_to_a_merge_of_whole_trees_and_only_with_whom_they_meet() {
    let [old, new] = moved("src/a.rs", "lib/a.rs");
    let mover = || vec![old.clone(), new.clone()];
    for (name, other, asks) in [
        ("edits what was moved", edit("src/a.rs", 3, 10), true),
        ("adds where it was moved to", added("lib/a.rs", 10), true),
        ("adds to the folder it was moved out of", added("src/deep/new.rs", 10), true),
        ("edits beside it", edit("src/b.rs", 3, 10), false),
        ("adds elsewhere", added("doc/new.md", 10), false),
        ("has a folder of that name", added("lib/a.rs/inner.rs", 10), true),
    ] {
        let asked = index([change_set(0, mover()), change_set(1, vec![other])]).questions();
        let trees = asked.iter().all(|question| matches!(question, Question::Trees { base: Base::Target(_), .. }));
        assert!(trees && asked.len() == usize::from(asks), "{name}: {asked:?}");
    }
    let clash = two([added("x", 10)], [added("x/y", 11)]).questions();
    assert!(matches!(clash[..], [Question::Trees { .. }]), "a file meets a folder: {clash:?}");
    let [_, elsewhere] = moved("src/a.rs", "other/a.rs");
    assert_eq!(two(mover(), [old.clone(), elsewhere]).questions().len(), 1, "both moved it, to two places");
    assert!(two(mover(), mover()).questions().is_empty(), "both moved it to one place");
    let deleted = two([gone("a.rs")], [edit("a.rs", 3, 10)]).questions();
    assert!(matches!(deleted[..], [Question::Files { .. }]), "{deleted:?}");
    let perhaps_moved = two([gone("a.rs"), added("b.rs", 12)], [edit("a.rs", 3, 10)]).questions();
    assert!(matches!(perhaps_moved[..], [Question::Trees { .. }]), "{perhaps_moved:?}");
}

fn defines(file: FileChange, name: &str, change: SymbolEdit) -> FileChange {
    let symbol = SymbolChange { name: name.to_owned(), container: String::new(), kind: "function".to_owned(), change };
    FileChange { symbols: vec![symbol], ..file }
}

fn uses(file: FileChange, name: &str) -> FileChange {
    FileChange { uses: vec![name.to_owned()], ..file }
}

#[test]
fn each_way_to_break_a_symbol_is_told_apart_and_asked_for_in_order() {
    use SymbolEdit::{Added, Body, Removed, Signature};
    let (a, b, c) = (|| edit("a.rs", 3, 10), || edit("b.rs", 3, 11), || edit("a.rs", 30, 12));
    let mut asked = Vec::new();
    for (name, x, y, how) in [
        ("removed", defines(a(), "f", Removed), uses(b(), "f"), Some(SymbolClash::GoneOrOther)),
        ("other signature", defines(a(), "f", Signature), uses(b(), "f"), Some(SymbolClash::GoneOrOther)),
        ("both added", defines(a(), "f", Added), defines(c(), "f", Added), Some(SymbolClash::BothAdded)),
        ("both changed", defines(a(), "f", Body), defines(c(), "f", Body), Some(SymbolClash::BothChanged)),
        ("its caller", defines(a(), "f", Body), uses(b(), "f"), Some(SymbolClash::CallerChanged)),
        ("one name in two files", defines(a(), "f", Added), defines(b(), "f", Added), None),
        ("another language", defines(a(), "f", Removed), uses(edit("b.py", 3, 11), "f"), None),
        ("a definition of its own", defines(a(), "f", Removed), uses(defines(b(), "f", Added), "f"), None),
    ] {
        for (x, y) in [(&x, &y), (&y, &x)] {
            let index = two([x.clone()], [y.clone()]);
            let found = index.findings().into_iter().find(|finding| finding.level == Level::Symbol);
            let expected = how.map(|how| Kind::Symbol { name: "f".to_owned(), how });
            assert_eq!(found.map(|finding| finding.kind), expected, "{name}");
            let questions = index.questions();
            let why = how.map(|how| Why::Symbol { how, name: "f".to_owned() });
            let checked = questions.iter().map(|question| match question {
                Question::Check { why, .. } => why.clone(),
                other => panic!("{name}: {other:?}"),
            });
            assert_eq!(checked.collect::<Vec<_>>(), why.into_iter().collect::<Vec<_>>(), "{name}");
            asked.extend(how);
        }
    }
    assert!(asked.is_sorted(), "the list above is in the order of need");
    let sets = [
        defines(a(), "f", Body),
        uses(b(), "f"),
        defines(edit("c.rs", 3, 13), "g", Removed),
        uses(edit("d.rs", 3, 14), "g"),
    ];
    let order = index(sets.into_iter().enumerate().map(|(nr, file)| change_set(nr, vec![file]))).questions();
    assert!(
        matches!(&order[0], Question::Check { why: Why::Symbol { how: SymbolClash::GoneOrOther, .. }, .. }),
        "{order:?}"
    );
}

#[test]
fn a_check_is_asked_only_of_settled_trees_that_merge_and_its_verdict_is_what_counts() {
    let (x, y) = (|| defines(edit("a.rs", 3, 10), "f", SymbolEdit::Removed), || uses(edit("b.rs", 3, 11), "f"));
    let set = |nr, file, rest| ChangeSet { rest, ..change_set(nr, vec![file]) };
    let writing = index([set(0, x(), Rest::InFlux), set(1, y(), Rest::Settled)]);
    assert_eq!((writing.questions().len(), levels(&writing)), (0, vec![1]));
    let mut settled = index([set(0, x(), Rest::Settled), set(1, y(), Rest::Settled)]);
    let asked = settled.questions();
    settled.answer(&asked[0], Answer::Clean);
    assert!(settled.findings().is_empty(), "it compiles");
    let fails = Answer::Fails { check: "types".to_owned(), findings: vec!["no f".to_owned()], excerpt: String::new() };
    settled.answer(&asked[0], fails);
    let found = settled.findings();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].level, found[0].excerpt.as_str()), (Level::Broken, "no f"));
    assert_eq!(found[0].kind, Kind::Check("types".to_owned()));
    settled.put(key(0), Some(set(0, defines(edit("a.rs", 3, 12), "f", SymbolEdit::Removed), Rest::InFlux)));
    assert_eq!(levels(&settled), [3], "typing on does not mend it");
    settled.put(key(0), Some(set(0, edit("a.rs", 3, 1), Rest::Settled)));
    assert!(settled.findings().is_empty(), "the reason is gone");
    let mut clash = two([x()], [uses(edit("a.rs", 4, 11), "f")]);
    assert!(matches!(clash.questions()[..], [Question::Files { .. }]), "merges first");
    answer_all(&mut clash, &conflict("a.rs"));
    assert!(clash.questions().is_empty(), "what does not merge cannot be built");
    assert_eq!(levels(&clash), [2], "and one conflict is one finding");
}

#[test]
fn what_a_check_has_cleared_is_not_brought_up_again_while_the_next_one_is_due() {
    let x = |to| defines(edit("a.rs", 3, to), "f", SymbolEdit::Removed);
    let mut index = two([x(10)], [uses(edit("b.rs", 3, 11), "f")]);
    answer_all(&mut index, &Answer::Clean);
    index.put(key(0), Some(change_set(0, vec![x(12)])));
    assert_eq!(index.questions().len(), 1);
    assert!(index.findings().is_empty(), "{:?}", index.findings());
    let other = defines(edit("c.rs", 3, 15), "g", SymbolEdit::Removed);
    index.put(key(0), Some(change_set(0, vec![x(12), other])));
    index.put(key(1), Some(change_set(1, vec![uses(edit("b.rs", 3, 11), "f"), uses(edit("d.rs", 3, 11), "g")])));
    let found: Vec<Kind> = index.findings().into_iter().map(|finding| finding.kind).collect();
    assert_eq!(found, [Kind::Symbol { name: "g".to_owned(), how: SymbolClash::GoneOrOther }]);
}

#[test]
fn a_conflict_stays_while_it_is_typed_on_and_goes_when_it_is_resolved() {
    let mut index = two([edit("a.rs", 3, 10)], [edit("a.rs", 4, 11)]);
    answer_all(&mut index, &conflict("a.rs"));
    let id = worst(&index).id;
    index.put(key(0), Some(change_set(0, vec![edit("a.rs", 3, 12)])));
    assert_eq!((index.questions().len(), worst(&index).id), (1, id));
    answer_all(&mut index, &Answer::Clean);
    assert_eq!(levels(&index), [0]);
    index.put(key(0), Some(change_set(0, vec![edit("a.rs", 9, 13)])));
    assert_eq!((index.questions().len(), levels(&index)), (0, vec![0]));
}

#[test]
fn something_is_open_between_two_until_git_has_said_how_they_merge() {
    let mut index = two([edit("a.rs", 3, 20)], [edit("a.rs", 3, 21)]);
    let sides = worst(&index).sides;
    let other = [sides[0].clone(), crate::git::key(7)];
    assert!(index.is_open_between(&sides) && !index.is_open_between(&other));
    answer_all(&mut index, &Answer::Unanswerable("contents are not here".to_owned()));
    assert!(index.is_open_between(&sides), "it may be said later");
    index.ask_again();
    answer_all(&mut index, &conflict("a.rs"));
    assert!(!index.is_open_between(&sides));
    let mut index = two([edit("a.rs", 3, 20)], [edit("b.rs", 3, 21)]);
    assert!(!index.is_open_between(&sides), "they do not meet");
    index.put(sides[0].clone(), None);
    assert!(!index.is_open_between(&sides));
}

#[test]
fn what_cannot_be_answered_is_no_alert_and_asked_again_only_on_request() {
    let mut index = two([edit("a.rs", 3, 10)], [edit("a.rs", 4, 11)]);
    answer_all(&mut index, &Answer::Unanswerable("host is not reachable".to_owned()));
    assert!(index.questions().is_empty());
    let found = worst(&index);
    assert_eq!((found.level, found.excerpt.as_str()), (Level::Shared, "host is not reachable"));
    index.ask_again();
    assert_eq!(index.questions().len(), 1);
}

#[test]
fn who_is_about_to_land_raises_a_conflict_and_two_of_them_are_always_merged_and_checked() {
    let mut index = two([edit("a.rs", 3, 10)], [edit("a.rs", 4, 11)]);
    answer_all(&mut index, &conflict("a.rs"));
    index.stand(&key(1), Standing::Queued(7));
    assert_eq!((levels(&index), worst(&index).yields), (vec![3], Some((0, Because::Uncommitted))));
    let mut strangers = two([edit("a.rs", 3, 10)], [edit("b.rs", 3, 11)]);
    assert!(strangers.questions().is_empty());
    strangers.stand(&key(0), Standing::Queued(8));
    strangers.stand(&key(1), Standing::Queued(7));
    assert!(matches!(strangers.questions()[..], [Question::Trees { .. }]));
    answer_all(&mut strangers, &Answer::Clean);
    assert!(matches!(strangers.questions()[..], [Question::Check { why: Why::Landing, .. }]));
    answer_all(
        &mut strangers,
        &Answer::Fails { check: "c".into(), findings: vec!["f".into()], excerpt: String::new() },
    );
    assert_eq!(worst(&strangers).yields, Some((0, Because::Later)), "the later one leaves the queue");
}

#[test]
fn the_uncommitted_the_smaller_and_the_dependent_give_way_in_this_order() {
    let yields = |a: ChangeSet, b: ChangeSet| {
        let mut index = index([a, b]);
        answer_all(&mut index, &conflict("a.rs"));
        worst(&index).yields
    };
    let set = |nr, extra: &[FileChange]| {
        let touching = edit("a.rs", 3, 10 + u32::try_from(nr).expect("small"));
        change_set(nr, [&[touching], extra].concat())
    };
    let committed = |set| ChangeSet { committed: true, ..set };
    let more = [edit("b.rs", 3, 20)];
    assert_eq!(yields(committed(set(0, &[])), set(1, &more)), Some((1, Because::Uncommitted)));
    assert_eq!(yields(set(0, &more), set(1, &[])), Some((1, Because::Smaller)));
    let defined = [defines(edit("c.rs", 3, 20), "f", SymbolEdit::Signature)];
    assert_eq!(yields(set(0, &[uses(edit("d.rs", 3, 21), "f")]), set(1, &defined)), Some((0, Because::Dependent)));
    let long = [FileChange { ranges: vec![Lines { start: 3, count: 90 }], ..edit("b.rs", 3, 20) }];
    assert_eq!(yields(set(0, &long), set(1, &[edit("e.rs", 3, 20)])), Some((1, Because::Smaller)));
    assert_eq!(yields(set(0, &[]), set(1, &[])), None);
}

#[test]
fn sweeps_are_many_paths_or_nothing_but_layout() {
    let files = |count: u32| (0..count).map(|at| edit(&format!("f{at}.rs"), 3, at + 10)).collect::<Vec<_>>();
    let layout = |file: FileChange| FileChange { layout_only: true, ..file };
    assert!(!is_sweep(&change_set(0, files(50))) && is_sweep(&change_set(0, files(51))));
    assert!(is_sweep(&ChangeSet { left_out: 1, ..change_set(0, files(50)) }));
    assert!(is_sweep(&change_set(0, files(3).into_iter().map(layout).collect())));
    assert!(!is_sweep(&change_set(0, vec![layout(edit("a.rs", 1, 10)), edit("b.rs", 1, 10)])));
    assert!(!is_sweep(&change_set(0, vec![])));
}

#[test]
fn what_few_share_is_asked_and_told_before_what_many_do() {
    let sets = [("hot.rs", 10), ("hot.rs", 11), ("hot.rs", 12), ("rare.rs", 13), ("rare.rs", 14)];
    let mut index = index(sets.iter().enumerate().map(|(nr, (path, to))| change_set(nr, vec![edit(path, 3, *to)])));
    let rare = |question: &Question| matches!(question, Question::Files { path, .. } if *path == "rare.rs".into());
    assert_eq!(index.questions().iter().position(rare), Some(0));
    for question in index.questions() {
        let path = if rare(&question) { "rare.rs" } else { "hot.rs" };
        index.answer(&question, conflict(path));
    }
    assert_eq!(worst(&index).paths, ["rare.rs".into()]);
}
