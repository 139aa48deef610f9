//! What git tells its hooks about a push, one ref a line. It knows names and zeros, no repository. Next: `../publish.rs`.

use rr_git::Tips;

/// What a push brings, and what is known to be there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// What the refs shall point to. A ref that is deleted brings nothing.
    pub(crate) new: Tips,
    /// What they point to now.
    pub(crate) old: Tips,
    /// The same, ref by ref.
    pub(crate) updates: Vec<Update>,
}

/// One ref of a push.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Update {
    /// Its name, if it is a branch.
    pub(crate) branch: Option<String>,
    /// `None`: it goes.
    pub(crate) new: Option<String>,
    /// `None`: it is new.
    pub(crate) old: Option<String>,
}

/// `<local ref> <local id> <remote ref> <remote id>`, as `pre-push` is told.
pub(crate) fn of_pre_push(text: &str) -> Pushed {
    read(text, 1, 3)
}

/// `<old id> <new id> <ref>`, as `pre-receive` is told.
pub(crate) fn of_pre_receive(text: &str) -> Pushed {
    read(text, 1, 0)
}

fn read(text: &str, new: usize, old: usize) -> Pushed {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let ids = |at: usize| {
        let column = lines.iter().filter_map(move |fields| fields.get(at));
        Tips::named(column.filter(|id| is_id(id)).map(|id| (*id).to_owned()))
    };
    let update = |fields: &Vec<&str>| {
        let id = |at: usize| fields.get(at).filter(|id| is_id(id)).map(|id| (*id).to_owned());
        // Both hooks name the ref that is to be changed third.
        let branch = fields.get(2).and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned);
        Update { branch, new: id(new), old: id(old) }
    };
    Pushed { new: ids(new), old: ids(old), updates: lines.iter().map(update).collect() }
}

/// A name of an object, and not the zeros that stand for none.
fn is_id(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) && text.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_branches_bring_commits_and_deleted_ones_nothing() {
        let (a, b, none) = ("a".repeat(40), "b".repeat(64), "0".repeat(40));
        let text =
            format!("refs/heads/x {a} refs/heads/x {none}\n(delete) {none} refs/heads/y {b}\nHEAD {b} refs/z {a}\n");
        let pushed = of_pre_push(&text);
        assert_eq!(pushed.new, Tips::named([a.clone(), b.clone()]));
        assert_eq!(pushed.old, Tips::named([a.clone(), b.clone()]));
        let update = |branch: Option<&str>, new: Option<&String>, old: Option<&String>| Update {
            branch: branch.map(str::to_owned),
            new: new.cloned(),
            old: old.cloned(),
        };
        let updates =
            [update(Some("x"), Some(&a), None), update(Some("y"), None, Some(&b)), update(None, Some(&b), Some(&a))];
        assert_eq!(pushed.updates, updates);
        let received = of_pre_receive(&format!("{none} {a} refs/heads/x\n{b} {none} refs/heads/y\n"));
        let updates = vec![update(Some("x"), Some(&a), None), update(Some("y"), None, Some(&b))];
        assert_eq!(received, Pushed { new: Tips::named([a]), old: Tips::named([b]), updates });
        assert_eq!(of_pre_push(""), Pushed::default());
    }
}
