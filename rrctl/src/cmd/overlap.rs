//! `rrctl overlap`: what live work trees have against each other, once or as it changes.

use rr_proto::v1;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::Failure;
use crate::follow::{More, follow};
use crate::hand::Hand;
use crate::out;
use crate::table::{plain, table};
use crate::watch::finding::{TOLD_FROM, rows, view};
use crate::watch::{CELL_CHARS_MAX, count, cut, tree};

/// Show where live work trees are in each other's way: same lines, same symbols, merges that fail a check
///
/// Uncommitted work of all hosts is compared all the time. `rrctl conflicts explain ID` shows both sides of one finding
/// with their hunks, and who should give way.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show it again after each change, until interrupted; with --json one line a change
    #[arg(long)]
    watch: bool,
    /// Only between these two: the begin of a session's id, a branch, or a work tree's folder
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pair: Option<Vec<String>>,
    /// Also files that both changed apart from each other, and work trees that conflict with their own target
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    if !args.watch {
        return show(&door.overlap().await?, args, hand);
    }
    let pictures = door.watch_overlap().await?;
    follow(pictures, hand, |reply| show(reply, args, hand).map(|()| More::ToCome)).await
}

fn show(reply: &v1::OverlapReply, args: &Args, hand: &Hand) -> Result<(), Failure> {
    let here = std::env::current_dir().ok();
    let pair = match args.pair.as_deref() {
        Some([a, b]) => {
            Some((tree::pick(&reply.trees, a, here.as_deref())?, tree::pick(&reply.trees, b, here.as_deref())?))
        }
        _ => None,
    };
    let chosen = Chosen::of(reply, pair, args.all);
    hand.answer(&chosen.json(), || chosen.text(out::columns()))
}

/// What is shown of all that there is.
struct Chosen<'a> {
    reply: &'a v1::OverlapReply,
    pair: Option<(&'a v1::LiveTree, &'a v1::LiveTree)>,
    /// The worst first.
    findings: Vec<&'a v1::Finding>,
    /// Those that conflict with the target itself.
    stale: Vec<&'a v1::LiveTree>,
    all: bool,
}

impl<'a> Chosen<'a> {
    fn of(reply: &'a v1::OverlapReply, pair: Option<(&'a v1::LiveTree, &'a v1::LiveTree)>, all: bool) -> Self {
        let is_of = |name: &v1::TreeName, tree: &v1::LiveTree| name.host == tree.host && name.tree == tree.tree;
        let among = |f: &v1::Finding| match pair {
            None => true,
            Some((a, b)) => f.sides.iter().any(|s| is_of(s, a)) && f.sides.iter().any(|s| is_of(s, b)),
        };
        let is_told = |f: &&v1::Finding| (all || f.level >= TOLD_FROM) && among(f);
        let mut findings: Vec<&v1::Finding> = reply.findings.iter().filter(is_told).collect();
        findings.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.id.cmp(&b.id)));
        let is_shown = |tree: &&v1::LiveTree| {
            let meant = pair.is_none_or(|(a, b)| [a, b].iter().any(|t| t.host == tree.host && t.tree == tree.tree));
            tree.onto == "stale" && meant
        };
        Self { reply, pair, findings, stale: reply.trees.iter().filter(is_shown).collect(), all }
    }

    fn json(&self) -> Value {
        json!({
            "trees": self.reply.trees.iter().map(tree::view).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(|f| view(f)).collect::<Vec<_>>(),
            "now_unix_ms": self.reply.now_unix_ms,
        })
    }

    fn text(&self, columns: Option<u16>) -> String {
        let mut text = match (self.findings.as_slice(), self.pair) {
            ([], None) => format!("no overlap among {}\n", count(self.reply.trees.len(), "work tree")),
            ([], Some((a, b))) => format!("no overlap between {} and {}\n", tree::name(a), tree::name(b)),
            (findings, _) => rows(findings, &self.reply.trees, columns),
        };
        if let Some(first) = self.findings.first() {
            let id = plain(crate::view::short(&first.id));
            text.push_str(&format!("\nBoth sides of one, with the hunks: rrctl conflicts explain {id}\n"));
        }
        match (self.stale.len(), self.all) {
            (0, _) => {}
            (n, false) => {
                let verb = if n == 1 { "conflicts" } else { "conflict" };
                let told =
                    format!("\n{} {verb} with the target branch itself: rrctl overlap --all\n", count(n, "work tree"));
                text.push_str(&told);
            }
            (_, true) => text.push_str(&format!("\n{}", stale(&self.stale, columns))),
        }
        text
    }
}

fn stale(trees: &[&v1::LiveTree], columns: Option<u16>) -> String {
    let paths = |tree: &v1::LiveTree| match tree.stale.as_slice() {
        [] => "-".to_owned(),
        [one] => cut(one, CELL_CHARS_MAX),
        [first, rest @ ..] => format!("{} and {} more", cut(first, CELL_CHARS_MAX), rest.len()),
    };
    let row = |t: &&v1::LiveTree| vec![tree::who(t), tree::place(t), cut(&t.target_branch, CELL_CHARS_MAX), paths(t)];
    table(&["STALE", "WORK TREE", "TARGET", "WHERE"], trees.iter().map(row), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::finding::tests::finding;
    use crate::watch::tree::tests::tree;

    fn reply() -> v1::OverlapReply {
        let (a, b) = (tree("aaaa", "one", "parse"), tree("bbbb", "two", "lex"));
        let mut c = tree("cccc", "three", "");
        (c.onto, c.stale) = ("stale".into(), vec!["src/old.rs".into(), "x".into()]);
        let findings = vec![
            finding("0000", 0, "files", &a, &b),
            finding("1111", 1, "symbol", &a, &c),
            finding("2222", 2, "merge", &a, &b),
        ];
        v1::OverlapReply { trees: vec![a, b, c], findings, now_unix_ms: 9 }
    }

    fn levels(chosen: &Chosen<'_>) -> Vec<u32> {
        chosen.findings.iter().map(|f| f.level).collect()
    }

    #[test]
    fn the_worst_comes_first_and_what_nobody_is_told_comes_on_request() {
        let reply = reply();
        let told = Chosen::of(&reply, None, false);
        assert_eq!(levels(&told), [2, 1]);
        let text = told.text(None);
        assert!(text.contains("\nBoth sides of one, with the hunks: rrctl conflicts explain 22222222\n"), "{text}");
        assert!(
            text.ends_with("\n1 work tree conflicts with the target branch itself: rrctl overlap --all\n"),
            "{text}"
        );
        let all = Chosen::of(&reply, None, true);
        assert_eq!(levels(&all), [2, 1, 0]);
        let text = all.text(None);
        assert!(text.contains("cccccccc  three, /w/three on box  main    src/old.rs and 1 more\n"), "{text}");
        assert_eq!(
            (all.json()["trees"].as_array().map(Vec::len), &all.json()["findings"][0]["level"]),
            (Some(3), &2.into())
        );
    }

    #[test]
    fn a_pair_is_shown_alone_and_no_overlap_is_said_plainly() {
        let mut reply = reply();
        let pair = |reply: &v1::OverlapReply, a: usize, b: usize| {
            let chosen = Chosen::of(reply, Some((&reply.trees[a], &reply.trees[b])), false);
            (levels(&chosen), chosen.text(None))
        };
        assert_eq!(pair(&reply, 1, 0).0, [2], "in either order");
        assert!(pair(&reply, 1, 2).1.starts_with("no overlap between bbbbbbbb and cccccccc\n"));
        assert!(!pair(&reply, 0, 1).1.contains("itself"), "the third is not asked about");
        reply.findings.clear();
        reply.trees.truncate(2);
        assert_eq!(Chosen::of(&reply, None, false).text(None), "no overlap among 2 work trees\n");
        reply.trees.clear();
        assert_eq!(Chosen::of(&reply, None, false).text(None), "no overlap among 0 work trees\n");
    }
}
