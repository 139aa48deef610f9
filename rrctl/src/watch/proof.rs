//! A search as a person follows it: each build in words, how far it is, and what the culprits need to break a check. It
//! searches and proves nothing itself; that is `rr_core::culprit`. Next: `incident`.

use rr_proto::v1;

use super::{commit, count};

/// Characters of the bar.
const BAR_WIDTH: usize = 20;
/// Builds besides those that halve: the culprit again, its parent, and one for chance.
const BUILDS_BESIDES: usize = 3;

/// About how many builds a search among so many commits takes.
pub(crate) fn expected(suspects: usize) -> usize {
    let halvings = suspects.max(1).next_power_of_two().ilog2();
    usize::try_from(halvings).unwrap_or(0) + BUILDS_BESIDES
}

/// `[#####---------------]  2 of about 8 builds`
pub(crate) fn bar(done: usize, suspects: usize) -> String {
    let about = expected(suspects);
    let full = BAR_WIDTH * done.min(about) / about;
    let (hashes, dashes) = ("#".repeat(full), "-".repeat(BAR_WIDTH - full));
    format!("[{hashes}{dashes}]  {done} of about {}", count(about, "build"))
}

/// What was built.
pub(crate) fn words(build: &v1::Build, suspects: &[v1::Suspect]) -> String {
    let name = |n: &u32| match place(*n).and_then(|at| suspects.get(at)) {
        Some(suspect) => commit(&suspect.commit),
        None => format!("commit {n}"),
    };
    let all = |joined: &str| build.of.iter().map(name).collect::<Vec<_>>().join(joined);
    match (build.what.as_str(), build.of.as_slice()) {
        ("prefix", [] | [0]) => "the last green commit".to_owned(),
        ("prefix", [n, ..]) => format!("up to {} ({n} of {})", name(n), suspects.len()),
        ("alone", _) => format!("{} alone on the last green commit", all(", ")),
        _ => format!("{} together on the last green commit", all(" and ")),
    }
}

/// From 1 on the wire.
fn place(n: u32) -> Option<usize> {
    usize::try_from(n).ok()?.checked_sub(1)
}

/// What the culprits need to break it.
pub(crate) fn how(word: &str) -> &'static str {
    match word {
        "by_itself" => "it breaks the check by itself",
        "together" => "neither breaks it without the other",
        "each" => "each of them breaks it",
        "with_others" => "it breaks it with others before it, which cannot be told",
        _ => "whether by itself cannot be told",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(what: &str, of: &[u32], verdict: &str) -> v1::Build {
        v1::Build { what: what.into(), of: of.to_vec(), verdict: verdict.into() }
    }

    #[test]
    fn a_search_takes_about_as_many_builds_as_halving_does_and_three_more() {
        assert_eq!([0, 1, 2, 5, 16, 17].map(expected), [3, 3, 4, 6, 7, 8]);
        assert_eq!(bar(2, 5), "[######--------------]  2 of about 6 builds");
        assert_eq!(bar(0, 1), "[--------------------]  0 of about 3 builds");
        assert!(bar(900, 5).starts_with("[####################]  900 of"), "longer than thought, and still one bar");
    }

    #[test]
    fn builds_are_told_by_their_commits() {
        let suspects: Vec<_> =
            ["a", "b"].iter().map(|c| v1::Suspect { commit: c.repeat(40), ..Default::default() }).collect();
        let told = |what: &str, of: &[u32]| words(&build(what, of, ""), &suspects);
        assert_eq!(told("prefix", &[2]), "up to bbbbbbbbbb (2 of 2)");
        assert_eq!(told("prefix", &[0]), "the last green commit");
        assert_eq!(told("alone", &[1]), "aaaaaaaaaa alone on the last green commit");
        assert_eq!(told("set", &[1, 2]), "aaaaaaaaaa and bbbbbbbbbb together on the last green commit");
        assert_eq!(told("alone", &[7]), "commit 7 alone on the last green commit", "never more than is known");
    }
}
