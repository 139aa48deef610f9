//! The team's entries: what they match, what they leave alone, and which of them wins.

mod common;

use std::path::{Path, PathBuf};

use common::{HOME, ROOT, entry, judge_by};
use rr_core::policy::{Defaults, Effect, Entry, PathPattern, PolicySource, Words};
use rr_policy::{Call, Judgement, Origin, Policy, RuleKind};

fn source(block: &[&str], approve: &[&str], allow: &[&str]) -> PolicySource {
    let mut line = 0;
    let mut list = |words: &[&str]| -> Vec<Entry> {
        words
            .iter()
            .map(|words| {
                line += 1;
                entry(line, words)
            })
            .collect()
    };
    PolicySource { blocklist: list(block), approve: list(approve), allow: list(allow), ..PolicySource::default() }
}

fn bare(block: &[&str]) -> Policy {
    Policy::compile(&PolicySource { defaults: Defaults::Off, ..source(block, &[], &[]) }).policy
}

fn is_denied(judgement: &Judgement) -> bool {
    matches!(judgement, Judgement::Deny(_))
}

#[test]
fn plain_words_match_the_parsed_command_and_no_prose() {
    for (words, yes, no) in [
        (
            "rm -rf",
            &[
                "rm -r -f x",
                "rm --recursive --force x",
                "/bin/rm -fr x",
                "sudo rm x -rf",
                "echo x | xargs rm -rf",
                "rm -Rf x",
            ][..],
            &["rm -r x", "rm -f x", "echo rm -rf", "git commit -m 'rm -rf'", "rm x"][..],
        ),
        (
            "push --force",
            &["git push --force", "git push -f origin", "git -C x push --force", "bash -c 'git push -f'"],
            &["git push", "git push --force-with-lease", "docker push --force", "git commit -m 'push --force'"],
        ),
        (
            "terraform destroy",
            &["terraform destroy", "terraform -chdir=x destroy -auto-approve", "env A=1 terraform destroy"],
            &["terraform plan -destroy", "terraform workspace show destroy", "echo terraform destroy"],
        ),
        (
            "terraform apply -auto-approve",
            &[
                "terraform apply -auto-approve",
                "terraform apply --auto-approve x",
                "terraform apply -auto-approve=true",
            ],
            &["terraform apply", "terraform plan -auto-approve"],
        ),
        (
            "DROP TABLE",
            &[
                "psql -c 'drop table x'",
                "mysql -e 'DROP  TABLE x'",
                "psql <<< 'drop table x'",
                "echo 'drop table x' | sqlite3 db",
            ],
            &[
                "echo 'DROP TABLE x'",
                "git commit -m 'DROP TABLE'",
                "psql -c \"select 'drop table x'\"",
                "grep 'DROP TABLE' a",
            ],
        ),
        (
            "kubectl delete",
            &["kubectl -n prod delete pod x", "kubectl delete x"],
            &["kubectl get delete", "kubectl apply -f delete"],
        ),
        (
            "npm publish",
            &["npm publish", "npm --tag x publish", "npm publish --tag x"],
            &["npm run publish", "npm test"],
        ),
        ("kubectl * prod-*", &["kubectl get prod-a", "kubectl logs x prod-b"], &["kubectl get dev-a"]),
        (
            "docker compose down -v",
            &["docker compose down --volumes", "docker compose -f x down -v"],
            &["docker compose down"],
        ),
    ] {
        let policy = bare(&[words]);
        for command in yes {
            assert!(is_denied(&judge_by(&policy, command)), "{words:?} should match {command:?}");
        }
        for command in no {
            assert_eq!(judge_by(&policy, command), Judgement::Pass, "{words:?} should not match {command:?}");
        }
    }
}

#[test]
fn the_strictest_entry_wins_and_an_allowance_lifts_only_what_it_names() {
    let compiled = Policy::compile(&source(
        &["npm publish"],
        &["npm publish", "docker push"],
        &["npm publish", "docker push shop", "docker system prune -a", "docker"],
    ));
    let policy = compiled.policy;
    let word = |command: &str| match judge_by(&policy, command) {
        Judgement::Pass => "pass",
        Judgement::Approve(_) => "ask",
        Judgement::Deny(_) => "refuse",
        Judgement::Shadowed(_) => "shadow",
    };
    assert_eq!(word("npm publish"), "refuse", "an allowance never lifts the blocklist");
    assert_eq!((word("docker push other"), word("docker push shop")), ("ask", "pass"));
    assert_eq!(word("docker push shop; docker push other"), "ask", "each command by itself");
    assert_eq!(
        (word("docker system prune -a"), word("docker volume prune")),
        ("pass", "refuse"),
        "a program alone lifts nothing"
    );
    assert_eq!(word("docker system prune -a; rm -rf /"), "refuse", "another built-in rule stands");
    let told: Vec<String> = compiled.contradictions.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("line 2") && told[0].contains("line 1 refuses it"), "{told:?}");
    assert!(told[1].contains("line 4") && told[2].contains("line 7") && told[2].contains("lifts nothing"), "{told:?}");
}

#[test]
fn a_built_in_rule_is_lifted_by_its_name() {
    let policy = Policy::compile(&source(&[], &[], &["default/git-push-force"])).policy;
    assert_eq!(judge_by(&policy, "git push --force"), Judgement::Pass);
    assert!(is_denied(&judge_by(&policy, "git reset --hard")));
    let wrong = Policy::compile(&source(&["default/disk"], &[], &["default/gti-push-force"])).contradictions;
    assert_eq!(wrong.len(), 2, "{wrong:?}");
}

#[test]
fn an_exception_leaves_a_command_alone() {
    let mut one = entry(3, "kubectl delete");
    one.except = vec![Words::parse("--dry-run").expect("words")];
    one.because = Some("production".to_owned());
    let policy =
        Policy::compile(&PolicySource { defaults: Defaults::Off, blocklist: vec![one], ..PolicySource::default() })
            .policy;
    assert_eq!(judge_by(&policy, "kubectl delete pod x --dry-run=client"), Judgement::Pass);
    let Judgement::Deny(hit) = judge_by(&policy, "kubectl delete pod x; kubectl delete y --dry-run") else {
        panic!("denied")
    };
    assert_eq!(
        (hit.because.as_str(), hit.origin, hit.what.as_str()),
        ("production", Origin::Line(3), "kubectl delete pod x")
    );
}

#[test]
fn paths_tools_and_agents_narrow_an_entry() {
    let one = Entry {
        line: 1,
        paths: vec![PathPattern::parse("migrations/**").expect("glob"), PathPattern::parse("~/.config").expect("glob")],
        tools: vec!["Write".to_owned()],
        agents: vec!["cla*".to_owned()],
        ..Entry::default()
    };
    let policy =
        Policy::compile(&PolicySource { defaults: Defaults::Off, approve: vec![one], ..PolicySource::default() })
            .policy;
    let asked = |agent: &str, tool: &str, path: &str| {
        let writes = [PathBuf::from(path)];
        let call = Call {
            agent,
            tool,
            command: None,
            analysis: None,
            reads: &[],
            writes: &writes,
            root: Some(Path::new(ROOT)),
            home: Some(Path::new(HOME)),
            temporary: &[],
        };
        matches!(policy.judge(&call), Judgement::Approve(_))
    };
    assert!(asked("claude", "Write", "/home/dev/shop/migrations/1.sql"));
    assert!(asked("claude", "Write", "/home/dev/.config/x"));
    assert!(!asked("codex", "Write", "/home/dev/shop/migrations/1.sql"));
    assert!(!asked("claude", "Edit", "/home/dev/shop/migrations/1.sql"));
    assert!(!asked("claude", "Write", "/home/dev/shop/src/1.sql"));
}

#[test]
fn file_tools_are_held_to_secrets_places_and_own_files() {
    let policy = Policy::compile(&PolicySource::default()).policy;
    let judge = |reads: &[&str], writes: &[&str]| {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        let (reads, writes) = (paths(reads), paths(writes));
        let call = Call {
            agent: "claude",
            tool: "Read",
            command: None,
            analysis: None,
            reads: &reads,
            writes: &writes,
            root: Some(Path::new(ROOT)),
            home: Some(Path::new(HOME)),
            temporary: &[PathBuf::from("/scratch")],
        };
        match policy.judge(&call) {
            Judgement::Deny(hit) => hit.rule,
            Judgement::Pass => String::new(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(judge(&["/home/dev/shop/.env"], &[]), "default/secret-file");
    assert_eq!(judge(&["/home/dev/shop/.env.example", "/home/dev/shop/railroad.yaml"], &[]), "");
    assert_eq!(judge(&[], &["/etc/hosts"]), "default/outside-repository");
    assert_eq!(judge(&[], &["/home/dev/shop/railroad.yaml"]), "default/own-files");
    assert_eq!(judge(&[], &["/home/dev/shop/.railroad/STOP"]), "default/own-files");
    assert_eq!(judge(&[], &["/home/dev/shop/.railroad/inbox/a", "/tmp/x", "/scratch/y", "/home/dev/shop/src/a"]), "");
    assert_eq!(judge(&[], &["/home/dev/.claude/settings.json"]), "default/own-files");
}

#[test]
fn in_shadow_nothing_is_refused_and_all_hits_are_told() {
    let source = PolicySource { effect: Effect::Shadow, ..source(&["npm publish"], &["docker push"], &[]) };
    let policy = Policy::compile(&source).policy;
    let Judgement::Shadowed(hits) = judge_by(&policy, "npm publish; docker push x; rm -rf /") else {
        panic!("shadowed")
    };
    let rules: Vec<&str> = hits.iter().map(|hit| hit.rule.as_str()).collect();
    assert!(
        rules.contains(&"npm publish")
            && rules.contains(&"docker push")
            && rules.contains(&"default/remove-everything")
    );
    assert_eq!(judge_by(&policy, "ls"), Judgement::Pass);
}

#[test]
fn what_cannot_be_read_is_refused_and_what_parses_of_it_is_named_first() {
    let policy = Policy::compile(&PolicySource::default()).policy;
    let rule = |command: &str| match judge_by(&policy, command) {
        Judgement::Deny(hit) => hit.rule,
        other => format!("{other:?}"),
    };
    assert_eq!(rule("if then ("), "default/unreadable");
    assert_eq!(rule("rm -rf /\nif then ("), "default/remove-everything");
    let call = Call {
        agent: "a",
        tool: "Bash",
        command: Some("ls"),
        analysis: None,
        reads: &[],
        writes: &[],
        root: None,
        home: None,
        temporary: &[],
    };
    assert!(is_denied(&policy.judge(&call)), "a command that was not parsed");
}

#[test]
fn every_built_in_rule_has_a_name_a_reason_and_a_safe_way() {
    let policy = Policy::compile(&PolicySource::default()).policy;
    let rules: Vec<_> = policy.rules().collect();
    assert!(rules.len() > 40, "{}", rules.len());
    for rule in &rules {
        assert!(rule.name.starts_with("default/") && rule.kind == RuleKind::Block, "{rule:?}");
        assert!(rule.because.len() > 20 && rule.instead.as_ref().is_some_and(|instead| instead.len() > 8), "{rule:?}");
        assert_eq!(rules.iter().filter(|other| other.name == rule.name).count(), 1, "{}", rule.name);
    }
    let off = PolicySource { defaults: Defaults::Off, ..PolicySource::default() };
    assert_eq!(Policy::compile(&off).policy.rules().count(), 0);
}
