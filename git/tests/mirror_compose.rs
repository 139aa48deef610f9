//! Trees made of some edits, and of all works that go together, hold what real commits and merges of the same hold.

mod clones;

use clones::{Place, place};
use rr_core::id::ObjectId;
use rr_core::live::FileChange;
use rr_git::Union;

fn tree_of(place: &Place, rev: &str) -> ObjectId {
    ObjectId::parse(&place.git(&["rev-parse", &format!("{rev}^{{tree}}")])).expect("an id")
}

/// Commits on a branch of its own that starts at main, and is back on main. The tree there.
fn branch(place: &Place, name: &str, files: &[(&str, Option<&str>)]) -> ObjectId {
    place.git(&["switch", "-q", "-c", name, "main"]);
    for (path, text) in files {
        match text {
            Some(text) => place.write(path, *text),
            None => drop(place.git(&["rm", "-q", "-r", path])),
        }
    }
    place.commit(name);
    let tree = tree_of(place, "HEAD");
    place.git(&["switch", "-q", "main"]);
    tree
}

fn started() -> Place {
    let place = place();
    place.write("a.txt", "a\n");
    place.write("b.txt", "b\n");
    place.write("folder/c.txt", "c\n");
    place.commit("first");
    place.git(&["branch", "-M", "main"]);
    place
}

#[test]
fn a_tree_with_some_edits_has_those_and_the_base_in_all_else() {
    let place = started();
    let base = tree_of(&place, "main");
    let all = [("a.txt", Some("changed\n")), ("b.txt", None), ("folder", None), ("folder", Some("now a file\n"))];
    let whole = branch(&place, "whole", &all);
    let edits = place.mirror.edits(&base, &whole).expect("compared");
    let names: Vec<String> = edits.iter().map(|edit| edit.path.to_string()).collect();
    assert_eq!(names, ["a.txt", "b.txt", "folder", "folder/c.txt"]);
    let every: Vec<&FileChange> = edits.iter().collect();
    assert_eq!(place.mirror.with_edits(&base, &every).expect("made"), whole, "a folder that became a file");
    assert_eq!(place.mirror.with_edits(&base, &[]).expect("made"), base);
    let some = branch(&place, "some", &all[1..2]);
    assert_eq!(place.mirror.with_edits(&base, &every[1..2]).expect("made"), some);
    let back = place.mirror.edits(&whole, &base).expect("compared");
    let back: Vec<&FileChange> = back.iter().collect();
    assert_eq!(place.mirror.with_edits(&whole, &back).expect("made"), base, "a file that became a folder");
}

#[test]
fn the_union_has_all_that_go_together_and_the_earlier_of_two_that_do_not() {
    let place = started();
    let base = tree_of(&place, "main");
    let trees = [
        branch(&place, "one", &[("a.txt", Some("one\n"))]),
        branch(&place, "two", &[("new.txt", Some("two\n"))]),
        branch(&place, "three", &[("a.txt", Some("three\n"))]),
        branch(&place, "four", &[("b.txt", Some("four\n"))]),
        branch(&place, "five", &[("folder/c.txt", Some("five\n"))]),
    ];
    place.git(&["switch", "-q", "-c", "by-git", "main"]);
    place.git(&["merge", "-q", "-m", "all but three", "one", "two", "four", "five"]);
    let union = place.mirror.union(&base, &trees).expect("merged");
    let expected = Union { tree: tree_of(&place, "by-git"), members: vec![0, 1, 3, 4], missing: vec![] };
    assert_eq!(union, expected);
    // What stands in the way of a whole group leaves the rest of its own group in.
    let order = [0, 1, 3, 2].map(|at: usize| trees[at].clone());
    assert_eq!(place.mirror.union(&base, &order).expect("merged").members, [0, 1, 2]);
    let order = [0, 1, 2, 3].map(|at: usize| trees[at].clone());
    assert_eq!(place.mirror.union(&base, &order).expect("merged").members, [0, 1, 3]);
}

#[test]
fn none_and_one_are_themselves_and_what_is_not_here_is_said() {
    let place = started();
    let base = tree_of(&place, "main");
    let one = branch(&place, "one", &[("a.txt", Some("one\n"))]);
    let union = |trees: &[ObjectId]| place.mirror.union(&base, trees).expect("merged");
    assert_eq!(union(&[]), Union { tree: base.clone(), members: vec![], missing: vec![] });
    let away = ObjectId::parse(&"d".repeat(40)).expect("an id");
    assert_eq!(union(&[away, one.clone()]), Union { tree: one.clone(), members: vec![1], missing: vec![0] });
}
