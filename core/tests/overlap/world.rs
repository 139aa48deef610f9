//! A repository at one commit, and what several sides make of it: files in memory, edited at random. Lines repeat as they do in
//! programs (braces, blanks, returns), so that diffs have something to slide on.

use std::collections::BTreeMap;

use crate::dice::Dice;

pub(crate) const TEXT: u32 = 0o100_644;
pub(crate) const EXEC: u32 = 0o100_755;
pub(crate) const LINK: u32 = 0o120_000;

pub(crate) type Tree = BTreeMap<String, (u32, Vec<u8>)>;

pub(crate) struct World {
    pub(crate) base: Tree,
    pub(crate) sides: Vec<Tree>,
}

pub(crate) fn text(dice: &mut Dice, lines: usize) -> Vec<u8> {
    (0..lines).flat_map(|_| line(dice)).collect()
}

fn line(dice: &mut Dice) -> Vec<u8> {
    let common = ["}\n", "\n", "    return x;\n", "    }\n", "{\n"];
    if dice.one_in(3) {
        dice.pick(&common).as_bytes().to_vec()
    } else {
        format!("    let v{} = f();\n", dice.below(100_000)).into_bytes()
    }
}

fn lines(content: &[u8]) -> Vec<Vec<u8>> {
    content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// One place of a text: lines replaced, put in, taken out, or its last newline gone.
pub(crate) fn edit_text(dice: &mut Dice, content: &[u8]) -> Vec<u8> {
    let mut all = lines(content);
    let at = dice.below(all.len() + 1);
    let out = dice.below(4).min(all.len() - at);
    let new: Vec<Vec<u8>> = (0..dice.below(4)).map(|_| line(dice)).collect();
    all.splice(at..at + out, new);
    let mut text = all.concat();
    if dice.one_in(40) && text.last() == Some(&b'\n') {
        text.pop();
    }
    text
}

impl World {
    /// Few files, many sides in each other's way, everything that git can be asked to merge.
    pub(crate) fn crowded(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let mut base = Tree::new();
        for at in 0..10 {
            let length = 8 + dice.below(40);
            base.insert(format!("{}/f{at}.rs", ["src", "src/in", "lib"][at % 3]), (TEXT, text(dice, length)));
        }
        base.insert("logo.png".to_owned(), (TEXT, vec![0, 1, 2, 0, 255]));
        base.insert("run.sh".to_owned(), (EXEC, b"#!/bin/sh\nexit 0\n".to_vec()));
        base.insert("here".to_owned(), (LINK, b"src/f0.rs".to_vec()));
        let count = 2 + dice.below(5);
        let mut sides: Vec<Tree> = Vec::new();
        for _ in 0..count {
            let copied = (!sides.is_empty() && dice.one_in(6)).then(|| dice.pick(&sides).clone());
            let mut side = copied.unwrap_or_else(|| base.clone());
            for _ in 0..1 + dice.below(5) {
                anything(dice, &mut side);
            }
            sides.push(side);
        }
        Self { base, sides }
    }

    /// Some files that all sides work on, and nothing changed yet.
    pub(crate) fn shared(seed: u64, count: usize) -> Self {
        let dice = &mut Dice::new(seed);
        let base: Tree = (0..10).map(|at| (format!("src/f{at}.rs"), (TEXT, text(dice, 80)))).collect();
        Self { sides: vec![base.clone(); count], base }
    }

    /// A repository of 400 files in which each side works on a handful, as measured fleets do: about one pair in ten shares a path.
    pub(crate) fn realistic(seed: u64, count: usize) -> Self {
        let dice = &mut Dice::new(seed);
        let mut base = Tree::new();
        for at in 0..400 {
            let length = 60 + dice.below(200);
            base.insert(format!("crate{}/src/mod{at}.rs", at % 12), (TEXT, text(dice, length)));
        }
        let paths: Vec<String> = base.keys().cloned().collect();
        let mut sides = vec![base.clone(); count];
        for (nr, side) in sides.iter_mut().enumerate() {
            for _ in 0..2 + dice.below(6) {
                // A little more often in the first files of the repository than in the last.
                let end = 1 + dice.below(paths.len());
                let path = &paths[dice.below(end)];
                for _ in 0..1 + dice.below(3) {
                    let (mode, content) = side[path].clone();
                    side.insert(path.clone(), (mode, edit_text(dice, &content)));
                }
            }
            if dice.one_in(2) {
                side.insert(format!("crate{}/src/new{nr}.rs", dice.below(12)), (TEXT, text(dice, 40)));
            }
            if dice.one_in(8) {
                let old = dice.pick(&paths).clone();
                let moved = side.remove(&old).expect("it is there");
                side.insert(old.replace("/mod", "/renamed"), moved);
            }
        }
        Self { base, sides }
    }
}

/// One thing that an agent may do to its work tree.
pub(crate) fn anything(dice: &mut Dice, tree: &mut Tree) {
    let paths: Vec<String> = tree.keys().cloned().collect();
    let path = dice.pick(&paths).clone();
    let (mode, content) = tree[&path].clone();
    match dice.below(14) {
        0 => drop(tree.remove(&path)),
        1 => {
            let new = format!("src/new{}.rs", dice.below(3));
            put(tree, new, (TEXT, text(dice, 5)));
        }
        2 => {
            tree.remove(&path);
            let to = format!("{}/moved{}.rs", dice.pick(&["src", "lib", "other"]), dice.below(4));
            let content = if dice.one_in(2) { edit(dice, mode, &content) } else { content };
            put(tree, to, (mode, content));
        }
        3 => {
            let (from, to) = (*dice.pick(&["src/in", "lib", "src"]), *dice.pick(&["src/out", "pkg", "deep/lib"]));
            move_folder(tree, from, to);
        }
        4 if mode != LINK => drop(tree.insert(path, (if mode == TEXT { EXEC } else { TEXT }, content))),
        5 => drop(tree.insert(path, (LINK, format!("to{}", dice.below(3)).into_bytes()))),
        6 => {
            // A file where others have, or make, a folder; and the other way round.
            let (file, below) = (format!("slot{}", dice.below(2)), dice.one_in(2));
            put(tree, if below { format!("{file}/inner.rs") } else { file }, (TEXT, text(dice, 3)));
        }
        _ => drop(tree.insert(path, (mode, edit(dice, mode, &content)))),
    }
}

fn edit(dice: &mut Dice, mode: u32, content: &[u8]) -> Vec<u8> {
    match mode {
        LINK => format!("to{}", dice.below(3)).into_bytes(),
        _ if content.contains(&0) => vec![0, u8::try_from(dice.below(3)).expect("small"), 0],
        _ => edit_text(dice, content),
    }
}

/// As a work tree would have it: nothing is both a file and a folder.
fn put(tree: &mut Tree, path: String, entry: (u32, Vec<u8>)) {
    let below = format!("{path}/");
    tree.retain(|other, _| !other.starts_with(&below) && !path.starts_with(&format!("{other}/")));
    tree.insert(path, entry);
}

fn move_folder(tree: &mut Tree, from: &str, to: &str) {
    let below = format!("{from}/");
    let moved: Vec<String> = tree.keys().filter(|path| path.starts_with(&below)).cloned().collect();
    for path in moved {
        let entry = tree.remove(&path).expect("it is there");
        put(tree, format!("{to}/{}", &path[below.len()..]), entry);
    }
}
