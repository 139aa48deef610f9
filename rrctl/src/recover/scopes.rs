//! Scopes for sessions that got into each other's way, such that they cannot again: each may write below the folders that it alone
//! has worked in. It only proposes; what stands in `railroad.yaml` a person decides.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::work::{Work, alone, meeting};

/// One session's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) session: String,
    /// The agent's own name for it, which scopes are by.
    pub(crate) named: String,
    pub(crate) may: Vec<String>,
}

/// `named`: the agents' own names of the sessions, in their order.
pub(crate) fn propose(works: &[Work], named: &[String]) -> Vec<Scope> {
    works
        .iter()
        .zip(named)
        .map(|(work, named)| {
            let others: BTreeSet<&str> = works
                .iter()
                .filter(|other| other.session != work.session)
                .flat_map(|other| other.files.keys().map(|spot| spot.path.as_str()))
                .collect();
            let may: BTreeSet<String> = alone(work, works).into_iter().map(|path| widest(path, &others)).collect();
            Scope { session: work.session.clone(), named: named.clone(), may: may.into_iter().collect() }
        })
        .collect()
}

/// The highest folder around a file that no other has changed anything in; else the file alone.
fn widest(path: &str, others: &BTreeSet<&str>) -> String {
    let folders = path.match_indices('/').map(|(at, _)| &path[..=at]);
    let mut free = folders.filter(|folder| !others.iter().any(|other| other.starts_with(folder)));
    free.next().map_or_else(|| literal(path), |folder| format!("{}**", literal(folder)))
}

/// A name as a pattern. Patterns have no way to say that a sign means itself: where one would mean more, any one sign stands.
fn literal(path: &str) -> String {
    path.chars().map(|sign| if "*?[]{}\\!".contains(sign) { '?' } else { sign }).collect()
}

/// As it would stand in `railroad.yaml`.
pub(crate) fn as_yaml(scopes: &[Scope], works: &[Work]) -> String {
    // JSON's texts are YAML's too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut yaml = "scopes:\n".to_owned();
    for scope in scopes.iter().filter(|scope| !scope.may.is_empty()) {
        let may: Vec<String> = scope.may.iter().map(|pattern| quoted(pattern)).collect();
        let name = format!("after-recovery-{}", crate::view::short(&scope.session));
        // Writing to a String cannot fail.
        let _ =
            writeln!(yaml, "  {name}: {{ for: {{ session: {} }}, may: [{}] }}", quoted(&scope.named), may.join(", "));
    }
    for spot in meeting(works) {
        let _ = writeln!(yaml, "  # for one of them: {}", quoted(&spot.path));
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recover::work::tests::work;

    #[test]
    fn proposed_scopes_are_disjoint_and_railroad_yaml_takes_them() {
        let works = [
            work("aaaaaaaa1", &[("src/api/a.rs", 1), ("src/shared.rs", 1), ("top.txt", 1), ("odd [1].txt", 1)]),
            work("bbbbbbbb1", &[("src/web/b.rs", 1), ("src/shared.rs", 2), ("docs/b.md", 1)]),
        ];
        let scopes = propose(&works, &["one".into(), "two: \"x\"".into()]);
        assert_eq!(scopes[0].may, ["odd ?1?.txt", "src/api/**", "top.txt"]);
        assert_eq!(scopes[1].may, ["docs/**", "src/web/**"]);
        let yaml = as_yaml(&scopes, &works);
        assert!(yaml.contains("# for one of them: \"src/shared.rs\""), "{yaml}");
        let config = rr_runtime::config::RepoConfig::parse(&yaml, std::path::Path::new("railroad.yaml"));
        let config = config.expect("it is valid as it is shown");
        assert_eq!(config.scopes.len(), 2);
        assert_eq!(config.scopes[1].who.session, ["two: \"x\""]);
    }
}
