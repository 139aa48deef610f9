//! The overlap index against git itself: what it finds must be what `git merge-tree` finds for the same trees, with a tenth of
//! the merges, told once. `git` makes worlds and answers questions, `judge` keeps score, `pure` needs no git at all.

#[path = "overlap/cases.rs"]
mod cases;
#[path = "overlap/dice.rs"]
mod dice;
#[path = "overlap/git.rs"]
mod git;
#[path = "overlap/judge.rs"]
mod judge;
#[path = "overlap/noise.rs"]
mod noise;
#[path = "overlap/oracle.rs"]
mod oracle;
#[path = "overlap/pure.rs"]
mod pure;
#[path = "overlap/world.rs"]
mod world;
