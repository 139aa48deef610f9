//! Scopes for sessions that got into each other's way, such that they cannot again: each may write below the folders that it alone
//! has worked in. It proposes, and puts them into a text; whether they stand in `railroad.yaml` a person decides.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::work::{Work, alone, meeting};
use crate::repo_file::text::{Cannot, Edit, INDENT, append, document, end_of_block, insert, line_end, line_of};

const KEY: &str = "scopes";

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

impl Scope {
    fn name(&self) -> String {
        format!("after-recovery-{}", crate::view::short(&self.session))
    }

    fn value(&self) -> Value {
        json!({ "for": { "session": self.named }, "may": self.may })
    }

    /// As one line. JSON's texts are YAML's too.
    fn line(&self) -> String {
        let may: Vec<String> = self.may.iter().map(|pattern| Value::from(pattern.as_str()).to_string()).collect();
        let named = Value::from(self.named.as_str());
        format!("{}: {{ for: {{ session: {named} }}, may: [{}] }}", self.name(), may.join(", "))
    }
}

/// Those that name a file.
fn worth_writing(scopes: &[Scope]) -> impl Iterator<Item = &Scope> {
    scopes.iter().filter(|scope| !scope.may.is_empty())
}

pub(crate) fn are_any(scopes: &[Scope]) -> bool {
    worth_writing(scopes).next().is_some()
}

/// Files that both have changed are in nobody's scope.
fn left_open(works: &[Work]) -> impl Iterator<Item = String> {
    meeting(works).into_iter().map(|spot| format!("# for one of them: {}", Value::from(spot.path)))
}

/// As it would stand in `railroad.yaml`.
pub(crate) fn as_yaml(scopes: &[Scope], works: &[Work]) -> String {
    let lines = worth_writing(scopes).map(Scope::line).chain(left_open(works));
    let block: String = lines.map(|line| format!("{INDENT}{line}\n")).collect();
    format!("{KEY}:\n{block}")
}

/// The text of a railroad.yaml with these scopes in it, and with what they leave open as a comment.
pub(crate) fn written_into(text: &str, scopes: &[Scope], works: &[Work]) -> Result<Edit, Cannot> {
    let mut wanted = document(text)?;
    let mut all = match wanted.get(KEY) {
        None | Some(Value::Null) => serde_json::Map::new(),
        Some(Value::Object(all)) => all.clone(),
        Some(_) => return Err(Cannot::NoMapping),
    };
    let mut new = Vec::new();
    for scope in worth_writing(scopes) {
        match all.insert(scope.name(), scope.value()) {
            None => new.push(scope.line()),
            Some(before) if before == scope.value() => {}
            Some(_) => return Err(Cannot::Taken(scope.name())),
        }
    }
    if new.is_empty() {
        return Ok(Edit::Present);
    }
    new.extend(left_open(works));
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let end = line_end(text);
    let block = |indent: &str| new.iter().map(|line| format!("{indent}{line}{end}")).collect::<String>();
    let after = match line_of(&lines, KEY) {
        None => append(&lines, KEY, &block(INDENT), end)?,
        Some(at) => {
            let (place, indent) = end_of_block(&lines, (at, KEY), None)?;
            insert(&lines, place, &block(indent), end)
        }
    };
    wanted.insert(KEY.to_owned(), Value::Object(all));
    let is_meant = document(&after).is_ok_and(|found| found == wanted);
    if is_meant { Ok(Edit::Text(after)) } else { Err(Cannot::Form) }
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

    fn two() -> (Vec<Work>, Vec<Scope>) {
        let works =
            vec![work("aaaaaaaa1", &[("a/x", 1), ("shared", 1)]), work("bbbbbbbb1", &[("b/x", 1), ("shared", 2)])];
        let scopes = propose(&works, &["one".into(), "two".into()]);
        (works, scopes)
    }

    #[test]
    fn written_scopes_join_what_stands_there_and_all_else_stays() {
        let (works, scopes) = two();
        let new = |indent: &str| {
            format!(
                "{indent}after-recovery-aaaaaaaa: {{ for: {{ session: \"one\" }}, may: [\"a/**\"] }}\n\
                 {indent}after-recovery-bbbbbbbb: {{ for: {{ session: \"two\" }}, may: [\"b/**\"] }}\n\
                 {indent}# for one of them: \"shared\"\n"
            )
        };
        let docs = "    # theirs\n    docs: { may: [docs/**] }   # why\n";
        for (before, after) in [
            (String::new(), format!("scopes:\n{}", new("  "))),
            ("# ours\nfleet: blue".into(), format!("# ours\nfleet: blue\nscopes:\n{}", new("  "))),
            ("scopes: # none\nfleet: blue\n".into(), format!("scopes: # none\n{}fleet: blue\n", new("  "))),
            (
                format!("scopes:\n{docs}\n# locks\nfleet: blue\n"),
                format!("scopes:\n{docs}{}\n# locks\nfleet: blue\n", new("    ")),
            ),
        ] {
            assert_eq!(written_into(&before, &scopes, &works), Ok(Edit::Text(after.clone())), "{before:?}");
            assert_eq!(written_into(&after, &scopes, &works), Ok(Edit::Present), "{after:?}");
            rr_runtime::config::RepoConfig::parse(&after, std::path::Path::new("railroad.yaml")).expect("understood");
        }
        let Ok(Edit::Text(after)) = written_into("fleet: b\r\n", &scopes, &works) else { panic!("written") };
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    }

    #[test]
    fn scopes_are_not_written_where_something_else_stands_or_could_be_misread() {
        let (works, scopes) = two();
        let taken = "scopes:\n  after-recovery-bbbbbbbb: { may: [all/**] }\n";
        for (text, why) in [
            (taken, Cannot::Taken("after-recovery-bbbbbbbb".into())),
            ("scopes: {}\n", Cannot::Form),
            ("scopes:\n  {docs: {may: [docs/**]}}\n", Cannot::Form),
            ("{fleet: b}\n", Cannot::Form),
            ("scopes: [docs]\n", Cannot::NoMapping),
            ("- scopes\n", Cannot::Unreadable),
        ] {
            assert_eq!(written_into(text, &scopes, &works), Err(why), "{text:?}");
        }
    }
}
