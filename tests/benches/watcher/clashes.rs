//! Fleets in each other's way: a repository in which every side works on files of its own, and some pairs, drawn at random, on one
//! file together. Most of those conflict, in each way that two can; some only seem to.

use crate::dice::Dice;
use crate::world::{TEXT, Tree, World, edit_text, text};

/// One pair in so many has a file together.
const PAIRS_A_CLASH: usize = 20;

#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) sides: usize,
    /// Files of the repository.
    pub(crate) files: usize,
    /// Files that each side edits.
    pub(crate) edits: usize,
}

/// What two do to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    SameLine,
    NextLine,
    SamePlace,
    BothAdd,
    EditDeleted,
    /// An unchanged line stands between them: git merges it.
    LineBetween,
}

const WAYS: [Way; 6] = [Way::SameLine, Way::NextLine, Way::SamePlace, Way::BothAdd, Way::EditDeleted, Way::LineBetween];

pub(crate) fn fleet(seed: u64, size: Size) -> World {
    let dice = &mut Dice::new(seed + 500);
    let path = |at: usize| format!("crate{}/src/mod{at}.rs", at % 12);
    let mut content = || {
        let lines = 60 + dice.below(200);
        text(dice, lines)
    };
    let base: Tree = (0..size.files).map(|at| (path(at), (TEXT, content()))).collect();
    let mut world = World { sides: vec![base.clone(); size.sides], base };
    // Nobody meets anybody in these: each side has its own of the files, as many as it needs.
    let mut all: Vec<String> = world.base.keys().cloned().collect();
    dice.shuffle(&mut all);
    for side in &mut world.sides {
        for path in all.split_off(all.len() - size.edits) {
            let (_, content) = side.get_mut(&path).expect("it is there");
            *content = edit_text(dice, content);
        }
    }
    let pairs = size.sides * (size.sides - 1) / 2;
    for nr in 0..pairs.div_ceil(PAIRS_A_CLASH) {
        let first = dice.below(size.sides);
        let second = (first + 1 + dice.below(size.sides - 1)) % size.sides;
        let path = all.pop().expect("there are enough files");
        let way = WAYS[nr % WAYS.len()];
        clash(dice, &mut world, (first, second), &path, way);
    }
    world
}

fn clash(dice: &mut Dice, world: &mut World, (a, b): (usize, usize), path: &str, way: Way) {
    let before = world.base[path].1.clone();
    let lines = before.split_inclusive(|byte| *byte == b'\n').count();
    let at = 10 + dice.below(lines - 20);
    let put = |world: &mut World, nr: usize, path: &str, content: Vec<u8>| {
        world.sides[nr].insert(path.to_owned(), (TEXT, content));
    };
    let ours = changed(dice, &before, at, usize::from(way != Way::SamePlace));
    match way {
        Way::SameLine | Way::NextLine | Way::LineBetween => {
            let further = [Way::SameLine, Way::NextLine, Way::LineBetween].iter().position(|other| *other == way);
            let theirs = changed(dice, &before, at + further.expect("one of them"), 1);
            put(world, a, path, ours);
            put(world, b, path, theirs);
        }
        Way::SamePlace => {
            let theirs = changed(dice, &before, at, 0);
            put(world, a, path, ours);
            put(world, b, path, theirs);
        }
        Way::BothAdd => {
            let new = path.replace("/mod", "/both");
            put(world, a, &new, ours);
            put(world, b, &new, text(dice, 30));
        }
        Way::EditDeleted => {
            put(world, a, path, ours);
            world.sides[b].remove(path);
        }
    }
}

/// With one new line, in the place of `out` others.
fn changed(dice: &mut Dice, content: &[u8], at: usize, out: usize) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let new = format!("    let way{} = g();\n", dice.below(1_000_000)).into_bytes();
    lines.splice(at..at + out, [new]);
    lines.concat()
}
