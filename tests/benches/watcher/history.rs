//! A made-up repository with a long history: merge commits whose parents edited the same tree, half of them the same line, and
//! branches that were never merged. Written with one `git fast-import`, so that thousands of commits cost seconds.

use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::stage::{git, git_output};
use crate::world::{TEXT, Tree, World, anything, edit_text};

/// Branches that stay beside one another at the end.
const HEADS: usize = 12;

/// A repository below `room` with so many merge commits.
pub(crate) fn made(room: &Path, merges: usize) -> PathBuf {
    let repo = room.join("made");
    std::fs::create_dir(&repo).expect("make a folder");
    git(&repo, &["init", "-q", "-b", "main"]);
    let mut history = History::default();
    let dice = &mut Dice::new(1_000);
    let mut tree = World::shared(1, 0).base;
    let mut tip = history.commit("main", &[], &Tree::new(), &tree);
    for _ in 0..merges {
        let sides = two_sides(dice, &tree);
        let [ours, theirs] = [("main", &sides[0]), ("side", &sides[1])]
            .map(|(branch, side)| history.commit(branch, &[tip], &tree, side));
        // As if whoever merged had kept one side: what stands in the merge is not looked at.
        tip = history.commit("main", &[ours, theirs], &sides[0], &sides[0]);
        tree = sides.into_iter().next().expect("two");
    }
    for head in 0..HEADS {
        let mut side = tree.clone();
        edit(dice, &mut side);
        history.commit(&format!("head{head}"), &[tip], &tree, &side);
    }
    // What has been merged is no branch any more.
    let done = git_output(&repo, &["fast-import", "--quiet"], &[], &history.stream);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    git(&repo, &["branch", "-q", "-D", "side"]);
    repo
}

/// What two make of one tree: every second time both change one line, each in another way.
fn two_sides(dice: &mut Dice, tree: &Tree) -> [Tree; 2] {
    let mut sides = [tree.clone(), tree.clone()];
    sides.iter_mut().for_each(|side| edit(dice, side));
    if dice.one_in(2) {
        let texts: Vec<&String> = tree.iter().filter(|(_, (mode, _))| *mode == TEXT).map(|(path, _)| path).collect();
        let path = (*dice.pick(&texts)).clone();
        for side in &mut sides {
            let text = String::from_utf8_lossy(&tree[&path].1).into_owned();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let at = lines.len() / 2;
            lines.insert(at, format!("    let way = {};", dice.below(1_000_000)));
            side.insert(path.clone(), (TEXT, (lines.join("\n") + "\n").into_bytes()));
        }
    }
    sides
}

fn edit(dice: &mut Dice, tree: &mut Tree) {
    let paths: Vec<String> = tree.keys().filter(|path| tree[*path].0 == TEXT).cloned().collect();
    for _ in 0..1 + dice.below(3) {
        let (_, content) = tree.get_mut(dice.pick(&paths)).expect("it is there");
        *content = edit_text(dice, content);
    }
    if dice.one_in(6) {
        anything(dice, tree);
    }
    // It never runs out of files.
    let name = format!("src/n{}.rs", dice.below(1_000_000));
    if tree.len() < 8 {
        tree.insert(name, (TEXT, crate::world::text(dice, 40)));
    }
}

/// A `git fast-import` stream; commits are known by their marks.
#[derive(Default)]
struct History {
    stream: Vec<u8>,
    marks: usize,
}

impl History {
    fn commit(&mut self, branch: &str, parents: &[usize], before: &Tree, after: &Tree) -> usize {
        self.marks += 1;
        let mark = self.marks;
        self.say(&format!(
            "commit refs/heads/{branch}\nmark :{mark}\ncommitter bench <bench@example.org> {mark} +0000\n"
        ));
        self.say("data 4\nwork\n");
        for (word, parent) in ["from", "merge"].into_iter().zip(parents) {
            self.say(&format!("{word} :{parent}\n"));
        }
        // First what goes: a folder may come where a file was.
        for path in before.keys().filter(|path| !after.contains_key(*path)) {
            self.say(&format!("D {path}\n"));
        }
        for (path, (mode, content)) in after.iter().filter(|(path, entry)| before.get(*path) != Some(entry)) {
            self.say(&format!("M {mode:o} inline {path}\ndata {}\n", content.len()));
            self.stream.extend(content);
            self.say("\n");
        }
        mark
    }

    fn say(&mut self, text: &str) {
        self.stream.extend(text.as_bytes());
    }
}
