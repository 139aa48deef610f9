//! Work trees by the names that people have for them: the session that works there, the branch, the folder. Next:
//! `finding`.

use std::path::Path;

use rr_proto::v1;
use serde_json::{Value, json};

use super::{CELL_CHARS_MAX, cut, or_null};
use crate::exit::{Failure, Kind};
use crate::table::plain;
use crate::view::short;

/// Digits of a session's id that are enough to name it.
const ID_DIGITS_MIN: usize = 4;

/// The work tree of this name, if it is still live.
pub(crate) fn of<'a>(trees: &'a [v1::LiveTree], name: &v1::TreeName) -> Option<&'a v1::LiveTree> {
    trees.iter().find(|tree| tree.host == name.host && tree.tree == name.tree)
}

/// Who works in it, in short: sessions with their tasks, or a person.
pub(crate) fn who(tree: &v1::LiveTree) -> String {
    if tree.writers.is_empty() {
        return format!("a person in {}", place(tree));
    }
    let of = |writer: &v1::Writer| match writer.task.as_str() {
        "" => short(&writer.session).to_owned(),
        task => format!("{} ({})", short(&writer.session), cut(task, CELL_CHARS_MAX)),
    };
    plain(&tree.writers.iter().map(of).collect::<Vec<_>>().join(", "))
}

/// The shortest name that tells it from others: its session, else its branch, else its folder.
pub(crate) fn name(tree: &v1::LiveTree) -> String {
    match (tree.writers.first(), tree.branch.as_str()) {
        (Some(writer), _) => plain(short(&writer.session)),
        (None, "") => plain(&tree.root),
        (None, branch) => plain(branch),
    }
}

/// Its branch and folder, with the host.
pub(crate) fn place(tree: &v1::LiveTree) -> String {
    let on = if tree.host_name.is_empty() { short(&tree.host) } else { &tree.host_name };
    let branch = if tree.branch.is_empty() { String::new() } else { format!("{}, ", tree.branch) };
    plain(&format!("{branch}{} on {on}", tree.root))
}

/// The one work tree that `wanted` names: the begin of a session's id, a branch, or its folder.
pub(crate) fn pick<'a>(
    trees: &'a [v1::LiveTree],
    wanted: &str,
    here: Option<&Path>,
) -> Result<&'a v1::LiveTree, Failure> {
    let typed = wanted.trim_end_matches('/');
    // Seen from here, where there is such a folder; those of other hosts are named as they are there.
    let folder = here.and_then(|here| here.join(typed).canonicalize().ok());
    let id = typed.to_ascii_lowercase();
    let is_meant = |tree: &&v1::LiveTree| {
        let by_session = id.len() >= ID_DIGITS_MIN && tree.writers.iter().any(|w| w.session.starts_with(&id));
        let by_folder = tree.root == typed || folder.as_deref().is_some_and(|f| f == Path::new(&tree.root));
        by_session || by_folder || (!typed.is_empty() && tree.branch == typed)
    };
    let found: Vec<&v1::LiveTree> = trees.iter().filter(is_meant).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::new(Kind::NotFound, format!("no live work tree is called {wanted:?}"))
            .because("a work tree is named by the begin of its session's id, by its branch, or by its folder")
            .hint("rrctl overlap --all --json shows them")),
        many => {
            let lines: Vec<String> = many.iter().map(|tree| format!("{}: {}", place(tree), who(tree))).collect();
            let what = format!("{} work trees are called {wanted:?}", many.len());
            Err(Failure::new(Kind::NotFound, what).because(lines.join("\n")).hint("name one by its session or folder"))
        }
    }
}

pub(crate) fn view(tree: &v1::LiveTree) -> Value {
    let writer = |w: &v1::Writer| json!({ "session": w.session, "agent": w.agent, "task": w.task });
    let target = match tree.target_branch.as_str() {
        "" => Value::Null,
        branch => json!({ "branch": branch, "commit": tree.target_commit }),
    };
    json!({
        "host_id": tree.host,
        "host": or_null(&tree.host_name),
        "tree": tree.tree,
        "repo": tree.repo,
        "root": tree.root,
        "branch": or_null(&tree.branch),
        "head": or_null(&tree.head),
        "target": target,
        "onto": tree.onto,
        "stale": tree.stale,
        "settled": tree.settled,
        "sessions": tree.writers.iter().map(writer).collect::<Vec<_>>(),
        "files": tree.files,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A work tree of one session, whose id repeats `id`.
    pub(crate) fn tree(id: &str, branch: &str, task: &str) -> v1::LiveTree {
        let writers = match id {
            "" => vec![],
            id => vec![v1::Writer { session: id.repeat(8), agent: "claude".into(), task: task.into() }],
        };
        v1::LiveTree {
            host: "f".repeat(32),
            tree: format!("tree-{branch}"),
            host_name: "box".into(),
            repo: "0123456789abcdef".into(),
            root: format!("/w/{branch}"),
            branch: branch.into(),
            target_branch: "main".into(),
            target_commit: "c".repeat(40),
            onto: "clean".into(),
            settled: true,
            writers,
            files: 2,
            ..Default::default()
        }
    }

    #[test]
    fn a_work_tree_is_found_by_session_branch_or_folder_and_two_are_listed() {
        let trees = [tree("aaaa", "one", "parse"), tree("aaab", "two", "lex"), tree("", "three", "")];
        let found = |wanted: &str| pick(&trees, wanted, None).map(|t| t.branch.clone()).map_err(|f| (f.kind, f.text()));
        for (wanted, branch) in
            [("aaaaa", "one"), ("AAAB", "two"), ("three", "three"), ("/w/two", "two"), ("/w/two/", "two")]
        {
            assert_eq!(found(wanted).as_deref(), Ok(branch), "{wanted}");
        }
        for wanted in ["aaa", "", "/", "/w", "four", "cccc"] {
            assert_eq!(found(wanted).expect_err(wanted).0, Kind::NotFound, "{wanted:?}");
        }
        let two = [tree("aaaa", "one", "parse"), tree("aaab", "one", "lex")];
        let told = pick(&two, "one", None).expect_err("two").text();
        assert!(told.contains("2 work trees") && told.contains("(parse)") && told.contains("(lex)"), "{told}");
    }

    #[test]
    fn a_folder_is_found_as_it_is_seen_from_here() {
        let dir = tempfile::tempdir().expect("folder");
        let root = dir.path().canonicalize().expect("there");
        std::fs::create_dir(root.join("wt")).expect("made");
        let trees = [v1::LiveTree { root: root.join("wt").display().to_string(), ..tree("", "x", "") }];
        assert!(pick(&trees, "wt", Some(&root)).is_ok());
        assert!(pick(&trees, "wt", Some(Path::new("/"))).is_err());
    }

    #[test]
    fn who_works_there_is_told_without_a_way_to_the_cursor() {
        let mut one = tree("aaaa", "one", "do\u{1b}[2J it");
        assert_eq!(who(&one), "aaaaaaaa (do [2J it)");
        one.writers.clear();
        one.root = "/w/\u{7}".into();
        assert_eq!(who(&one), "a person in one, /w/  on box");
        assert_eq!((name(&one).as_str(), name(&tree("", "", "")).as_str()), ("one", "/w/"));
    }
}
