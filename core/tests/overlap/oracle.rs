//! B1 and B2: what the index finds is what git finds, and how little it asks for that.

use rr_core::overlap::{Index, Options};

use crate::dice::Dice;
use crate::git::{Git, key};
use crate::judge::{Score, told};
use crate::world::World;

fn put_all(index: &mut Index, git: &Git, order: &[usize]) {
    for nr in order {
        index.put(key(*nr), Some(git.change_set(*nr)));
    }
}

fn run(seed: u64, world: &World, score: &mut Score) {
    let git = Git::of(world);
    let sides = world.sides.len();
    let mut order: Vec<usize> = (0..sides).collect();
    Dice::new(seed).shuffle(&mut order);
    let mut index = Index::new(Options::default());
    put_all(&mut index, &git, &order);
    git.answer_all(&mut index);
    score.add(seed, &told(&index.findings(), sides), &git.truth(), sides, git.merges.get());
}

#[test]
fn every_conflict_of_git_is_found_and_nothing_else_is_told() {
    let mut score = Score::default();
    for seed in 0..60 {
        run(seed, &World::crowded(seed), &mut score);
    }
    println!("crowded: {score:?}");
    score.exact().expect("precision and recall 1.00");
}

#[test]
fn sixteen_agents_cost_a_tenth_of_the_merges_of_all_pairs() {
    let mut score = Score::default();
    for seed in 0..6 {
        run(seed, &World::realistic(seed, 16), &mut score);
    }
    println!("realistic: {score:?}");
    score.exact().expect("precision and recall 1.00");
    score.frugal().expect("at most a tenth");
}
