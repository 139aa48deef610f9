//! The shell's own commands, which change its state and no file: `cd`, `set`, `export`, `read`, `trap`, ...
//! Programs are elsewhere. Used by `nested` for names without a folder.

use crate::calls::Call;
use crate::field::{Field, folder};
use crate::programs;
use crate::shell::{Flow, Shell, Value};
use crate::walk::Walker;

/// Variables through which other programs run commands or load code.
const RISKY_VARIABLES: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "PROMPT_COMMAND",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "DYLD_INSERT_LIBRARIES",
    "GIT_EXTERNAL_DIFF",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_EXEC_PATH",
    "GIT_INDEX_FILE",
    "LESSOPEN",
    "PERL5OPT",
    "PERL5LIB",
    "RIPGREP_CONFIG_PATH",
    "TAR_OPTIONS",
    "POSIXLY_CORRECT",
    "CDPATH",
];
/// The same, where a pager or editor that does nothing is usual.
const RISKY_UNLESS_PLAIN: &[&str] =
    &["PAGER", "GIT_PAGER", "MANPAGER", "EDITOR", "VISUAL", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR"];

/// Variables whose value is a command that a program runs.
const COMMAND_VARIABLES: &[&str] = &[
    "PROMPT_COMMAND",
    "GIT_EXTERNAL_DIFF",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "GIT_PAGER",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "PAGER",
    "MANPAGER",
    "EDITOR",
    "VISUAL",
    "LESSOPEN",
    "BROWSER",
];

impl Walker<'_> {
    /// Notes a variable that changes what later commands do, and looks at the command it may hold.
    pub(crate) fn risky_variable(&mut self, shell: &Shell, name: &str, value: &Field) {
        let holds_command = COMMAND_VARIABLES.contains(&name) || name.starts_with("GIT_CONFIG_VALUE_");
        if let Some(text) = value.known().filter(|text| holds_command && text.contains(' ')) {
            let mut inner = shell.clone();
            inner.wrappers.push(name.to_owned());
            self.out.elsewhere += 1;
            self.text(&mut inner, text.trim_start_matches('!'));
            self.out.elsewhere -= 1;
        }
        let plain = matches!(value.known(), Some("" | "cat" | "less" | "more" | "true" | ":" | "vi" | "vim" | "nano"));
        if RISKY_VARIABLES.contains(&name) || RISKY_UNLESS_PLAIN.contains(&name) && !plain {
            self.out.unforeseen(format!("the variable {name} changes what commands do"));
        }
    }
}

/// Runs a builtin; none if `name` is not one.
pub(crate) fn run(walker: &mut Walker<'_>, shell: &mut Shell, name: &str, args: &[Field]) -> Option<Flow> {
    match name {
        "cd" | "chdir" => cd(shell, walker.env.home, args),
        "pushd" => pushd(shell, args),
        "popd" => popd(shell, args),
        "exit" | "return" | "break" | "continue" | "logout" => shell.left = true,
        "export" | "readonly" | "declare" | "typeset" | "local" => declare(walker, shell, args),
        "read" => read(shell, args),
        "mapfile" | "readarray" => mapfile(shell, args),
        "unset" | "getopts" | "let" => forget(shell, name, args),
        "set" => set(shell, args),
        "shift" => shift(shell, args),
        "trap" => trap(walker, shell, args),
        "source" | "." => source(walker, shell, args),
        "alias" if !args.is_empty() => alias(walker, shell, args),
        "enable" | "bind" if !args.is_empty() => {
            walker.out.unforeseen(format!("`{name}` changes the shell"));
        }
        "printf" => return printf(shell, args),
        "alias" | "unalias" | "bind" | "enable" | ":" | "ulimit" | "umask" | "hash" | "shopt" | "setopt"
        | "unsetopt" | "wait" | "jobs" | "fg" | "bg" | "disown" | "times" | "caller" | "help" | "suspend"
        | "compgen" | "complete" | "rehash" | "autoload" | "emulate" => {}
        _ => return None,
    }
    Some(Flow::Nothing)
}

fn operands(args: &[Field]) -> Vec<&Field> {
    let options = args.iter().take_while(|arg| arg.prefix().starts_with('-') && arg.prefix().len() > 1).count();
    args[options..].iter().collect()
}

fn cd(shell: &mut Shell, home: Option<&std::path::Path>, args: &[Field]) {
    let to = match operands(args).first() {
        None => home.map(std::path::Path::to_path_buf),
        Some(field) => match field.known() {
            Some("-") => shell.previous.clone(),
            Some("") => shell.cwd.clone(),
            Some(text) => folder(shell.cwd.as_deref(), text),
            None => None,
        },
    };
    shell.change_folder(to);
}

fn pushd(shell: &mut Shell, args: &[Field]) {
    let here = shell.cwd.clone();
    match operands(args).first() {
        Some(field) if !field.prefix().starts_with('+') => {
            let to = field.known().and_then(|text| folder(here.as_deref(), text));
            shell.folders.push(here);
            shell.change_folder(to);
        }
        Some(_) => {
            shell.folders.clear();
            shell.change_folder(None);
        }
        None => {
            let to = shell.folders.pop().flatten();
            shell.folders.push(here);
            shell.change_folder(to);
        }
    }
}

fn popd(shell: &mut Shell, args: &[Field]) {
    let to = if args.is_empty() {
        shell.folders.pop().flatten()
    } else {
        shell.folders.clear();
        None
    };
    shell.change_folder(to);
}

fn declare(walker: &mut Walker<'_>, shell: &mut Shell, args: &[Field]) {
    for arg in operands(args) {
        let Some((name, _)) = arg.prefix().split_once('=') else {
            continue;
        };
        let value = arg.strip_prefix(&format!("{name}=")).unwrap_or_default();
        walker.risky_variable(shell, name, &value);
        let array = value.0.iter().any(|bit| matches!(bit, crate::field::Bit::Pattern(_)));
        if name.ends_with('+') || name.contains('[') || array {
            shell.forget(name.split(['+', '[']).next().unwrap_or(name));
        } else {
            shell.set(name, Value::scalar(value));
        }
    }
}

fn forget(shell: &mut Shell, builtin: &str, args: &[Field]) {
    if builtin == "read" && args.is_empty() {
        shell.forget("REPLY");
    }
    for arg in args {
        match arg.known() {
            None => shell.forget_all(),
            Some(text) => {
                let name = text.split(['=', '[', '+', '-', '*', '/']).next().unwrap_or(text);
                if !name.is_empty() {
                    shell.forget(name);
                }
            }
        }
    }
}

/// One line of a known text into variables; anything that reads it in another way leaves them unknown.
fn read(shell: &mut Shell, args: &[Field]) {
    forget(shell, "read", args);
    let names: Option<Vec<String>> = operands(args).into_iter().map(|name| name.known().map(str::to_owned)).collect();
    let options: Vec<&str> = args.iter().map(Field::prefix).filter(|text| text.starts_with('-')).collect();
    let (Some(names), Flow::Text(text)) = (names, &shell.stdin) else {
        return;
    };
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    if line.contains('\\') || shell.vars.contains_key("IFS") {
        return;
    }
    match (options.as_slice(), names.as_slice()) {
        (["-a" | "-ra" | "-ar"], [name]) => {
            let fields = line.split_whitespace().map(Field::literal).collect();
            shell.set(name, Value { fields, list: true });
        }
        ([] | ["-r"], names) => {
            let mut rest = line;
            for (at, name) in names.iter().enumerate() {
                let (word, after) = match rest.split_once([' ', '\t']) {
                    Some((word, after)) if at + 1 < names.len() => (word.to_owned(), after.trim_start().to_owned()),
                    _ => (std::mem::take(&mut rest), String::new()),
                };
                shell.set(name, Value::scalar(Field::literal(word)));
                rest = after;
            }
        }
        _ => {}
    }
}

/// The lines of a known text into an array.
fn mapfile(shell: &mut Shell, args: &[Field]) {
    forget(shell, "mapfile", args);
    let plain = args.first().and_then(Field::known) == Some("-t");
    if let (true, [name], Flow::Text(text)) = (plain, operands(args).as_slice(), &shell.stdin)
        && let Some(name) = name.known().map(str::to_owned)
    {
        let fields = text.lines().map(Field::literal).collect();
        shell.set(&name, Value { fields, list: true });
    }
}

fn set(shell: &mut Shell, args: &[Field]) {
    let dashes = args.iter().position(|arg| arg.known() == Some("--"));
    let plain = args.first().is_some_and(|arg| !arg.prefix().starts_with(['-', '+']));
    if let Some(at) = dashes {
        shell.positional = Some(args[at + 1..].to_vec());
    } else if plain {
        shell.positional = Some(args.to_vec());
    }
    if args.iter().any(Field::splits) {
        shell.positional = None;
    }
}

fn shift(shell: &mut Shell, args: &[Field]) {
    let count = match args.first().map(Field::known) {
        None => Some(1),
        Some(text) => text.and_then(|text| text.parse::<usize>().ok()),
    };
    shell.positional = match (shell.positional.take(), count) {
        (Some(words), Some(count)) => Some(words.into_iter().skip(count).collect()),
        _ => None,
    };
}

fn trap(walker: &mut Walker<'_>, shell: &Shell, args: &[Field]) {
    let operands = operands(args);
    let [action, _, ..] = operands.as_slice() else {
        return;
    };
    let mut inner = shell.clone();
    inner.wrappers.push("trap".to_owned());
    // It runs when the rest is done, wherever that is then.
    match action.known() {
        Some("-" | "") => {}
        Some(text) => {
            inner.forget_all();
            walker.text(&mut inner, text);
        }
        None => walker.out.unforeseen("`trap` runs a text that is known only when it runs"),
    }
}

/// What a name would run from now on is looked at where it is given that meaning.
fn alias(walker: &mut Walker<'_>, shell: &mut Shell, args: &[Field]) {
    walker.out.unforeseen("`alias` changes what a name runs");
    for arg in args {
        if let Some((name, text)) = arg.known().and_then(|text| text.split_once('=')) {
            shell.aliases.insert(name.to_owned(), text.to_owned());
            let mut inner = shell.clone();
            inner.wrappers.push("alias".to_owned());
            walker.text(&mut inner, text);
        }
    }
}

fn source(walker: &mut Walker<'_>, shell: &mut Shell, args: &[Field]) {
    if let Some(file) = args.first() {
        if let (Some("/dev/stdin" | "/dev/fd/0" | "/dev/fd/63"), Flow::Text(text)) = (file.known(), shell.stdin.clone())
        {
            walker.text(shell, &text);
        }
        walker.out.read(file, shell.cwd.as_deref());
        walker.out.unforeseen(format!("`source {}` runs a script", file.source()));
        walker.script(&mut shell.clone(), file);
        shell.forget_all();
    }
}

/// Only `printf -v`, which sets a variable; the rest is a program like others.
fn printf(shell: &mut Shell, args: &[Field]) -> Option<Flow> {
    if args.first().and_then(Field::known) != Some("-v") {
        return None;
    }
    forget(shell, "printf", args.get(1..2).unwrap_or_default());
    let call = Call {
        name: "printf",
        args: args.get(2..).unwrap_or_default(),
        cwd: None,
        stdin: &Flow::Nothing,
        assignments: &[],
    };
    if let (Some(name), Flow::Text(text)) = (args.get(1).and_then(Field::known), programs::output(&call)) {
        shell.set(name, Value::scalar(Field::literal(text)));
    }
    Some(Flow::Nothing)
}
