//! Projects of JavaScript and TypeScript: the text of their own scripts, taken from the target tip. A script is never
//! run by its name, since the name would mean whatever `package.json` says in the tree under test. A script that calls
//! others by name gets their text put in; one that calls them in a way that cannot be followed is passed over, and said
//! so.

use std::collections::BTreeMap;

use serde_json::Value;

use super::source::{Source, within};
use super::{Check, Found, Language, Origin, Role, words};

/// Names under which projects keep their type check.
const TYPE_CHECKS: [&str; 3] = ["typecheck", "type-check", "check-types"];
/// Scripts of scripts of scripts; more is a circle.
const DEPTH_MAX: usize = 4;
/// These run scripts by name.
const RUNNERS: [&str; 4] = ["npm", "pnpm", "yarn", "bun"];
/// These run what some other file of the tree under test says.
const READS_ELSEWHERE: [&str; 14] = [
    "npm-run-all",
    "npm-run-all2",
    "run-s",
    "run-p",
    "turbo",
    "nx",
    "lerna",
    "wireit",
    "concurrently",
    "make",
    "just",
    "task",
    "gulp",
    "grunt",
];
const SYNTAX: &str = "find . \\( -name node_modules -o -name '.?*' \\) -prune -o -type f \
                      \\( -name '*.js' -o -name '*.mjs' -o -name '*.cjs' \\) -print0 | xargs -0 -r -n 1 node --check";

type Scripts = BTreeMap<String, String>;

pub(super) fn look(source: &Source<'_>, found: &mut Found) {
    let done: Vec<Role> =
        [Role::Types, Role::Lint, Role::Test].into_iter().filter(|r| found.has(Language::Node, *r)).collect();
    for place in source.places(&["package.json", "tsconfig.json"], found) {
        let scripts = scripts(source, &place, found);
        let has_types = source.has(&within(&place, "tsconfig.json"));
        let mut project = Project { place: &place, scripts: scripts.unwrap_or_default(), found };
        if has_types {
            if !done.contains(&Role::Types) {
                project.types(source);
            }
        } else {
            if !done.contains(&Role::Types) && !project.take(&["check"], Role::Types) {
                project.syntax();
            }
            if !done.contains(&Role::Lint) {
                project.take(&["lint"], Role::Lint);
            }
        }
        if !done.contains(&Role::Test) {
            project.take(&["test"], Role::Test);
        }
    }
}

/// The scripts of a `package.json`, `None` if there is none that can be read.
pub(super) fn scripts(source: &Source<'_>, place: &str, found: &mut Found) -> Option<Scripts> {
    let path = within(place, "package.json");
    let text = source.text(&path, found)?;
    let manifest: Value = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(manifest) => manifest,
        Err(e) => {
            found.note(format!("{path} cannot be read ({e}); none of its scripts is used"));
            return None;
        }
    };
    let scripts = manifest["scripts"].as_object().into_iter().flatten();
    Some(scripts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect())
}

struct Project<'p> {
    place: &'p str,
    scripts: Scripts,
    found: &'p mut Found,
}

impl Project<'_> {
    /// Takes the first of these scripts that there is. Whether the project has one, be it of use or not.
    fn take(&mut self, names: &[&str], role: Role) -> bool {
        let Some(name) = names.iter().find(|n| self.scripts.contains_key(**n)) else { return false };
        let file = within(self.place, "package.json");
        match whole_text(&self.scripts, name) {
            Ok(run) => {
                let from = Origin::Script { file, script: (*name).to_owned() };
                let check = Check::new(&format!("npm {name}"), &run, role.when(), from);
                self.found.add(Language::Node, role, check.at(self.place).with_node_modules());
                true
            }
            Err(why) => {
                self.found.note(format!("script `{name}` in {file} is not used: {why}"));
                false
            }
        }
    }

    fn types(&mut self, source: &Source<'_>) {
        if self.take(&TYPE_CHECKS, Role::Types) {
            return;
        }
        let file = within(self.place, "tsconfig.json");
        let text = source.text(&file, self.found).unwrap_or_default();
        if has_references_only(&text) {
            let why = "it only refers to other projects, and `tsc -p .` would look at none of them";
            self.found.note(format!("{file} is not used: {why}; give package.json a script `typecheck`"));
            return;
        }
        let run = "tsc -p . --noEmit --incremental";
        let check = Check::new("tsc", run, Role::Types.when(), Origin::Manifest { file });
        self.found.add(Language::Node, Role::Types, check.at(self.place).with_node_modules());
    }

    fn syntax(&mut self) {
        let from = Origin::Manifest { file: within(self.place, "package.json") };
        let mut check = Check::new("node syntax", SYNTAX, Role::Types.when(), from).at(self.place);
        check.needs = ["find", "xargs", "node"].map(str::to_owned).to_vec();
        self.found.add(Language::Node, Role::Types, check);
        let limit = "`node --check` sees syntax only, one process a file: no types, no names, no imports";
        self.found.note(format!("{}: {limit}", if self.place.is_empty() { "." } else { self.place }));
    }
}

/// A script's text with what it calls by name put in, and what npm would run before and after it.
pub(super) fn whole_text(scripts: &Scripts, name: &str) -> Result<String, String> {
    with_hooks(scripts, name, DEPTH_MAX)
}

fn with_hooks(scripts: &Scripts, name: &str, depth: usize) -> Result<String, String> {
    let parts = [format!("pre{name}"), name.to_owned(), format!("post{name}")];
    let there = parts.iter().filter(|n| scripts.contains_key(*n));
    let texts = there.map(|n| text_of(scripts, n, depth)).collect::<Result<Vec<_>, _>>()?;
    match texts.as_slice() {
        [] => Err(format!("there is no script `{name}`")),
        [one] => Ok(one.clone()),
        more => Ok(more.iter().map(|t| format!("( {t} )")).collect::<Vec<_>>().join(" && ")),
    }
}

fn text_of(scripts: &Scripts, name: &str, depth: usize) -> Result<String, String> {
    let text = scripts.get(name).map_or("", |t| t.trim());
    let has_word = |words: &[&str]| {
        text.split(|c: char| !(c.is_alphanumeric() || "-_./:@".contains(c))).any(|w| words.contains(&w))
    };
    if text.is_empty() || text.contains("no test specified") {
        return Err("it says nothing".to_owned());
    }
    if has_word(&["--watch", "--watchAll", "-w", "nodemon"]) {
        return Err("it watches files and never ends".to_owned());
    }
    if has_word(&READS_ELSEWHERE) {
        return Err("it runs what other files of the tree say, which a change under test could change".to_owned());
    }
    if !has_word(&RUNNERS) && !text.contains("npm:") {
        return Ok(text.to_owned());
    }
    let unclear = || "it calls other scripts in a way that cannot be followed".to_owned();
    if depth == 0 {
        return Err(unclear());
    }
    let mut whole = Vec::new();
    for (words, operator) in words::commands(text).ok_or_else(unclear)? {
        whole.push(match called_script(&words, scripts) {
            Called::Script(other) => format!("( {} )", with_hooks(scripts, &other, depth - 1)?),
            Called::Nothing => words.join(" "),
            Called::Unclear => return Err(unclear()),
        });
        whole.push(operator.to_owned());
    }
    Ok(whole.join(" ").trim_end().to_owned())
}

pub(super) enum Called {
    Script(String),
    Nothing,
    Unclear,
}

/// Which script a simple command calls.
pub(super) fn called_script(words: &[&str], scripts: &Scripts) -> Called {
    let is_quiet = |w: &&&str| !matches!(**w, "-s" | "--silent" | "--if-present");
    let words: Vec<&str> = words.iter().filter(is_quiet).copied().collect();
    let known = |name: &str| if scripts.contains_key(name) { Called::Script(name.to_owned()) } else { Called::Unclear };
    match words.as_slice() {
        [runner, "run" | "run-script", name] if RUNNERS.contains(runner) => known(name),
        ["npm", "t" | "test"] | ["pnpm" | "yarn", "test"] => known("test"),
        ["yarn" | "pnpm", name] => known(name),
        more if more.iter().any(|w| RUNNERS.contains(w) || w.contains("npm:")) => Called::Unclear,
        _ => Called::Nothing,
    }
}

/// Whether a `tsconfig.json` (JSON with comments) has references and no files of its own.
fn has_references_only(text: &str) -> bool {
    let Ok(config) = serde_json::from_str::<Value>(&without_comments(text)) else { return false };
    let is_empty = |key: &str| config[key].as_array().is_some_and(Vec::is_empty);
    config["references"].as_array().is_some_and(|r| !r.is_empty()) && is_empty("files") && !config["include"].is_array()
}

/// JSON without comments and without commas before a closing bracket.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('"', _) => {
                kept.push('"');
                copy_string(&mut rest, &mut kept);
            }
            ('/', Some('/')) => while rest.next_if(|c| *c != '\n').is_some() {},
            ('/', Some('*')) => {
                let mut last = ' ';
                for c in rest.by_ref().skip(1) {
                    if (last, c) == ('*', '/') {
                        break;
                    }
                    last = c;
                }
            }
            (']' | '}', _) => {
                let len = kept.trim_end().trim_end_matches(',').len();
                kept.truncate(len);
                kept.push(c);
            }
            _ => kept.push(c),
        }
    }
    kept
}

fn copy_string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, kept: &mut String) {
    let mut is_escaped = false;
    for c in rest.by_ref() {
        kept.push(c);
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return,
            _ => {}
        }
    }
}
