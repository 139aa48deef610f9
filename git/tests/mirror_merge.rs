//! What two work trees do to each other is told as git's own merge of two real commits tells it.

mod clones;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clones::{Chance, Place, discover, git, git_output, key, place, write};
use rr_core::id::{CommitId, ObjectId};
use rr_core::live::{FileChange, GitPath, Lines, Onto, Target};
use rr_git::{Changes, Look, Looked, MERGE_EXCERPT_MAX, Merged};

fn numbered(lines: std::ops::Range<u32>) -> String {
    lines.map(|n| format!("line {n}\n")).collect()
}

fn started() -> Place {
    let place = place();
    place.write("a.txt", numbered(0..30));
    place.write("b.txt", numbered(0..10));
    place.commit("first");
    place
}

fn target(place: &Place) -> Target {
    place.mirror.target(&place.tree, None).expect("asked").expect("a target").0
}

fn told(place: &Place, look: &Look) -> Changes {
    place.mirror.changes(look, Some(&target(place))).expect("told")
}

fn names(files: &[FileChange]) -> Vec<String> {
    files.iter().map(|file| file.path.to_string()).collect()
}

fn tree_of(place: &Place, rev: &str) -> ObjectId {
    ObjectId::parse(&place.git(&["rev-parse", &format!("{rev}^{{tree}}")])).expect("an id")
}

/// Two agents' work trees beside the main one.
fn two(place: &Place) -> [rr_git::Worktree; 2] {
    ["one", "two"].map(|name| {
        let dir = place.room.path().join(name);
        place.git(&["worktree", "add", "-q", "-b", name, dir.to_str().expect("text")]);
        discover(&dir)
    })
}

#[test]
fn changes_are_counted_from_the_target_as_it_stands_now() {
    let place = started();
    let [one, _] = two(&place);
    let text = numbered(0..30).replace("line 20\n", "mine\n");
    write(&one.root, "a.txt", &text);
    write(&one.root, "new.txt", "new\n");
    place.write("a.txt", format!("top\n{}", numbered(0..30)));
    place.write("b.txt", "other\n");
    let moved = place.commit("the target moves");
    let look = place.look_at(&one);
    let changes = told(&place, &look);
    assert!(matches!(&changes.onto, Onto::Clean(tree) if *tree != look.tree), "{:?}", changes.onto);
    assert_eq!(target(&place), Target { branch: "main".into(), commit: CommitId::parse(&moved).expect("an id") });
    assert_eq!(names(&changes.files), ["a.txt", "new.txt"]);
    // One line below where it was edited.
    assert_eq!(changes.files[0].ranges, [Lines { start: 21, count: 1 }]);
    assert_eq!(told(&place, &look), changes, "and again, from memory");
    place.write("a.txt", numbered(0..30).replace("line 20\n", "theirs\n"));
    place.commit("and is in the way");
    let stale = told(&place, &look);
    assert_eq!(stale.onto, Onto::Stale(vec![GitPath::from("a.txt")]));
    assert_eq!((names(&stale.files), stale.files[0].ranges[0].start), (vec!["a.txt".into(), "new.txt".into()], 20));
    let alone = place.mirror.changes(&look, None).expect("told");
    assert_eq!((alone.onto, names(&alone.files).len()), (Onto::Alone, 2));
}

#[test]
fn histories_with_nothing_in_common_or_none_stand_alone() {
    let place = started();
    place.git(&["checkout", "-q", "--orphan", "other"]);
    let unborn = place.look();
    assert_eq!(told(&place, &unborn).onto, Onto::Alone);
    assert_eq!(told(&place, &unborn).files.len(), 2);
    place.git(&["commit", "-qm", "other"]);
    place.write("a.txt", "x\n");
    let look = place.look();
    assert_eq!((told(&place, &look).onto, names(&told(&place, &look).files)), (Onto::Alone, vec!["a.txt".to_owned()]));
}

#[test]
fn renames_modes_links_and_what_is_no_text_are_told_as_such() {
    let place = started();
    place.write("data.bin", b"a\0b\n");
    place.write("locked.txt", "one\ntwo\nthree\n");
    place.write(".gitattributes", "locked.txt -merge\n");
    std::os::unix::fs::symlink("a.txt", place.dir.join("link")).expect("linked");
    place.commit("second");
    fs::rename(place.dir.join("a.txt"), place.dir.join("moved.txt")).expect("renamed");
    place.write("data.bin", b"a\0c\n");
    place.write("locked.txt", "one\n2\nthree\n");
    fs::remove_file(place.dir.join("link")).expect("removed");
    std::os::unix::fs::symlink("b.txt", place.dir.join("link")).expect("linked");
    let path = place.dir.join("b.txt");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let changes = told(&place, &place.look());
    let by = |name: &str| changes.files.iter().find(|file| file.path == GitPath::from(name)).expect(name).clone();
    assert_eq!(names(&changes.files), ["a.txt", "b.txt", "data.bin", "link", "locked.txt", "moved.txt"]);
    assert!(by("a.txt").to.is_none() && by("a.txt").ranges.is_empty());
    assert_eq!((by("moved.txt").renamed_from, by("moved.txt").from), (Some(GitPath::from("a.txt")), None));
    let modes = by("b.txt").from.zip(by("b.txt").to).map(|(from, to)| (from.mode, to.mode, from.id == to.id));
    assert_eq!((modes, by("b.txt").binary), (Some((0o100_644, 0o100_755, true)), false));
    assert!(by("data.bin").binary && by("link").binary && by("locked.txt").binary);
    assert_eq!(by("link").to.expect("there").mode, 0o120_000);
}

/// Git's own counts of the same diff, from its patch.
fn hunks_of(dir: &Path, from: &str, to: &str) -> Vec<(u32, u32)> {
    let how = ["--histogram", "--no-indent-heuristic", "-U0"];
    let patch = git(dir, &[&["diff"], &how[..], &[from, to]].concat());
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let hunks = patch.lines().filter_map(|line| line.strip_prefix("@@ -"));
    let hunks = hunks.map(|line| line.split(' ').next().expect("a range"));
    hunks
        .map(|range| match range.split_once(',') {
            Some((start, "0")) => (number(start), 0),
            Some((start, count)) => (number(start) - 1, number(count)),
            None => (number(range) - 1, 1),
        })
        .collect()
}

/// Code has blank lines and braces over and over: where an inserted function begins is a question of taste, and git's merge has
/// another one than `git diff` shows.
fn code(chance: &mut Chance, lines: usize) -> Vec<String> {
    let texts = ["", "}", "{", "    if x {", "        y();", "    }", "    z();", "fn f() {"];
    (0..lines)
        .map(|n| {
            if chance.next(4) == 0 {
                format!("    call_{}();", n % 17)
            } else {
                texts[chance.next(texts.len())].to_owned()
            }
        })
        .collect()
}

fn edited(chance: &mut Chance, lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    for _ in 0..=chance.next(2) {
        let at = chance.next(lines.len() + 1);
        let count = chance.next(3).min(lines.len() - at);
        let new = chance.next(6);
        let new = code(chance, new);
        lines.splice(at..at + count, new);
    }
    lines
}

fn text(lines: &[String], chance: &mut Chance) -> String {
    let end = if chance.next(8) == 0 { "" } else { "\n" };
    if lines.is_empty() { String::new() } else { lines.join("\n") + end }
}

#[test]
fn ranges_are_those_of_gits_own_diff() {
    let place = place();
    let mut chance = Chance(7);
    let files = 400;
    for n in 0..files {
        let size = chance.next(60);
        let lines = code(&mut chance, size);
        place.write(&format!("f{n}"), text(&lines, &mut chance));
    }
    place.commit("first");
    for n in 0..files {
        let stood = fs::read_to_string(place.dir.join(format!("f{n}"))).expect("text");
        let lines: Vec<String> = stood.lines().map(str::to_owned).collect();
        place.write(&format!("f{n}"), text(&edited(&mut chance, &lines), &mut chance));
    }
    let changes = told(&place, &place.look());
    assert!(changes.files.len() > files / 2);
    let (mut apart, mut by_taste) = (0, 0);
    for file in &changes.files {
        let ids = file.from.as_ref().zip(file.to.as_ref()).expect("both");
        let git_says = hunks_of(place.mirror.dir(), ids.0.id.as_str(), ids.1.id.as_str());
        let we_say: Vec<(u32, u32)> = file.ranges.iter().map(|lines| (lines.start, lines.count)).collect();
        // Without lines around it, git cuts off what is equal at the end of both before it compares: rarely, it finds another
        // place for the same change then. The merge does not cut, and the next test is about that.
        apart += usize::from(we_say != git_says);
        let shown = git(place.mirror.dir(), &["diff", "-U0", "--histogram", ids.0.id.as_str(), ids.1.id.as_str()]);
        let plain = git(
            place.mirror.dir(),
            &["diff", "-U0", "--histogram", "--no-indent-heuristic", ids.0.id.as_str(), ids.1.id.as_str()],
        );
        by_taste += usize::from(shown != plain);
    }
    println!("{} files: {apart} differ from -U0; the indent heuristic would move {by_taste}", changes.files.len());
    assert!(by_taste > 4, "these files cannot tell whose taste it is");
    assert!(apart * 4 < by_taste, "{apart} of {}", changes.files.len());
}

fn touch(one: &[Lines], other: &[Lines]) -> bool {
    one.iter().any(|a| other.iter().any(|b| a.start <= b.start + b.count && b.start <= a.start + a.count))
}

/// The paths on which two change sets conflict: those whose ranges touch, or where there is more than lines, put to git.
fn findings(place: &Place, one: &Changes, other: &Changes) -> (BTreeSet<String>, usize) {
    let (mut found, mut merges) = (BTreeSet::new(), 0);
    for a in &one.files {
        let Some(b) = other.files.iter().find(|b| b.path == a.path) else { continue };
        let (Some(base), Some(ours), Some(theirs)) = (&a.from, &a.to, &b.to) else {
            if a.to != b.to {
                merges += 1;
                let merged = place.mirror.merge_files(a.from.as_ref(), a.to.as_ref(), b.to.as_ref(), &a.path);
                if matches!(merged.expect("merged"), Merged::Conflict { .. }) {
                    found.insert(a.path.to_string());
                }
            }
            continue;
        };
        let more = a.binary || b.binary || ours.mode != base.mode || theirs.mode != base.mode;
        if ours != theirs && (more || touch(&a.ranges, &b.ranges)) {
            merges += 1;
            let merged = place.mirror.merge_files(Some(base), Some(ours), Some(theirs), &a.path).expect("merged");
            if let Merged::Conflict { paths, .. } = &merged {
                assert_eq!(paths[0].0, a.path);
                found.insert(a.path.to_string());
            }
        }
    }
    (found, merges)
}

fn edit(chance: &mut Chance, dir: &Path, files: usize) {
    for _ in 0..=chance.next(2) {
        let path = dir.join(format!("f{}", chance.next(files)));
        let Ok(bytes) = fs::read(&path) else { continue };
        match chance.next(12) {
            0 if chance.next(4) == 0 => fs::remove_file(&path).expect("removed"),
            1 => {
                let path = dir.join(format!("new{}", chance.next(3)));
                fs::write(path, format!("{}\n", chance.next(3))).expect("written");
            }
            2 => fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode"),
            3 => fs::write(dir.join("data.bin"), [0, u8::try_from(chance.next(200)).expect("small")]).expect("written"),
            _ => {
                let stood = String::from_utf8_lossy(&bytes).into_owned();
                let lines: Vec<String> = stood.lines().map(str::to_owned).collect();
                let lines = edited(chance, &lines);
                fs::write(&path, text(&lines, chance)).expect("written");
            }
        }
    }
}

#[test]
fn touching_ranges_put_to_git_find_exactly_what_gits_merge_of_the_commits_finds() {
    let (mut conflicts, mut clean, mut merges, mut shared) = (0, 0, 0, 0);
    for round in 0..50_u64 {
        let mut chance = Chance(round * 977 + 5);
        let place = place();
        let files = 4;
        for n in 0..files {
            let size = 20 + chance.next(60);
            let lines = code(&mut chance, size);
            place.write(&format!("f{n}"), lines.join("\n") + "\n");
        }
        place.write("data.bin", b"\0");
        place.commit("first");
        let trees = two(&place);
        let mut seen = Vec::new();
        for (n, tree) in trees.iter().enumerate() {
            // A third committed, a third staged, the rest left lying, new files among it.
            edit(&mut chance, &tree.root, files);
            git(&tree.root, &["add", "-A"]);
            git(&tree.root, &["commit", "-q", "--allow-empty", "-m", "a third"]);
            edit(&mut chance, &tree.root, files);
            git(&tree.root, &["add", "-A"]);
            edit(&mut chance, &tree.root, files);
            let Looked::Changed(look) = place.mirror.look(tree, None).expect("looked") else { panic!("seen {n}") };
            seen.push(place.mirror.changes(&look, Some(&target(&place))).expect("told"));
        }
        let (found, asked) = findings(&place, &seen[0], &seen[1]);
        for tree in &trees {
            git(&tree.root, &["add", "-A"]);
            git(&tree.root, &["commit", "-q", "--allow-empty", "-m", "all of it"]);
        }
        // Compared as we do: what is gone at one path and new at another counts as that.
        let args =
            ["-c", "merge.renames=false", "merge-tree", "--write-tree", "--name-only", "--no-messages", "one", "two"];
        let said = git_output(&place.dir, &args);
        assert!(said.status.code() < Some(2), "round {round}");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let truth: BTreeSet<String> = said.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(found, truth, "round {round}");
        conflicts += truth.len();
        clean += usize::from(truth.is_empty());
        merges += asked;
        shared += seen[0].files.iter().filter(|a| seen[1].files.iter().any(|b| a.path == b.path)).count();
    }
    println!("{conflicts} conflicting paths, {clean} clean pairs, {shared} shared paths, {merges} merges");
    assert!(conflicts > 20 && clean > 5 && merges < shared);
}

#[test]
fn a_conflict_comes_with_its_lines_and_gits_words() {
    let place = started();
    let [one, two] = two(&place);
    write(&one.root, "a.txt", numbered(0..30).replace("line 7\n", "mine\n"));
    write(&two.root, "a.txt", numbered(0..30).replace("line 7\n", "theirs\n"));
    let looks = [&one, &two].map(|tree| place.look_at(tree));
    let merged = place.mirror.merge_trees(&tree_of(&place, "main"), &looks[0].tree, &looks[1].tree).expect("merged");
    let Merged::Conflict { paths, excerpt } = merged else { panic!("{merged:?}") };
    assert_eq!(paths[0].0, GitPath::from("a.txt"));
    assert!(paths[0].1.starts_with("CONFLICT (content)"), "{paths:?}");
    for part in ["a.txt\nline 5\nline 6\n<<<<<<< ", "\nmine\n|||||||", "\nline 7\n=======\ntheirs\n>>>>>>> "] {
        assert!(excerpt.contains(part), "{excerpt}");
    }
    assert!(!excerpt.contains("line 9"));
    let long = |word: &str| format!("{word}\n").repeat(9_000);
    write(&one.root, "a.txt", long("é mine"));
    write(&two.root, "a.txt", long("theirs"));
    let looks = [&one, &two].map(|tree| place.look_at(tree));
    let merged = place.mirror.merge_trees(&tree_of(&place, "main"), &looks[0].tree, &looks[1].tree).expect("merged");
    assert!(
        matches!(&merged, Merged::Conflict { excerpt, .. } if excerpt.len() <= MERGE_EXCERPT_MAX && excerpt.len() > 1000)
    );
}

#[test]
fn many_merges_at_once_answer_as_each_alone_and_renames_are_followed() {
    let place = started();
    let [one, two] = two(&place);
    let base = tree_of(&place, "main");
    fs::rename(one.root.join("a.txt"), one.root.join("moved.txt")).expect("renamed");
    write(&two.root, "a.txt", numbered(0..30).replace("line 7\n", "theirs\n"));
    let (moved, theirs) = (place.look_at(&one).tree, place.look_at(&two).tree);
    write(&one.root, "moved.txt", numbered(0..30).replace("line 7\n", "mine\n"));
    let clash = place.look_at(&one).tree;
    let gone = ObjectId::parse(&"1".repeat(40)).expect("an id");
    let pairs =
        [(moved.clone(), theirs.clone()), (clash, theirs.clone()), (moved, gone.clone()), (theirs, base.clone())];
    let all = place.mirror.merge_all(&base, &pairs).expect("merged");
    for ((ours, theirs), merged) in pairs.iter().zip(&all) {
        assert_eq!(*merged, place.mirror.merge_trees(&base, ours, theirs).expect("merged"));
    }
    let Merged::Clean(tree) = &all[0] else { panic!("{:?}", all[0]) };
    let text = git(place.mirror.dir(), &["cat-file", "blob", &format!("{tree}:moved.txt")]);
    assert!(text.contains("theirs"), "the edit went along");
    assert!(matches!(&all[1], Merged::Conflict { .. }), "{:?}", all[1]);
    assert_eq!(all[2], Merged::Missing(vec![gone]));
    assert!(matches!(&all[3], Merged::Clean(_)));
}

#[test]
fn one_path_is_merged_by_its_kind_and_its_attributes() {
    let place = started();
    place.write("deep/list.txt", "a\n");
    place.write(".gitattributes", "deep/list.txt merge=union\n");
    place.commit("a list");
    let [one, two] = two(&place);
    write(&one.root, "deep/list.txt", "a\nb\n");
    write(&two.root, "deep/list.txt", "a\nc\n");
    write(&one.root, "new", "x\n");
    write(&two.root, "new", "y\n");
    fs::remove_file(one.root.join("b.txt")).expect("removed");
    write(&two.root, "b.txt", "y\n");
    let told = [&one, &two].map(|tree| told(&place, &place.look_at(tree)));
    let entry =
        |n: usize, name: &str| told[n].files.iter().find(|file| file.path == GitPath::from(name)).expect(name).clone();
    let merged = |name: &str, by: Option<&ObjectId>| {
        let (a, b) = (entry(0, name), entry(1, name));
        place.mirror.merge_files_by(by, a.from.as_ref(), a.to.as_ref(), b.to.as_ref(), &a.path).expect("merged")
    };
    let words = |merged: Merged| match merged {
        Merged::Conflict { paths, .. } => paths[0].1.split(':').next().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(words(merged("new", None)), "CONFLICT (add/add)");
    assert_eq!(words(merged("b.txt", None)), "CONFLICT (modify/delete)");
    assert_eq!(words(merged("deep/list.txt", None)), "CONFLICT (content)");
    assert!(matches!(merged("deep/list.txt", Some(&tree_of(&place, "main"))), Merged::Clean(_)));
    let mut gone = entry(0, "new").to.expect("there");
    gone.id = ObjectId::parse(&"2".repeat(40)).expect("an id");
    let missing = place.mirror.merge_files(None, Some(&gone), entry(1, "new").to.as_ref(), &GitPath::from("new"));
    assert_eq!(missing.expect("asked"), Merged::Missing(vec![gone.id]));
}

#[test]
fn the_target_is_the_configured_branch_the_remotes_or_the_customary_one() {
    let origin = started();
    let first = origin.git(&["rev-parse", "HEAD"]);
    origin.git(&["branch", "-m", "trunk"]);
    let room = tempfile::tempdir().expect("a folder");
    git(room.path(), &["clone", "-q", origin.dir.to_str().expect("text"), "clone"]);
    let dir = room.path().join("clone");
    let clone = Place::at(room, dir);
    let at = |configured: Option<&str>| {
        let found = clone.mirror.target(&clone.tree, configured).expect("asked");
        found.map(|(target, _)| (target.branch, target.commit.to_string()))
    };
    assert_eq!(at(None), Some(("trunk".into(), first.clone())));
    clone.write("x", "own work\n");
    let own = clone.commit("own work on the target itself");
    assert_eq!(at(None), Some(("trunk".into(), first.clone())), "what is committed here is not landed");
    clone.git(&["checkout", "-qb", "task"]);
    assert_eq!(at(None), Some(("trunk".into(), own.clone())), "the clone's own is ahead");
    assert_eq!(at(Some("origin/trunk")), at(Some("trunk")));
    assert_eq!(at(Some("task")), Some(("task".into(), own)));
    assert_eq!(at(Some("nowhere")), None);
    clone.git(&["remote", "set-url", "origin", "https://me:secret@example.org/x.git"]);
    let (_, url) = clone.mirror.target(&clone.tree, None).expect("asked").expect("a target");
    assert_eq!(url.as_deref(), Some("https://example.org/x.git"));
    // No remote at all, and no customary name: what the main work tree is on.
    let lone = place();
    assert_eq!(lone.mirror.target(&lone.tree, None).expect("asked"), None);
    lone.git(&["checkout", "-q", "--orphan", "develop"]);
    lone.write("x", "x\n");
    lone.commit("first");
    let [_, two] = two(&lone);
    let (target, url) = lone.mirror.target(&two, None).expect("asked").expect("a target");
    assert_eq!((target.branch.as_str(), url), ("develop", None));
    place_is_quiet(&lone, &two);
}

fn place_is_quiet(place: &Place, tree: &rr_git::Worktree) {
    let look = place.look_at(tree);
    place.mirror.keep(&key(1, "t"), &look).expect("kept");
    assert!(told(place, &look).files.is_empty());
}
