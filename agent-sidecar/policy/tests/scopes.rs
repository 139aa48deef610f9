//! Scopes: who they are for, what they let through, which part says no, and whom to ask.

use rr_core::glob::Glob;
use rr_core::path::RepoPath;
use rr_core::policy::{ScopeSource, Who};
use rr_policy::{Facts, ScopeVerdict, Scopes, Touch, TouchKind, Why};

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::parse(pattern).expect(pattern)).collect()
}

fn touch(path: &str, how: TouchKind) -> Touch {
    Touch { path: RepoPath::parse(path.as_bytes()).expect(path), how }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn all() -> Scopes {
    let scope =
        |name: &str, may: &[&str]| ScopeSource { name: name.to_owned(), may: globs(may), ..ScopeSource::default() };
    Scopes::compile(&[
        ScopeSource {
            create_only: globs(&["migrations/**"]),
            read_only: globs(&["src/pay/api/**"]),
            never: globs(&["**/secrets.rs"]),
            owner: Some("ann".to_owned()),
            ..scope("pay", &["src/pay", "src/shared/types.rs"])
        },
        ScopeSource {
            who: Who { branch: names(&["docs/*"]), agent: names(&["claude"]), ..Who::default() },
            ..scope("writers", &["docs/**"])
        },
        ScopeSource { who: Who { folder: names(&["src"]), ..Who::default() }, ..scope("code", &["src/**"]) },
        ScopeSource { owner: Some("ben".to_owned()), ..scope("ship", &["src/ship/**"]) },
    ])
}

fn why(who: &Facts<'_>, path: &str, how: TouchKind) -> Result<Vec<String>, (Why, String, Option<String>)> {
    match all().decide(who, &[touch("src/pay/fine.rs", TouchKind::Change), touch(path, how)]) {
        ScopeVerdict::Within { scopes } => Ok(scopes),
        ScopeVerdict::Outside { why, scope, owner, .. } => Err((why, scope, owner)),
        ScopeVerdict::Unscoped => panic!("unscoped"),
    }
}

#[test]
fn each_part_of_a_scope_decides_what_it_says() {
    let who = Facts { task: Some("pay"), ..Facts::default() };
    let owner = || Some("ann".to_owned());
    let no = |why: Why, owner: Option<String>| Err((why, "pay".to_owned(), owner));
    let within = || Ok(names(&["pay"]));
    assert_eq!(why(&who, "src/pay/a/b.rs", TouchKind::Change), within());
    assert_eq!(why(&who, "src/shared/types.rs", TouchKind::Delete), within());
    assert_eq!(why(&who, "migrations/2.sql", TouchKind::Create), within());
    assert_eq!(why(&who, "migrations/1.sql", TouchKind::Change), no(Why::CreateOnly, owner()));
    assert_eq!(why(&who, "migrations/1.sql", TouchKind::Delete), no(Why::CreateOnly, owner()));
    assert_eq!(why(&who, "src/pay/api/x.rs", TouchKind::Change), no(Why::ReadOnly, owner()));
    assert_eq!(why(&who, "src/pay/secrets.rs", TouchKind::Create), no(Why::Never, owner()));
    assert_eq!(why(&who, "src/shared/other.rs", TouchKind::Create), no(Why::NotInMay, owner()));
    assert_eq!(
        why(&who, "src/ship/a.rs", TouchKind::Change),
        no(Why::NotInMay, Some("ben".to_owned())),
        "its owner is asked"
    );
    assert_eq!(
        why(&who, "SRC/PAY/Secrets.rs", TouchKind::Change),
        no(Why::Never, owner()),
        "as some file systems see it"
    );
}

#[test]
fn every_scope_that_is_for_a_session_applies() {
    let who = Facts { task: Some("pay"), folder: Some("src/pay"), ..Facts::default() };
    assert_eq!(why(&who, "src/pay/a.rs", TouchKind::Change), Ok(names(&["pay", "code"])));
    assert_eq!(
        why(&who, "migrations/2.sql", TouchKind::Create).map_err(|e| (e.0, e.1)),
        Err((Why::NotInMay, "code".to_owned()))
    );
}

#[test]
fn a_session_without_a_scope_is_said_to_have_none() {
    for who in [
        Facts::default(),
        Facts { session: Some("other"), task: Some("else"), ..Facts::default() },
        Facts { branch: Some("docs/x"), ..Facts::default() },
        Facts { branch: Some("docs/x"), agent: Some("codex"), ..Facts::default() },
        Facts { folder: Some("srcs"), ..Facts::default() },
    ] {
        assert_eq!(all().decide(&who, &[touch("a", TouchKind::Create)]), ScopeVerdict::Unscoped, "{who:?}");
    }
    let both = Facts { branch: Some("docs/x"), agent: Some("claude"), ..Facts::default() };
    assert_eq!(all().decide(&both, &[]), ScopeVerdict::Within { scopes: names(&["writers"]) });
}
