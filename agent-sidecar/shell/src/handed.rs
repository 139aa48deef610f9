//! Programs that hand a command on to somebody: to a shell through interpreter code or an option, to a container, or to
//! another machine. It says which command; `nested` follows it. It knows no rules.

use crate::escapes;
use crate::field::Field;
use crate::inline;
use crate::options::{Parsed, Spec};
use crate::shell::Flow;

/// A command that is handed on.
pub(crate) struct Handed {
    pub(crate) what: What,
    /// In a container or on another machine: paths in it are not paths here.
    pub(crate) elsewhere: bool,
    pub(crate) stdin: Flow,
}

pub(crate) enum What {
    /// For a shell.
    Text(Field),
    Words(Vec<Field>),
}

impl Handed {
    pub(crate) fn text(text: Field) -> Self {
        Self { what: What::Text(text), elsewhere: false, stdin: Flow::Unknown }
    }

    fn away(what: What, stdin: &Flow) -> Self {
        Self { what, elsewhere: true, stdin: stdin.clone() }
    }
}

pub(crate) fn commands(name: &str, args: &[Field], stdin: &Flow) -> Vec<Handed> {
    let mut out = whole(name, args, stdin);
    // What these texts change is not foreseen: only rules look at them.
    let texts = escapes::texts(name, args, stdin).into_iter().map(Field::literal);
    out.extend(texts.map(|text| Handed::away(What::Text(text), &Flow::Unknown)));
    out
}

/// Those that are a program's own words.
fn whole(name: &str, args: &[Field], stdin: &Flow) -> Vec<Handed> {
    match name {
        "docker" | "podman" | "nerdctl" | "docker-compose" | "podman-compose" => contained(args, stdin),
        "kubectl" | "oc" | "k3s" => after_dashes(args, &["exec", "run", "debug"], stdin),
        "lxc" | "incus" | "multipass" => after_dashes(args, &["exec"], stdin),
        "distrobox" => after_dashes(args, &["enter"], stdin),
        "ssh" | "mosh" | "autossh" => ssh(args, stdin),
        "git" => git(args),
        "tmux" | "screen" => operands_as_text(args),
        "hyperfine" | "entr" | "watchexec" | "nodemon" | "concurrently" => operands_as_text(args),
        "nix-shell" => option_text(args, &["--run", "--command"]),
        "nix" | "just" => after_option(args, &["--command", "-c"]),
        "pwsh" | "powershell" | "fish" | "csh" | "tcsh" => option_text(args, &["-c", "-Command"]),
        "mise" | "direnv" | "op" | "aws-vault" | "dotenv" | "dotenvx" | "doppler" | "conda" | "rbenv" | "asdf"
        | "chamber" | "infisical" | "vault" | "npm-run-all" => runner(args),
        "make" | "gmake" => make(stdin),
        "at" | "batch" | "crontab" => scheduled(name, stdin),
        "npx" | "bunx" | "pnpx" | "npm" | "pnpm" | "yarn" | "uv" | "uvx" | "pipx" | "poetry" | "pipenv" | "bundle"
        | "hatch" | "pdm" | "rye" => packaged(name, args, stdin),
        "bun" => packaged(name, args, stdin).into_iter().chain(inline::commands(name, args, stdin)).collect(),
        _ => inline::commands(name, args, stdin),
    }
}

/// `docker run [options] image command`, `exec`, and the same below `compose`.
fn contained(args: &[Field], stdin: &Flow) -> Vec<Handed> {
    const LONG: &[&str] = &[
        "--env",
        "--user",
        "--workdir",
        "--volume",
        "--publish",
        "--name",
        "--network",
        "--mount",
        "--entrypoint",
        "--env-file",
        "--platform",
        "--memory",
        "--cpus",
        "--label",
        "--add-host",
        "--gpus",
        "--file",
        "--project-name",
        "--profile",
        "--context",
        "--host",
        "--log-level",
        "--hostname",
        "--pull",
        "--restart",
        "--ulimit",
        "--shm-size",
        "--cap-add",
        "--cap-drop",
        "--device",
        "--dns",
        "--ipc",
        "--pid",
        "--security-opt",
        "--tmpfs",
        "--index",
    ];
    let spec = Spec::in_order("e:u:w:v:p:m:l:h:a:c:f:H:", LONG);
    let mut words = Parsed::new(args, spec).operands;
    if words.first().and_then(Field::known) == Some("compose")
        || words.first().and_then(Field::known) == Some("container")
    {
        words = Parsed::new(&words[1..], spec).operands;
    }
    if !matches!(words.first().and_then(Field::known), Some("run" | "exec" | "create")) {
        return Vec::new();
    }
    let inner = Parsed::new(&words[1..], spec);
    let mut command: Vec<Field> = inner.operands.iter().skip(1).cloned().collect();
    if let Some(program) = inner.value(&["--entrypoint"]) {
        command.insert(0, program.clone());
    }
    if command.is_empty() {
        return Vec::new();
    }
    // An image may be a program with its arguments behind it: `amazon/aws-cli s3 ls`.
    let image = inner.operands.first().and_then(Field::known).filter(|_| words[0].known() == Some("run"));
    let image = image.and_then(|text| text.rsplit('/').next()).and_then(|name| name.split([':', '@']).next());
    let as_program = image.map(|name| [&[Field::literal(name)], command.as_slice()].concat());
    let both = [Some(command), as_program].into_iter().flatten();
    both.map(|words| Handed::away(What::Words(words), stdin)).collect()
}

fn after_dashes(args: &[Field], verbs: &[&str], stdin: &Flow) -> Vec<Handed> {
    if !args.iter().any(|arg| arg.known().is_some_and(|text| verbs.contains(&text))) {
        return Vec::new();
    }
    let words: Vec<Field> = args.iter().skip_while(|arg| arg.known() != Some("--")).skip(1).cloned().collect();
    if words.is_empty() { Vec::new() } else { vec![Handed::away(What::Words(words), stdin)] }
}

fn ssh(args: &[Field], stdin: &Flow) -> Vec<Handed> {
    let parsed = Parsed::new(args, Spec::in_order("b:c:D:E:e:F:I:i:J:L:l:m:O:o:p:Q:R:S:W:w:B:", &[]));
    let mut words: Vec<Field> = parsed.operands.iter().skip(1).cloned().collect();
    if words.first().and_then(Field::known) == Some("--") {
        words.remove(0);
    }
    match (words.is_empty(), stdin) {
        (false, _) => vec![Handed::away(What::Text(crate::wrappers::join(&words)), stdin)],
        (true, Flow::Text(text)) if !parsed.operands.is_empty() => {
            vec![Handed::away(What::Text(Field::literal(text)), &Flow::Nothing)]
        }
        _ => Vec::new(),
    }
}

/// Texts that git gives to a shell, which runs them at the top of a work tree or in another one.
fn git(args: &[Field]) -> Vec<Handed> {
    let mut out = Vec::new();
    let text = |field: &Field| Handed::away(What::Text(field.clone()), &Flow::Unknown);
    for pair in args.windows(2) {
        match pair[0].prefix() {
            "-c" | "--config-env" => {
                out.extend(pair[1].known().and_then(|text| text.split_once('=')).and_then(setting));
            }
            "-x" | "--exec" | "--tree-filter" | "--index-filter" | "--msg-filter" | "--env-filter"
            | "--commit-filter" => out.push(text(&pair[1])),
            name if name.starts_with("alias.") => out.extend(pair[1].known().and_then(|value| setting((name, value)))),
            _ => {}
        }
    }
    let words: Vec<&str> = args.iter().map(|arg| arg.known().unwrap_or_default()).collect();
    let skipped = |n: usize| args.iter().skip(n).skip_while(|arg| arg.prefix().starts_with('-')).cloned().collect();
    if let Some(at) = words.windows(2).position(|two| matches!(two, ["submodule", "foreach"] | ["bisect", "run"])) {
        let rest: Vec<Field> = skipped(at + 2);
        if words[at] == "bisect" {
            out.push(Handed::away(What::Words(rest), &Flow::Unknown));
        } else if !rest.is_empty() {
            out.push(text(&crate::wrappers::join(&rest)));
        }
    }
    out
}

/// A setting that is a command: an alias, or a program that git calls.
fn setting((name, value): (&str, &str)) -> Option<Handed> {
    const PROGRAMS: &[&str] = &[
        "core.editor",
        "core.pager",
        "core.sshcommand",
        "core.askpass",
        "core.fsmonitor",
        "sequence.editor",
        "diff.external",
        "credential.helper",
    ];
    let name = name.to_lowercase();
    let text = match value.strip_prefix('!') {
        Some(text) => text.to_owned(),
        None if name.starts_with("alias.") => format!("git {value}"),
        None if PROGRAMS.contains(&name.as_str()) || name.starts_with("pager.") => value.to_owned(),
        None => return None,
    };
    Some(Handed::away(What::Text(Field::literal(text)), &Flow::Unknown))
}

/// Words that are commands each, as terminal multiplexers and file watchers take them.
fn operands_as_text(args: &[Field]) -> Vec<Handed> {
    let spaced = |arg: &&Field| arg.known().is_some_and(|text| text.contains(' '));
    let texts: Vec<Handed> = args.iter().filter(spaced).map(|arg| Handed::text(arg.clone())).collect();
    if !texts.is_empty() {
        return texts;
    }
    let operands = Parsed::new(args, Spec::new("s:n:t:c:e:L:S:w:", &[])).operands;
    let at = operands.iter().position(|word| {
        matches!(word.known(), Some("rm" | "sudo" | "git" | "terraform" | "kubectl" | "sh" | "bash" | "curl"))
    });
    let words = at.map(|at| operands[at..].to_vec());
    words.map(|words| Handed { what: What::Words(words), elsewhere: false, stdin: Flow::Unknown }).into_iter().collect()
}

/// All words after one of these options.
fn after_option(args: &[Field], options: &[&str]) -> Vec<Handed> {
    let is_one = |arg: &Field| arg.known().is_some_and(|text| options.contains(&text));
    let words: Vec<Field> = args.iter().skip_while(|arg| !is_one(arg)).skip(1).cloned().collect();
    let handed = Handed { what: What::Words(words), elsewhere: false, stdin: Flow::Unknown };
    matches!(&handed.what, What::Words(words) if !words.is_empty()).then_some(handed).into_iter().collect()
}

fn option_text(args: &[Field], options: &[&str]) -> Vec<Handed> {
    let next = args.windows(2).filter(|pair| pair[0].known().is_some_and(|text| options.contains(&text)));
    next.map(|pair| Handed::text(pair[1].clone())).collect()
}

/// A tool run by a package manager: `npx tool`, `pnpm tool`, `bundle exec tool`.
fn packaged(name: &str, args: &[Field], stdin: &Flow) -> Vec<Handed> {
    const VALUED: Spec<'_> =
        Spec::in_order("p:c:w:C:", &["--package", "--prefix", "--filter", "--workspace", "--with", "--from"]);
    let mut words = Parsed::new(args, VALUED).operands;
    let verb = words.first().and_then(Field::known).unwrap_or_default();
    let runs = matches!(verb, "exec" | "x" | "dlx" | "run");
    match name {
        "npx" | "bunx" | "pnpx" | "uvx" => {}
        _ if runs => words = Parsed::new(&words[1..], VALUED).operands,
        "pnpm" | "yarn" if TOOLS.contains(&verb) => {}
        _ => return Vec::new(),
    }
    if words.is_empty() {
        return Vec::new();
    }
    vec![Handed { what: What::Words(words), elsewhere: false, stdin: stdin.clone() }]
}

/// Tools that `pnpm` and `yarn` run by name alone; other words are scripts of the package.
const TOOLS: &[&str] = &[
    "prisma",
    "rimraf",
    "cdk",
    "sequelize",
    "typeorm",
    "knex",
    "drizzle-kit",
    "wrangler",
    "vercel",
    "netlify",
    "firebase",
    "supabase",
    "sst",
    "serverless",
];

/// `tool exec [options] -- command`.
fn runner(args: &[Field]) -> Vec<Handed> {
    let dashes = args.iter().position(|arg| arg.known() == Some("--"));
    let words: Vec<Field> = match dashes {
        Some(at) => args[at + 1..].to_vec(),
        None => {
            let operands = Parsed::new(args, Spec::in_order("n:p:f:e:", &["--name", "--prefix"])).operands;
            match operands.first().and_then(Field::known) {
                Some("run" | "exec") => {
                    let rest =
                        Parsed::new(&operands[1..], Spec::in_order("n:p:f:e:", &["--name", "--prefix"])).operands;
                    let folder = rest.first().is_some_and(|word| word.prefix().starts_with(['.', '/']));
                    rest.into_iter().skip(usize::from(folder)).collect()
                }
                _ => Vec::new(),
            }
        }
    };
    if words.is_empty() {
        return Vec::new();
    }
    vec![Handed { what: What::Words(words), elsewhere: false, stdin: Flow::Unknown }]
}

/// A make file on standard input: its recipes.
fn make(stdin: &Flow) -> Vec<Handed> {
    let Flow::Text(text) = stdin else {
        return Vec::new();
    };
    let recipes =
        text.lines().filter_map(|line| line.strip_prefix('\t').or_else(|| line.split_once("; ").map(|r| r.1)));
    recipes.map(|line| Handed::text(Field::literal(line.trim_start_matches(['@', '-'])))).collect()
}

fn scheduled(name: &str, stdin: &Flow) -> Vec<Handed> {
    const CRON_FIELDS: usize = 5;
    let Flow::Text(text) = stdin else {
        return Vec::new();
    };
    let line = |line: &str| {
        if name != "crontab" {
            return line.to_owned();
        }
        let fields = if line.starts_with('@') { 1 } else { CRON_FIELDS };
        line.split_whitespace().skip(fields).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(|text| Handed::text(Field::literal(line(text)))).collect()
}
