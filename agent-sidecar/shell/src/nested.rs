//! Runs one simple command on paper: records it, takes wrappers off, and follows what is run inside it (functions,
//! shells, `eval`, `xargs`, `find -exec`). What remains is a program, whose effects `programs` and `git` know.

use std::path::Path;

use crate::builtins;
use crate::calls::Call;
use crate::field::{Bit, Field, resolve};
use crate::git;
use crate::handed::{self, What};
use crate::model::{Invocation, Target};
use crate::options::{Parsed, Spec};
use crate::programs;
use crate::shell::{Flow, Shell, Value};
use crate::walk::Walker;
use crate::wrappers::{self, Layer, Setting};

/// Commands recorded in one analysis. More than that is a generated script, which nobody can judge by reading.
const INVOCATIONS_MAX: usize = 500;
/// Wrappers around wrappers.
const WRAPPERS_MAX: usize = 16;
/// Invocations remembered as the source of one command's input.
const FEEDERS_MAX: usize = 64;
/// Lines of standard input that `xargs -I` is followed through one by one.
const XARGS_LINES_MAX: usize = 32;

/// Folders whose programs are what their names say.
const PROGRAM_FOLDERS: &[&str] = &[
    "/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/sbin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/bin",
    "/opt/local/bin",
    "/snap/bin",
    "/run/current-system/sw/bin",
];

impl Walker<'_> {
    /// One command with its words expanded; `shell.stdin` is its standard input.
    pub(crate) fn run(&mut self, shell: &mut Shell, words: Vec<Field>, env: Vec<(String, Field)>) -> Flow {
        if self.out.invocations.len() >= INVOCATIONS_MAX || shell.wrappers.len() > WRAPPERS_MAX {
            self.out.unparsable("more commands than are looked at".to_owned());
            return Flow::Unknown;
        }
        let mut words = words.into_iter();
        let Some(program) = words.next() else {
            return Flow::Nothing;
        };
        let args: Vec<Field> = words.collect();
        let Some(text) = program.known().map(str::to_owned) else {
            return self.dynamic_program(shell, &program, &args, env);
        };
        if is_descriptor_variable(&text) {
            self.out.unforeseen(format!("`{text}` opens a file under a new number"));
            return self.run(shell, args, env);
        }
        if shell.functions.contains_key(&text) && !shell.wrappers.iter().any(|w| w == "command") {
            self.record(shell, &program, &args, &env);
            return self.call_function(shell, &text, Some(args));
        }
        self.aliased(shell, &text, &args);
        let Some(name) = program_name(&text) else {
            self.record(shell, &program, &args, &env);
            self.out.read(&program, shell.cwd.as_deref());
            self.out.unforeseen(format!("`{text}` is a script or program of its own"));
            let mut inner = shell.clone();
            inner.wrappers.push(text);
            inner.positional = Some(args);
            self.script(&mut inner, &program);
            return Flow::Unknown;
        };
        self.layer(shell, &program, name, &args, env)
    }

    /// What an alias makes of a command. Shells of agents follow them; others do not, so the command is looked at as it is too.
    fn aliased(&mut self, shell: &Shell, name: &str, args: &[Field]) {
        let known: Option<Vec<&str>> = args.iter().map(Field::known).collect();
        let (Some(text), Some(args)) = (shell.aliases.get(name), known) else {
            return;
        };
        let quoted = args.iter().map(|arg| format!(" '{}'", arg.replace('\'', r"'\''")));
        let text = text.clone() + &quoted.collect::<String>();
        let mut inner = shell.clone();
        inner.aliases.remove(name);
        inner.wrappers.push(name.to_owned());
        self.text(&mut inner, &text);
    }

    /// Runs a file whose text is known because the same command wrote it.
    pub(crate) fn script(&mut self, shell: &mut Shell, file: &Field) {
        if let Target::File(path) = file.target(shell.cwd.as_deref())
            && let Some(text) = self.scripts.get(&path).cloned()
        {
            self.text(shell, &text);
        }
    }

    fn dynamic_program(
        &mut self,
        shell: &mut Shell,
        program: &Field,
        args: &[Field],
        env: Vec<(String, Field)>,
    ) -> Flow {
        self.record(shell, program, args, &env);
        self.out.unforeseen(format!("`{}` names a program that is known only when it runs", program.source()));
        // `$SUDO rm x`: the word may be empty or a wrapper, so what follows is a command too.
        if program.splits() && args.first().is_some_and(|arg| !arg.prefix().starts_with('-') && arg.is_known()) {
            shell.wrappers.push(program.source());
            self.run(&mut shell.clone(), args.to_vec(), env.clone());
            shell.wrappers.pop();
        }
        // `$(which rm) -rf x`, `$SHELL -c ..`: what it will turn out to be is said.
        if let Some(name) = named_by(&program.source()) {
            let words = [&[Field::literal(name)], args].concat();
            shell.wrappers.push(program.source());
            self.run(&mut shell.clone(), words, env);
            shell.wrappers.pop();
        }
        Flow::Unknown
    }

    fn record(&mut self, shell: &Shell, program: &Field, args: &[Field], env: &[(String, Field)]) {
        self.out.invocations.push(Invocation {
            program: program.word(),
            args: args.iter().map(Field::word).collect(),
            wrappers: shell.wrappers.clone(),
            assignments: env.iter().map(|(name, value)| (name.clone(), value.word())).collect(),
            stdin: match &shell.stdin {
                Flow::Text(text) => Some(text.clone()),
                _ => None,
            },
            fed_by: fed_by(&shell.fed),
            cwd: shell.cwd.clone(),
        });
    }

    fn layer(
        &mut self,
        shell: &mut Shell,
        program: &Field,
        name: &str,
        args: &[Field],
        mut env: Vec<(String, Field)>,
    ) -> Flow {
        let mut setting = Setting::default();
        let layer = wrappers::unwrap(name, args, shell, &mut setting, &mut self.out);
        if matches!(layer, Layer::None) {
            return self.program(shell, program, name, args, env);
        }
        // `command cd` and `exec > f` act on this shell; a program runs in a copy.
        let mut copy;
        let in_place = matches!(name, "command" | "builtin" | "exec" | "noglob" | "nocorrect");
        let state = if in_place {
            &mut *shell
        } else {
            copy = shell.clone();
            &mut copy
        };
        state.left |= setting.replaces;
        if let Some(folder) = setting.folder.take() {
            state.cwd = folder;
        }
        match layer {
            Layer::None | Layer::Nothing => {
                self.record(state, program, args, &env);
                Flow::Unknown
            }
            Layer::Command(words) => {
                for (name, value) in &setting.assignments {
                    self.risky_variable(state, name, value);
                }
                env.extend(setting.assignments);
                if !in_place {
                    state.functions.clear();
                }
                state.wrappers.push(setting.shown.unwrap_or_else(|| name.to_owned()));
                let flow = self.run(state, words, env);
                state.wrappers.pop();
                flow
            }
            Layer::Text(text) => {
                self.record(state, program, args, &env);
                self.shell_text(state, name, &text)
            }
        }
    }

    fn program(
        &mut self,
        shell: &mut Shell,
        program: &Field,
        name: &str,
        args: &[Field],
        env: Vec<(String, Field)>,
    ) -> Flow {
        self.record(shell, program, args, &env);
        let plain = !program.prefix().contains('/');
        if plain && let Some(flow) = builtins::run(self, shell, name, args) {
            // `IFS=: read a b` takes the line apart in another way than ours.
            let whole_line = matches!(env.as_slice(), [(name, value)] if name == "IFS" && value.known() == Some(""));
            if name == "read" && !env.is_empty() && !whole_line {
                args.iter().filter_map(Field::known).for_each(|name| shell.forget(name));
            }
            return flow;
        }
        match name {
            "eval" => match wrappers::text(args) {
                Layer::Text(text) => {
                    shell.wrappers.push(name.to_owned());
                    let flow = self.known_text(shell, name, &text);
                    shell.wrappers.pop();
                    flow
                }
                _ => Flow::Nothing,
            },
            "bash" | "sh" | "zsh" | "dash" | "ksh" | "ash" | "rbash" => self.shell(shell, name, args),
            "xargs" => self.xargs(shell, args),
            "parallel" => self.parallel(shell, args),
            "tee" => {
                let flow = self.effects(shell, name, args, &env);
                if let Flow::Text(text) = &shell.stdin {
                    for file in args.iter().filter(|arg| !arg.prefix().starts_with('-')) {
                        if let Target::File(path) = file.target(shell.cwd.as_deref()) {
                            self.remember_script(path, text.clone());
                        }
                    }
                }
                flow
            }
            "cp" | "ln" | "install" | "mv" => {
                let flow = self.effects(shell, name, args, &env);
                self.copied_program(shell, args);
                flow
            }
            "find" => self.find(shell, args),
            "npx" | "bunx" | "pnpx" | "npm" | "pnpm" | "yarn" | "uv" | "poetry" | "pipenv" | "bundle" | "python"
            | "python3"
                if programs::runner(name, args).is_some() =>
            {
                let words = programs::runner(name, args).unwrap_or_default();
                let mut inner = shell.clone();
                inner.functions.clear();
                inner.wrappers.push(name.to_owned());
                self.run(&mut inner, words, env)
            }
            _ => {
                let flow = self.effects(shell, name, args, &env);
                self.handed_on(shell, name, args);
                self.written_code(shell, program, name, args);
                flow
            }
        }
    }

    /// Code that the same command wrote into a file is as good as on standard input.
    fn written_code(&mut self, shell: &Shell, program: &Field, name: &str, args: &[Field]) {
        let interpreter = matches!(name, "python" | "python3" | "node" | "ruby" | "perl" | "php" | "deno" | "bun");
        let named = args.iter().find(|arg| !arg.prefix().starts_with('-') && arg.known() != Some("run"));
        let Some(file) = named.filter(|_| interpreter) else { return };
        if let Target::File(path) = file.target(shell.cwd.as_deref())
            && let Some(code) = self.scripts.get(&path).cloned()
        {
            let mut inner = shell.clone();
            inner.stdin = Flow::Text(code);
            inner.wrappers.push(format!("{name} {}", file.source()));
            self.run(&mut inner, vec![program.clone(), Field::literal("-")], Vec::new());
        }
    }

    /// Commands that a program hands to a shell, a container or another machine.
    fn handed_on(&mut self, shell: &Shell, name: &str, args: &[Field]) {
        for handed in handed::commands(name, args, &shell.stdin) {
            let mut inner = shell.clone();
            inner.wrappers.push(name.to_owned());
            inner.functions.clear();
            inner.vars.clear();
            inner.stdin = handed.stdin;
            if handed.elsewhere {
                inner.cwd = None;
            }
            self.out.elsewhere += usize::from(handed.elsewhere);
            match handed.what {
                What::Text(text) => {
                    self.known_text(&mut inner, name, &text);
                }
                What::Words(words) => {
                    self.run(&mut inner, words, Vec::new());
                }
            }
            self.out.elsewhere -= usize::from(handed.elsewhere);
        }
    }

    fn effects(&mut self, shell: &Shell, name: &str, args: &[Field], env: &[(String, Field)]) -> Flow {
        let mut assignments = env.to_vec();
        for variable in ["GIT_DIR", "GIT_WORK_TREE"] {
            if let Some(value) = shell.vars.get(variable)
                && !assignments.iter().any(|(name, _)| name == variable)
            {
                let field = value.fields.first().cloned().unwrap_or_default();
                assignments.push((variable.to_owned(), field));
            }
        }
        let call = Call { name, args, cwd: shell.cwd.as_deref(), stdin: &shell.stdin, assignments: &assignments };
        if name == "git" {
            git::effect(&call, &mut self.out);
            return git::output(&call);
        }
        programs::effect(&call, &mut self.out);
        programs::output(&call)
    }

    /// A text that another shell runs, in a copy of this one's state.
    fn shell_text(&mut self, shell: &Shell, wrapper: &str, text: &Field) -> Flow {
        let mut inner = shell.clone();
        inner.wrappers.push(wrapper.to_owned());
        inner.vars.clear();
        inner.functions.clear();
        inner.positional = Some(Vec::new());
        self.known_text(&mut inner, wrapper, text)
    }

    fn known_text(&mut self, shell: &mut Shell, name: &str, text: &Field) -> Flow {
        if text.has_unknown() {
            self.out.unforeseen(format!("`{name}` runs a text that is known only when it runs"));
            shell.forget_all();
            return Flow::Unknown;
        }
        self.text(shell, &text.source())
    }

    fn shell(&mut self, shell: &Shell, name: &str, args: &[Field]) -> Flow {
        let words = shell_words(args);
        let parsed = Parsed::new(&words, Spec::in_order("o:O:", &["--rcfile", "--init-file"]));
        if parsed.has(&["--version", "--help"]) {
            return Flow::Unknown;
        }
        if parsed.has(&["--rcfile", "--init-file"]) {
            self.out.unforeseen(format!("`{name}` reads a start-up file"));
        }
        let mut operands = parsed.operands.iter();
        let first = operands.next();
        if parsed.has(&["-n"]) {
            if let Some(file) = first {
                self.out.read(file, shell.cwd.as_deref());
            }
            return Flow::Unknown;
        }
        let mut inner = shell.clone();
        inner.wrappers.push(name.to_owned());
        inner.vars.clear();
        inner.functions.clear();
        if parsed.has(&["-c"]) {
            let mut operands = operands;
            if let Some(zero) = operands.next() {
                inner.set("0", Value::scalar(zero.clone()));
            }
            inner.positional = Some(operands.cloned().collect());
            return match first {
                Some(text) => self.known_text(&mut inner, name, text),
                None => Flow::Unknown,
            };
        }
        inner.positional = Some(operands.cloned().collect());
        if parsed.has(&["-s"]) {
            inner.positional = Some(parsed.operands.clone());
        }
        self.shell_script(shell, name, first.filter(|_| !parsed.has(&["-s"])), inner)
    }

    fn shell_script(&mut self, shell: &Shell, name: &str, script: Option<&Field>, mut inner: Shell) -> Flow {
        let from_stdin =
            script.is_none_or(|field| matches!(field.known(), Some("-" | "/dev/stdin" | "/dev/fd/0" | "/dev/fd/63")));
        if let (Some(script), false) = (script, from_stdin) {
            self.out.read(script, shell.cwd.as_deref());
            self.out.unforeseen(format!("`{name} {}` runs a script", script.source()));
            self.script(&mut inner, script);
            return Flow::Unknown;
        }
        inner.stdin = Flow::Nothing;
        match &shell.stdin {
            Flow::Text(text) => {
                if text.contains('\\') {
                    self.out.unforeseen(format!("`{name}` runs a text with escapes, which some shells decode before"));
                }
                self.text(&mut inner, text)
            }
            _ => {
                self.out.unforeseen(format!("`{name}` runs what it reads, which is known only when it runs"));
                Flow::Unknown
            }
        }
    }

    fn xargs(&mut self, shell: &Shell, args: &[Field]) -> Flow {
        const LONG: &[&str] =
            &["--max-args", "--max-procs", "--max-chars", "--delimiter", "--arg-file", "--process-slot-var"];
        let parsed = Parsed::new(args, Spec::in_order("I:J:i?n:P:L:l?s:E:e?d:a:S:R:", LONG));
        let replaced = parsed
            .value(&["-I", "-J", "--replace", "-i"])
            .map(|field| field.known().unwrap_or("{}").to_owned())
            .or_else(|| parsed.has(&["-i", "--replace"]).then(|| "{}".to_owned()));
        let from_file = parsed.has(&["-a", "--arg-file"]);
        let input = match (parsed.has(&["-0", "--null"]), parsed.has(&["-d", "--delimiter", "-E", "-J"])) {
            (true, _) => Input::Nulls,
            (_, true) => Input::Custom,
            _ if replaced.is_some() => Input::Lines,
            _ => Input::Words,
        };
        if let Some(file) = parsed.value(&["-a", "--arg-file"]) {
            self.out.read(file, shell.cwd.as_deref());
        }
        let mut command = parsed.operands.clone();
        if command.is_empty() {
            command.push(Field::literal("echo"));
        }
        let given = if from_file { &Flow::Unknown } else { &shell.stdin };
        let mut inner = shell.clone();
        inner.functions.clear();
        inner.stdin = Flow::Nothing;
        inner.wrappers.push("xargs".to_owned());
        let lines = stdin_words(given, input);
        let Some(replaced) = replaced else {
            command.extend(lines);
            return self.run(&mut inner, command, Vec::new());
        };
        for line in lines {
            let words = command.iter().map(|word| replace(word, &replaced, &line)).collect();
            self.run(&mut inner, words, Vec::new());
        }
        Flow::Unknown
    }

    /// `cp /bin/rm x`: whoever calls `x` calls `rm`.
    fn copied_program(&mut self, shell: &Shell, args: &[Field]) {
        let operands = Parsed::new(args, Spec::new("t:S:m:o:g:", &["--target-directory"])).operands;
        if let [from, to] = operands.as_slice()
            && let Some(text) = from.known().filter(|text| text.contains('/') && program_name(text).is_some())
            && let Target::File(path) = to.target(shell.cwd.as_deref())
        {
            self.remember_script(path, format!("{text} \"$@\""));
        }
    }

    /// `parallel command ::: a b`: a text for a shell, each word put at `{}` or at its end.
    fn parallel(&mut self, shell: &Shell, args: &[Field]) -> Flow {
        let spec =
            Spec::in_order("j:P:n:N:L:I:a:S:d:", &["--jobs", "--max-args", "--arg-file", "--delay", "--timeout"]);
        let words = Parsed::new(args, spec).operands;
        let marked = words.iter().position(|word| word.prefix().starts_with(":::"));
        let (command, given) = match marked {
            Some(at) => (&words[..at], words[at + 1..].to_vec()),
            None => (&words[..], stdin_words(&shell.stdin, Input::Lines)),
        };
        let mut inner = shell.clone();
        inner.functions.clear();
        inner.stdin = Flow::Nothing;
        inner.wrappers.push("parallel".to_owned());
        self.out.unforeseen("`parallel` runs what it is given");
        let text = wrappers::join(command);
        for word in given.iter().take(XARGS_LINES_MAX).filter(|word| word.prefix() != ":::") {
            let filled = replace(&text, "{}", word);
            let filled =
                if filled == text { wrappers::join(&[command, std::slice::from_ref(word)].concat()) } else { filled };
            if filled.has_unknown() {
                let words = command.iter().map(|part| replace(part, "{}", word));
                let words = if command.iter().any(|part| part.source().contains("{}")) {
                    words.collect()
                } else {
                    [command, std::slice::from_ref(word)].concat()
                };
                self.run(&mut inner.clone(), words, Vec::new());
            } else {
                self.text(&mut inner.clone(), &filled.source());
            }
        }
        Flow::Unknown
    }

    fn find(&mut self, shell: &Shell, args: &[Field]) -> Flow {
        let query = programs::FindQuery::new(args);
        let call = Call { name: "find", args, cwd: shell.cwd.as_deref(), stdin: &shell.stdin, assignments: &[] };
        programs::find_effect(&call, &query, &mut self.out);
        for command in &query.commands {
            let mut inner = shell.clone();
            inner.functions.clear();
            inner.stdin = Flow::Nothing;
            inner.wrappers.push("find".to_owned());
            for found in &query.found {
                let found = if command.in_folder { absolute(found, shell.cwd.as_deref()) } else { found.clone() };
                let words = command.words.iter().map(|word| replace(word, "{}", &found)).collect();
                if command.in_folder {
                    inner.cwd = None;
                }
                self.run(&mut inner, words, Vec::new());
            }
        }
        if query.prints_names() { Flow::Paths(query.found) } else { Flow::Unknown }
    }
}

/// The program that a text in its place stands for.
fn named_by(source: &str) -> Option<String> {
    let bare = source.trim_matches('"');
    if matches!(bare, "$SHELL" | "${SHELL}" | "$BASH" | "${BASH}") || bare.starts_with("${SHELL:-") {
        return Some("sh".to_owned());
    }
    let inner = bare.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.or_else(|| bare.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')))?.trim();
    let name = ["which ", "command -v ", "type -p ", "type -P "].iter().find_map(|word| inner.strip_prefix(word))?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c)).then(|| name.to_owned())
}

/// `{fd}` of `{fd}>file command`, which the grammar takes for the program.
fn is_descriptor_variable(text: &str) -> bool {
    text.strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The feeding invocations, each once.
fn fed_by(ranges: &[(usize, usize)]) -> Vec<usize> {
    let mut all: Vec<usize> = ranges.iter().flat_map(|(from, to)| *from..*to).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(FEEDERS_MAX);
    all
}

/// The base name of a program that is what its name says; none for scripts and programs elsewhere.
fn program_name(text: &str) -> Option<&str> {
    let Some((folder, name)) = text.rsplit_once('/') else {
        return Some(plain_name(text));
    };
    let straight = crate::field::normalise(Path::new(folder));
    let known = PROGRAM_FOLDERS.iter().any(|f| straight == Path::new(f)) || folder.ends_with("node_modules/.bin");
    known.then(|| plain_name(name))
}

/// GNU tools under their names on systems that have others.
fn plain_name(name: &str) -> &str {
    match name {
        "gchmod" | "gdd" | "gbase64" => &name[1..],
        "gsed" | "gcp" | "gmv" | "grm" | "gfind" | "gxargs" | "gtar" | "gawk" | "gtouch" | "gln" => &name[1..],
        other => other,
    }
}

/// `+x` and `+O opt` are options of shells too.
fn shell_words(args: &[Field]) -> Vec<Field> {
    args.iter()
        .map(|arg| match arg.strip_prefix("+") {
            Some(rest) if !rest.0.is_empty() && arg.prefix().len() > 1 => Field::literal(format!("-{}", rest.source())),
            _ => arg.clone(),
        })
        .collect()
}

/// How `xargs` takes its input apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Words,
    Lines,
    Nulls,
    Custom,
}

/// The words that `xargs` makes of its input.
fn stdin_words(flow: &Flow, input: Input) -> Vec<Field> {
    let unknown = || vec![Field::unknown("<standard input>", true)];
    let text = match flow {
        Flow::Paths(fields) => return fields.clone(),
        Flow::Text(text) => text,
        _ => return unknown(),
    };
    let quoted = text.contains(['\'', '"', '\\']);
    let words: Vec<Field> = match input {
        Input::Words if !quoted => text.split_whitespace().map(Field::literal).collect(),
        Input::Lines if !quoted => text.lines().map(str::trim).map(Field::literal).collect(),
        Input::Nulls => text.split('\0').filter(|part| !part.is_empty()).map(Field::literal).collect(),
        _ => return unknown(),
    };
    if input != Input::Words && words.len() > XARGS_LINES_MAX { unknown() } else { words }
}

/// `word` with each `mark` replaced by `with`.
fn replace(word: &Field, mark: &str, with: &Field) -> Field {
    let mut out = Field::default();
    for bit in &word.0 {
        let Bit::Lit(text) = bit else {
            out.push(bit.clone());
            continue;
        };
        for (at, part) in text.split(mark).enumerate() {
            if at > 0 {
                for bit in &with.0 {
                    out.push(bit.clone());
                }
            }
            out.push_text(part);
        }
    }
    out
}

fn absolute(field: &Field, cwd: Option<&Path>) -> Field {
    let prefix = field.prefix();
    if prefix.starts_with('/') {
        return field.clone();
    }
    let Some(cwd) = cwd.and_then(|cwd| resolve(Some(cwd), ".")) else {
        return Field::unknown(field.source(), false);
    };
    let mut out = Field::literal(format!("{}/", cwd.to_string_lossy()));
    for bit in &field.0 {
        out.push(bit.clone());
    }
    out
}
