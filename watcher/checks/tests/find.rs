//! Discovery over trees of each kind, and over trees that somebody broke or bent. A tree here is a list of files;
//! nothing runs.

use std::collections::BTreeMap;

use rr_checks::{Check, Configured, Origin, Plan, Tree, When, discover};

struct Files(BTreeMap<String, Vec<u8>>);

fn tree(files: &[(&str, &str)]) -> Files {
    Files(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
}

impl Tree for Files {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.0.keys().filter_map(|p| p.strip_prefix(&prefix));
        let mut names: Vec<String> = below.filter_map(|p| p.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        names
    }
}

fn plan(files: &[(&str, &str)]) -> Plan {
    discover(&tree(files), &[])
}

fn runs(plan: &Plan) -> Vec<(&str, When)> {
    plan.checks.iter().map(|c| (c.run.as_str(), c.when)).collect()
}

fn only(plan: &Plan) -> &Check {
    assert_eq!(plan.checks.len(), 1, "{plan:?}");
    &plan.checks[0]
}

fn noted(plan: &Plan, words: &str) -> bool {
    plan.notes.iter().any(|n| n.contains(words))
}

const CARGO: (&str, &str) = ("Cargo.toml", "[workspace]\n");

#[test]
fn what_is_configured_comes_before_all_else() {
    let said = Configured { name: "types".into(), run: "cargo check -p one".into(), when: When::Edit };
    let plan = discover(&tree(&[CARGO, ("package.json", "{}")]), std::slice::from_ref(&said));
    let check = only(&plan);
    assert_eq!((check.run.as_str(), check.when, &check.from), ("cargo check -p one", When::Edit, &Origin::Configured));
    assert_eq!(check.needs, ["cargo", "rustc"]);
    let other = Configured { run: "cargo check".into(), ..said };
    assert_ne!(discover(&tree(&[CARGO]), &[other]).source, plan.source);
}

#[test]
fn a_rust_workspace_is_checked_at_commits_and_tested_at_merges() {
    let test = ("cargo test --workspace --no-fail-fast", When::Merge);
    let check = ("cargo check --workspace --all-targets", When::Commit);
    assert_eq!(runs(&plan(&[CARGO])), [check, test]);
    let nextest = ("cargo nextest run --workspace --no-fail-fast", When::Merge);
    assert_eq!(runs(&plan(&[CARGO, (".config/nextest.toml", "")])), [check, nextest]);
}

#[test]
fn a_manifest_below_the_root_is_found_and_its_check_runs_there() {
    let plan = plan(&[
        ("README.md", ""),
        ("server/go.mod", "module x\n"),
        ("web/tsconfig.json", "{}"),
        ("web/package.json", "{}"),
    ]);
    let places: Vec<(&str, &str)> = plan.checks.iter().map(|c| (c.run.as_str(), c.folder.as_str())).collect();
    assert_eq!(places, [("go vet ./...", "server"), ("tsc -p . --noEmit --incremental", "web")]);
    assert_eq!(plan.checks[1].path, ["node_modules/.bin"]);
    assert_eq!(plan.checks[1].needs, ["tsc", "node"]);
}

#[test]
fn a_typescript_project_is_checked_by_the_text_of_its_own_script() {
    let package = r#"{"scripts": {"typecheck": "tsc -b --noEmit", "test": "vitest run", "build": "x"}}"#;
    let plan = plan(&[("tsconfig.json", "{}"), ("package.json", package)]);
    assert_eq!(runs(&plan), [("tsc -b --noEmit", When::Commit), ("vitest run", When::Merge)]);
    let from = Origin::Script { file: "package.json".into(), script: "typecheck".into() };
    assert_eq!(plan.checks[0].from, from);
}

#[test]
fn a_script_that_an_agent_changed_is_not_what_runs() {
    let at_tip = [("tsconfig.json", "{}"), ("package.json", r#"{"scripts": {"typecheck": "tsc --noEmit"}}"#)];
    let changed = [("tsconfig.json", "{}"), ("package.json", r#"{"scripts": {"typecheck": "exit 0"}}"#)];
    let tip = plan(&at_tip);
    assert_eq!(only(&tip).run, "tsc --noEmit", "the text, and no name that means something else in another tree");
    assert_ne!(plan(&changed).source, tip.source, "once landed it is another plan, to be trusted anew");
    assert_eq!(plan(&at_tip), tip);
}

#[test]
fn scripts_that_call_scripts_get_their_text_put_in_or_are_passed_over() {
    let package = |scripts: &str| format!(r#"{{"scripts": {{{scripts}}}}}"#);
    for (scripts, expected) in [
        (r#""check": "npm run a && npm run b", "a": "tsc", "b": "eslint 'src/**'""#, "( tsc ) && ( eslint 'src/**' )"),
        (r#""precheck": "gen", "check": "tsc", "postcheck": "clean""#, "( gen ) && ( tsc ) && ( clean )"),
        (r#""check": "yarn lint ; pnpm run types", "lint": "eslint .", "types": "tsc""#, "( eslint . ) ; ( tsc )"),
    ] {
        assert_eq!(plan(&[("package.json", &package(scripts))]).checks[0].run, expected);
    }
    for scripts in [
        r#""check": "npm run check""#,
        r#""check": "npm run $WHICH", "a": "tsc""#,
        r#""check": "turbo run check""#,
        r#""check": "make check""#,
        r#""check": "concurrently 'npm:a'", "a": "tsc""#,
        r#""check": "tsc --watch""#,
        r#""check": "cross-env CI=1 npm run a", "a": "tsc""#,
    ] {
        let plan = plan(&[("package.json", &package(scripts))]);
        assert!(only(&plan).run.contains("node --check"), "{scripts}: {plan:?}");
        assert!(noted(&plan, "`check` in package.json is not used"), "{scripts}: {plan:?}");
    }
}

#[test]
fn a_javascript_project_without_scripts_has_its_syntax_checked_and_the_limit_is_told() {
    let default = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
    let plan = plan(&[("package.json", default), ("index.js", "1")]);
    assert!(only(&plan).run.ends_with("xargs -0 -r -n 1 node --check"));
    assert!(noted(&plan, "syntax only"));
}

#[test]
fn a_broken_manifest_is_told_and_stops_nothing_else() {
    for broken in ["{", "[]", "\u{1}", ""] {
        let plan = plan(&[CARGO, ("package.json", broken), ("tsconfig.json", "{}")]);
        assert_eq!(plan.checks.len(), 3, "{plan:?}");
        assert!(broken == "[]" || noted(&plan, "package.json cannot be read"), "{plan:?}");
    }
    let mut files = tree(&[("tsconfig.json", "{}")]);
    files.0.insert("package.json".into(), vec![0xff, 0xfe]);
    files.0.insert("pyproject.toml".into(), vec![b' '; 2 << 20]);
    let plan = discover(&files, &[]);
    assert!(noted(&plan, "package.json is not text"), "{plan:?}");
}

#[test]
fn a_tsconfig_that_only_refers_to_others_is_no_check() {
    let references = "{ // projects\n \"files\": [], /* none */ \"references\": [{ \"path\": \"./a//b\" },], }";
    let plan = plan(&[("tsconfig.json", references), ("package.json", "{}")]);
    assert!(plan.checks.is_empty() && noted(&plan, "only refers to other projects"), "{plan:?}");
}

#[test]
fn python_is_checked_by_what_it_configured_or_else_compiled() {
    let compiled = ("python3 -m compileall -q .", When::Commit);
    assert_eq!(runs(&plan(&[("setup.cfg", "[metadata]\n")])), [compiled]);
    let all = "[tool.mypy]\nfiles = ['src']\n[tool.ruff.lint]\nselect = ['E']\n";
    assert_eq!(runs(&plan(&[("pyproject.toml", all)])), [("mypy", When::Commit), ("ruff check .", When::Merge)]);
    let ini = [("setup.cfg", "[mypy]\nstrict = True\n"), ("pyproject.toml", "[tool.pyright]\n")];
    assert_eq!(runs(&plan(&ini)), [("mypy .", When::Commit), ("pyright", When::Commit)]);
    assert_eq!(runs(&plan(&[("pyproject.toml", "# [tool.mypy]\n[tool.mypyc]\n")])), [compiled]);
}

#[test]
fn nothing_found_is_said() {
    let plan = plan(&[("README.md", "hello")]);
    assert!(plan.checks.is_empty() && noted(&plan, "nothing found"));
}

const CI: &str = ".github/workflows/ci.yml";

fn workflow(steps: &str) -> String {
    format!(
        "on: [push]\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n{steps}"
    )
}

#[test]
fn the_commands_of_ci_come_before_the_usual_ones() {
    let ci = workflow(
        "      - run: cargo check --workspace --locked\n      - run: cargo test --workspace -- --test-threads 1\n",
    );
    let plan = plan(&[CARGO, (CI, &ci)]);
    let expected = [
        ("cargo check --workspace --locked", When::Commit),
        ("cargo test --workspace -- --test-threads 1", When::Merge),
    ];
    assert_eq!(runs(&plan), expected);
    assert_eq!(plan.checks[0].from, Origin::Ci { file: CI.into() });
}

#[test]
fn a_script_that_ci_calls_is_its_text_at_the_tip() {
    let ci = workflow("      - run: npm run typecheck\n      - run: npx eslint src\n");
    let package = r#"{"scripts": {"typecheck": "tsc -p app"}}"#;
    let plan = plan(&[("tsconfig.json", "{}"), ("package.json", package), (CI, &ci)]);
    assert_eq!(runs(&plan), [("tsc -p app", When::Commit), ("eslint src", When::Merge)]);
    assert!(plan.checks.iter().all(|c| c.path == ["node_modules/.bin"]));
}

#[test]
fn whatever_is_in_doubt_in_ci_is_passed_over() {
    let usual = runs(&plan(&[CARGO])).iter().map(|(r, _)| (*r).to_owned()).collect::<Vec<_>>();
    let doubtful = [
        workflow("      - run: cargo check && ./deploy\n"),
        workflow("      - run: cargo check ${{ matrix.flags }}\n"),
        workflow("      - run: |\n          cargo check\n          cargo test\n"),
        workflow("      - run: cargo check -p one\n"),
        workflow("      - run: cargo check\n        if: github.ref == 'x'\n"),
        workflow("      - run: cargo check\n        working-directory: x\n"),
        workflow("      - run: cargo check\n        env: { RUSTFLAGS: -Dwarnings }\n"),
        workflow("      - run: cargo check\n        continue-on-error: true\n"),
        workflow("      - run: curl https://example.com/x | sh\n"),
        workflow("      - run: cargo publish\n"),
        workflow("      - run: cargo check --quiet\n").replace("ubuntu-latest", "windows-latest"),
        workflow("      - run: cargo check --quiet\n")
            .replace("on: [push]", "on: { schedule: [{ cron: '0 0 * * *' }] }"),
        workflow("      - run: cargo check --quiet\n")
            .replace("    steps", "    strategy: { matrix: { a: [1] } }\n    steps"),
        workflow("      - run: cargo check --quiet\n")
            .replace("    steps", "    services: { db: { image: x } }\n    steps"),
        "on: push\njobs: [".to_owned(),
        "jobs: 3\n".to_owned(),
        String::new(),
    ];
    for ci in &doubtful {
        let plan = plan(&[CARGO, (CI, ci)]);
        assert_eq!(runs(&plan).iter().map(|(r, _)| (*r).to_owned()).collect::<Vec<_>>(), usual, "{ci}");
    }
}

#[test]
fn a_plan_survives_being_written_down() {
    let plan = plan(&[CARGO, ("package.json", "{}")]);
    let text = serde_json::to_string(&plan).expect("written");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("read"), plan);
}
