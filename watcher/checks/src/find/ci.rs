//! The commands of a repository's own CI (GitHub workflows), where they are beyond doubt: one plain call of one known
//! checker, in a job without conditions, matrix, containers or settings of its own. Everything else is passed over, and
//! the manifests decide. It knows no CI but this one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::source::Source;
use super::{Check, Found, Language, Origin, Role, scripts, words};

const FOLDER: &str = ".github/workflows";
const WORKFLOWS_MAX: usize = 32;
/// Commands of one kind for one language; whoever has more means different machines.
const SAME_ROLE_MAX: usize = 4;

#[derive(Deserialize)]
struct Workflow {
    #[serde(rename = "on", default)]
    on: Value,
    #[serde(default)]
    defaults: Value,
    #[serde(default)]
    env: Value,
    #[serde(default)]
    jobs: BTreeMap<String, Job>,
}

#[derive(Deserialize)]
struct Job {
    #[serde(rename = "if", default)]
    condition: Value,
    #[serde(default)]
    strategy: Value,
    #[serde(default)]
    container: Value,
    #[serde(default)]
    services: Value,
    #[serde(default)]
    defaults: Value,
    #[serde(default)]
    env: Value,
    #[serde(rename = "runs-on", default)]
    runs_on: Value,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "if", default)]
    condition: Value,
    #[serde(default)]
    run: Option<String>,
    #[serde(default)]
    shell: Value,
    #[serde(default)]
    env: Value,
    #[serde(rename = "working-directory", default)]
    folder: Value,
    #[serde(rename = "continue-on-error", default)]
    may_fail: Value,
}

pub(super) fn look(source: &Source<'_>, found: &mut Found) {
    let names = source.names(FOLDER).into_iter().filter(|n| n.ends_with(".yml") || n.ends_with(".yaml"));
    for name in names.take(WORKFLOWS_MAX) {
        let file = format!("{FOLDER}/{name}");
        let Some(text) = source.text(&file, found) else { continue };
        match serde_yaml::from_str::<Workflow>(&text) {
            Ok(workflow) => take(&workflow, &file, source, found),
            Err(_) => found.note(format!("{file} cannot be read; nothing is taken from it")),
        }
    }
}

fn take(workflow: &Workflow, file: &str, source: &Source<'_>, found: &mut Found) {
    if !is_for_changes(&workflow.on) || !workflow.defaults.is_null() || changes_build(&workflow.env) {
        return;
    }
    let steps = workflow.jobs.values().filter(|job| job.is_plain()).flat_map(|job| &job.steps);
    for run in steps.filter(|step| step.is_plain()).filter_map(|step| step.run.as_deref()) {
        let Some((language, role, run)) = checker(run.trim(), source, found) else { continue };
        let of_this_kind = found.checks.iter().filter(|(kind, _)| *kind == (language, role)).count();
        if of_this_kind < SAME_ROLE_MAX {
            let check = Check::new(&short_name(&run), &run, role.when(), Origin::Ci { file: file.to_owned() });
            let check = if language == Language::Node { check.with_node_modules() } else { check };
            found.add(language, role, check);
        }
    }
}

/// Runs for pushes or pull requests; not only by the clock or by hand.
fn is_for_changes(on: &Value) -> bool {
    let names: Vec<&str> = match on {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        Value::Object(many) => many.keys().map(String::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    };
    names.iter().any(|n| matches!(*n, "push" | "pull_request" | "merge_group"))
}

/// Settings that only colour the output do not change what a command says.
fn changes_build(env: &Value) -> bool {
    let colours = ["CARGO_TERM_COLOR", "FORCE_COLOR", "NO_COLOR", "CI", "RUST_BACKTRACE", "CARGO_INCREMENTAL"];
    env.as_object().is_some_and(|env| env.keys().any(|k| !colours.contains(&k.as_str())))
}

impl Job {
    fn is_plain(&self) -> bool {
        let nothing = [&self.condition, &self.strategy, &self.container, &self.services, &self.defaults];
        let is_linux = self.runs_on.as_str().is_some_and(|on| on.contains("ubuntu") || on == "self-hosted");
        is_linux && nothing.iter().all(|v| v.is_null()) && !changes_build(&self.env)
    }
}

impl Step {
    fn is_plain(&self) -> bool {
        let nothing = [&self.condition, &self.shell, &self.folder, &self.may_fail];
        nothing.iter().all(|v| v.is_null()) && !changes_build(&self.env)
    }
}

/// What a step checks, and the command to run for it; a script called by name is its text at the target tip.
fn checker(run: &str, source: &Source<'_>, found: &mut Found) -> Option<(Language, Role, String)> {
    let words = words::plain(run)?;
    // A part of the project only: the manifest's own check says more.
    if words.iter().any(|w| matches!(*w, "-p" | "--package" | "--manifest-path" | "--exclude" | "--fix" | "--watch")) {
        return None;
    }
    if ["npm", "pnpm", "yarn"].contains(&words[0]) {
        return script(&words, source, found);
    }
    let words = if words[0] == "npx" { &words[1..] } else { &words[..] };
    let (language, role) = known(words)?;
    Some((language, role, words.join(" ")))
}

fn known(words: &[&str]) -> Option<(Language, Role)> {
    Some(match words {
        ["cargo", "check", ..] => (Language::Rust, Role::Types),
        ["cargo", "clippy", ..] => (Language::Rust, Role::Lint),
        ["cargo", "test", ..] | ["cargo", "nextest", "run", ..] => (Language::Rust, Role::Test),
        ["tsc", ..] => (Language::Node, Role::Types),
        ["eslint", ..] => (Language::Node, Role::Lint),
        ["node", "--test", ..] | ["jest" | "mocha", ..] | ["vitest", "run", ..] => (Language::Node, Role::Test),
        ["go", "vet", ..] => (Language::Go, Role::Types),
        ["go", "test", ..] => (Language::Go, Role::Test),
        ["mypy" | "pyright", ..] | ["python" | "python3", "-m", "mypy" | "pyright" | "compileall", ..] => {
            (Language::Python, Role::Types)
        }
        ["ruff", "check", ..] => (Language::Python, Role::Lint),
        ["pytest", ..] | ["python" | "python3", "-m", "pytest" | "unittest", ..] => (Language::Python, Role::Test),
        _ => return None,
    })
}

fn script(words: &[&str], source: &Source<'_>, found: &mut Found) -> Option<(Language, Role, String)> {
    let scripts = scripts::scripts(source, "", &mut Found::default())?;
    let scripts::Called::Script(name) = scripts::called_script(words, &scripts) else { return None };
    let role = match name.as_str() {
        "typecheck" | "type-check" | "check-types" | "check" | "tsc" => Role::Types,
        "lint" => Role::Lint,
        "test" => Role::Test,
        _ => return None,
    };
    match scripts::whole_text(&scripts, &name) {
        Ok(text) => Some((Language::Node, role, text)),
        Err(why) => {
            found.note(format!("script `{name}` in package.json, which CI calls, is not used: {why}"));
            None
        }
    }
}

/// The program and its subcommand.
fn short_name(run: &str) -> String {
    let words = run.split_ascii_whitespace().take(2).filter(|w| !w.starts_with('-'));
    words.collect::<Vec<_>>().join(" ")
}
