//! Package managers: the manifests they rewrite. Most also run scripts of packages or write caches, builds and lock
//! files in a parent workspace, so beyond the names they are unforeseen.

use crate::calls::Call;
use crate::field::Field;
use crate::findings::Findings;
use crate::model::How;

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    let verb = verb(call);
    if is_query(call, verb) {
        return true;
    }
    let Some(files) = manifests(call.name, verb) else {
        return false;
    };
    for file in files {
        call.write_here(file, How::Write, out);
    }
    let shown = if verb.is_empty() { "" } else { " " };
    out.unforeseen(format!("`{}{shown}{verb}` may run scripts or write more than its manifests", call.name));
    true
}

/// The subcommand: the first word that is no option.
fn verb<'c>(call: &'c Call<'_>) -> &'c str {
    call.args.iter().filter_map(Field::known).find(|text| !text.starts_with(['-', '+'])).unwrap_or_default()
}

/// Subcommands that only ask.
fn is_query(call: &Call<'_>, verb: &str) -> bool {
    let only_version = matches!(
        call.args.iter().map(Field::known).collect::<Vec<_>>().as_slice(),
        [Some("--version" | "-v" | "-V" | "--help" | "-h" | "--list")]
    );
    let known = matches!(
        call.name,
        "npm"
            | "pnpm"
            | "yarn"
            | "bun"
            | "cargo"
            | "pip"
            | "pip3"
            | "poetry"
            | "uv"
            | "pipenv"
            | "go"
            | "bundle"
            | "gem"
            | "composer"
            | "rustup"
            | "rustc"
            | "make"
            | "mvn"
            | "gradle"
            | "gh"
            | "docker"
            | "kubectl"
            | "terraform"
            | "brew"
            | "apt"
            | "apt-get"
            | "java"
            | "gcc"
            | "clang"
            | "tsc"
            | "cmake"
            | "just"
    );
    let all_known = call.args.iter().all(Field::is_known);
    known && only_version
        || all_known
            && match call.name {
                "npm" => matches!(
                    verb,
                    "ls" | "list" | "view" | "info" | "outdated" | "root" | "prefix" | "whoami" | "search"
                ),
                "pnpm" => matches!(verb, "ls" | "list" | "outdated" | "why" | "root"),
                "cargo" => {
                    verb == "fmt" && call.args.iter().any(|arg| arg.known() == Some("--check")) || verb == "search"
                }
                "pip" | "pip3" => matches!(verb, "list" | "show" | "freeze" | "check"),
                "go" => matches!(verb, "version" | "doc"),
                "rustup" => verb == "show",
                _ => false,
            }
}

fn manifests(name: &str, verb: &str) -> Option<&'static [&'static str]> {
    const NONE: &[&str] = &[];
    Some(match (name, verb) {
        (
            "npm",
            "install" | "i" | "add" | "uninstall" | "remove" | "rm" | "un" | "update" | "up" | "upgrade" | "dedupe"
            | "ddp" | "link" | "audit" | "pkg" | "version" | "init" | "shrinkwrap" | "prune",
        ) => &["package.json", "package-lock.json"],
        (
            "pnpm",
            "install" | "i" | "add" | "remove" | "rm" | "update" | "up" | "dedupe" | "import" | "link" | "init",
        ) => &["package.json", "pnpm-lock.yaml"],
        ("yarn", "" | "install" | "add" | "remove" | "up" | "upgrade" | "dedupe" | "link" | "init") => {
            &["package.json", "yarn.lock"]
        }
        ("bun", "install" | "i" | "add" | "remove" | "rm" | "update" | "link" | "init") => {
            &["package.json", "bun.lock", "bun.lockb"]
        }
        ("npm" | "pnpm" | "yarn" | "npx" | "bunx" | "pnpx" | "corepack", _) => NONE,
        ("cargo", "add" | "remove" | "rm" | "upgrade") => &["Cargo.toml", "Cargo.lock"],
        ("cargo", "fmt" | "metadata" | "tree" | "search" | "login" | "new" | "init") => NONE,
        ("cargo", _) => &["Cargo.lock"],
        ("poetry", "add" | "remove" | "update" | "lock" | "install" | "init") => &["pyproject.toml", "poetry.lock"],
        ("uv", "add" | "remove" | "lock" | "sync" | "init") => &["pyproject.toml", "uv.lock"],
        ("pipenv", "install" | "uninstall" | "lock" | "update") => &["Pipfile", "Pipfile.lock"],
        ("pip" | "pip3" | "poetry" | "uv" | "uvx" | "pipx" | "pipenv" | "conda", _) => NONE,
        ("go", "get" | "mod" | "work") => &["go.mod", "go.sum"],
        ("go", _) => NONE,
        ("bundle", "add" | "remove" | "install" | "update" | "lock" | "") => &["Gemfile", "Gemfile.lock"],
        ("bundle" | "gem", _) => NONE,
        ("composer", "require" | "remove" | "update" | "install") => &["composer.json", "composer.lock"],
        ("composer", _) => NONE,
        ("mix", "deps.get" | "deps.update") => &["mix.lock"],
        ("flutter" | "dart", "pub") => &["pubspec.yaml", "pubspec.lock"],
        ("swift", "package") => &["Package.swift", "Package.resolved"],
        ("dotnet", "add" | "remove") => NONE,
        _ => return None,
    })
}

/// Tools whose effects are known also when a package manager starts them.
const RUN_BY: &[&str] =
    &["prettier", "eslint", "biome", "black", "isort", "ruff", "rustfmt", "gofmt", "stylelint", "autopep8", "yapf"];

/// The words of a known tool that a package manager or interpreter is asked to run.
pub(crate) fn runner(name: &str, args: &[Field]) -> Option<Vec<Field>> {
    let verbs: &[&str] = match name {
        "npx" | "bunx" | "pnpx" => &[],
        "npm" => &["exec", "x"],
        "pnpm" => &["exec", "dlx"],
        "yarn" => &["exec", "dlx", "run"],
        "uv" | "poetry" | "pipenv" => &["run"],
        "bundle" => &["exec"],
        "python" | "python3" => &["-m"],
        _ => return None,
    };
    let mut at = 0;
    if !verbs.is_empty() {
        let first = args.first()?.known()?;
        if verbs.contains(&first) {
            at = 1;
        } else if name != "yarn" {
            return None;
        }
    }
    while let Some("-y" | "--yes" | "--no-install" | "--no" | "--") = args.get(at).and_then(Field::known) {
        at += 1;
    }
    let tool = args.get(at)?.known()?;
    RUN_BY.contains(&tool).then(|| args[at..].to_vec())
}
