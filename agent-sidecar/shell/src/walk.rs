//! Goes over the syntax tree in the order the shell would, keeping what is known of its state, and hands every simple
//! command to `run`. Branches that may not run are walked too, and merged. It knows the grammar's nodes and no program.
//! Next: `expand` for words, `run` in `nested` for commands.

use brush_parser::ast;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use crate::field::Field;
use crate::findings::Findings;
use crate::model::{Analysis, Env};
use crate::parse;
use crate::redirect::Io;
use crate::shell::{Flow, Shell, Value};
use crate::stack;

/// Shells in shells, substitutions in substitutions and functions calling functions; real commands have three or four.
const DEPTH_MAX: usize = 12;
/// Text parsed for one command in all, re-readings of loops and functions included: bounds the time.
const PARSED_BYTES_MAX: usize = 1024 * 1024;
/// Words a `for` is followed through one by one.
const ITERATIONS_MAX: usize = 64;
/// Pieces of syntax visited in all: loops in loops multiply.
const STEPS_MAX: usize = 5_000;
/// Files with a known text remembered.
const SCRIPTS_MAX: usize = 16;
/// Text that expansions may produce in all: `A=$A$A` doubles.
const EXPANDED_BYTES_MAX: usize = 256 * 1024;

pub(crate) struct Walker<'e> {
    pub(crate) env: &'e Env<'e>,
    pub(crate) out: Findings,
    depth: usize,
    parsed_bytes: usize,
    steps: usize,
    expanded_bytes: usize,
    /// Files that the command writes a known text to, in case it runs them.
    pub(crate) scripts: BTreeMap<PathBuf, String>,
    /// The deepest that any text so far may be nested.
    levels: usize,
    /// Every function's body: a deep one may only be dropped where its levels fit.
    bodies: Vec<Rc<ast::FunctionBody>>,
    /// Functions that were called; the others are walked at the end, in case a dynamic word calls them.
    called: Vec<String>,
}

pub(crate) fn analyse(command: &str, env: &Env<'_>) -> Analysis {
    let mut walker = Walker {
        env,
        out: Findings::default(),
        depth: 0,
        parsed_bytes: 0,
        steps: 0,
        expanded_bytes: 0,
        scripts: BTreeMap::new(),
        levels: 0,
        bodies: Vec::new(),
        called: Vec::new(),
    };
    let mut shell = Shell::new(crate::field::normalise(env.cwd));
    walker.text(&mut shell, command);
    walker.uncalled(&mut shell);
    drop(shell);
    let bodies = std::mem::take(&mut walker.bodies);
    stack::with_room(walker.levels, || drop(bodies));
    walker.out.finish()
}

impl Walker<'_> {
    /// Parses and walks a text that a shell runs in this state.
    pub(crate) fn text(&mut self, shell: &mut Shell, text: &str) -> Flow {
        self.parsed_bytes += text.len();
        if self.parsed_bytes > PARSED_BYTES_MAX || self.depth >= DEPTH_MAX {
            self.out.unparsable(format!("nested too deep at `{}`", excerpt(text)));
            return Flow::Unknown;
        }
        self.levels = self.levels.max(parse::levels(text));
        stack::with_room(self.levels, || self.parsed(shell, text))
    }

    fn parsed(&mut self, shell: &mut Shell, text: &str) -> Flow {
        match parse::parse(text) {
            Ok(program) => {
                self.depth += 1;
                let mut flow = Flow::Nothing;
                for list in &program.complete_commands {
                    let next = self.list(shell, list);
                    flow = then(flow, next);
                }
                self.depth -= 1;
                flow
            }
            Err(refusal) => {
                self.out.unparsable(format!("{refusal}, in `{}`", excerpt(text)));
                self.heads(shell, text);
                Flow::Unknown
            }
        }
    }

    /// Counts what an expansion yields; past the bound it is as good as unknown.
    pub(crate) fn bounded(&mut self, value: Value, source: &str) -> Value {
        self.expanded_bytes += value.fields.iter().map(Field::len).sum::<usize>();
        if self.expanded_bytes <= EXPANDED_BYTES_MAX {
            return value;
        }
        self.out.unparsable("expands to more than is looked at".to_owned());
        Value::unknown(source)
    }

    /// Of a text that does not parse, the lines before the fault may still.
    fn heads(&mut self, shell: &mut Shell, text: &str) {
        if self.depth > 0 {
            return;
        }
        for line in text.lines().take(ITERATIONS_MAX) {
            if let Ok(program) = parse::parse(line) {
                self.depth += 1;
                for list in &program.complete_commands {
                    self.list(shell, list);
                }
                self.depth -= 1;
            }
        }
    }

    /// The output of `$( text )`.
    pub(crate) fn nested_output(&mut self, shell: &Shell, text: &str) -> Flow {
        let mut inner = shell.clone();
        self.text(&mut inner, text)
    }

    fn uncalled(&mut self, shell: &mut Shell) {
        let names: Vec<String> = shell.functions.keys().cloned().collect();
        for name in names {
            if !self.called.contains(&name) {
                self.call_function(shell, &name, None);
            }
        }
    }

    /// Walks a function's body; none for words that are not known.
    pub(crate) fn call_function(&mut self, shell: &mut Shell, name: &str, args: Option<Vec<Field>>) -> Flow {
        let Some(body) = shell.functions.get(name).map(Rc::clone) else {
            return Flow::Unknown;
        };
        self.called.push(name.to_owned());
        if self.depth >= DEPTH_MAX {
            self.out.unforeseen(format!("function `{name}` calls too deep"));
            return Flow::Unknown;
        }
        self.depth += 1;
        let positional = std::mem::replace(&mut shell.positional, args);
        let left = shell.left;
        let flow = stack::with_room(self.levels, || {
            self.with_redirections(shell, body.1.as_ref(), |walker, shell| walker.compound(shell, &body.0))
        });
        shell.left = left;
        shell.positional = positional;
        self.depth -= 1;
        flow
    }

    pub(crate) fn list(&mut self, shell: &mut Shell, list: &ast::CompoundList) -> Flow {
        let mut flow = Flow::Nothing;
        for ast::CompoundListItem(commands, separator) in &list.0 {
            let next = match separator {
                ast::SeparatorOperator::Async => self.and_or(&mut shell.clone(), commands),
                ast::SeparatorOperator::Sequence => self.and_or(shell, commands),
            };
            flow = then(flow, next);
        }
        flow
    }

    fn and_or(&mut self, shell: &mut Shell, list: &ast::AndOrList) -> Flow {
        let mut flow = self.pipeline(shell, &list.first);
        let mut sure = is_sure(&list.first);
        let mut skipped: Option<Shell> = None;
        for item in &list.additional {
            let next = match item {
                ast::AndOr::And(pipeline) => {
                    if !sure && skipped.is_none() {
                        skipped = Some(shell.clone());
                    }
                    let next = self.pipeline(shell, pipeline);
                    sure = is_sure(pipeline);
                    next
                }
                ast::AndOr::Or(pipeline) => {
                    let mut other = shell.clone();
                    let next = self.pipeline(&mut other, pipeline);
                    shell.merge(&other);
                    sure = false;
                    unless_nothing(&next)
                }
            };
            let next = if skipped.is_some() { unless_nothing(&next) } else { next };
            flow = then(flow, next);
        }
        if let Some(skipped) = skipped {
            shell.merge(&skipped);
        }
        flow
    }

    fn pipeline(&mut self, shell: &mut Shell, pipeline: &ast::Pipeline) -> Flow {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.out.unparsable("more commands than are looked at".to_owned());
            return Flow::Unknown;
        }
        if let [command] = pipeline.seq.as_slice() {
            return self.command(shell, command);
        }
        let mut flow = shell.stdin.clone();
        let from = self.out.invocations.len();
        for command in &pipeline.seq {
            let mut part = shell.clone();
            part.stdin = flow;
            part.fed.push((from, self.out.invocations.len()));
            flow = self.command(&mut part, command);
        }
        flow
    }

    fn command(&mut self, shell: &mut Shell, command: &ast::Command) -> Flow {
        match command {
            ast::Command::Simple(simple) => self.simple(shell, simple),
            ast::Command::Compound(compound, redirections) => {
                self.with_redirections(shell, redirections.as_ref(), |walker, shell| walker.compound(shell, compound))
            }
            ast::Command::Function(function) => {
                let body = Rc::new(function.body.clone());
                self.bodies.push(Rc::clone(&body));
                shell.functions.insert(function.fname.value.clone(), body);
                Flow::Nothing
            }
            ast::Command::ExtendedTest(test, redirections) => {
                self.with_redirections(shell, redirections.as_ref(), |walker, shell| {
                    walker.test(shell, &test.expr);
                    Flow::Nothing
                })
            }
        }
    }

    fn with_redirections(
        &mut self,
        shell: &mut Shell,
        list: Option<&ast::RedirectList>,
        body: impl FnOnce(&mut Self, &mut Shell) -> Flow,
    ) -> Flow {
        let mut io = Io::default();
        for redirection in list.iter().flat_map(|list| &list.0) {
            self.redirection(shell, redirection, &mut io);
        }
        let stdin = io.stdin.map(|stdin| std::mem::replace(&mut shell.stdin, stdin));
        let from = self.out.invocations.len();
        let flow = body(self, shell);
        if let Some(stdin) = stdin {
            shell.stdin = stdin;
        }
        self.received(shell, &io.stdout_to, &flow, from);
        if io.stdout_taken { Flow::Nothing } else { flow }
    }

    fn compound(&mut self, shell: &mut Shell, compound: &ast::CompoundCommand) -> Flow {
        use ast::CompoundCommand as C;
        match compound {
            C::Arithmetic(command) => {
                self.arithmetic(shell, &command.expr.value);
                Flow::Nothing
            }
            C::ArithmeticForClause(clause) => {
                let parts = [&clause.initializer, &clause.condition, &clause.updater];
                for part in parts.into_iter().flatten() {
                    self.arithmetic(shell, &part.value);
                }
                self.repeated(shell, |walker, shell| walker.list(shell, &clause.body.list))
            }
            C::BraceGroup(group) => self.list(shell, &group.list),
            C::Subshell(subshell) => self.list(&mut shell.clone(), &subshell.list),
            C::ForClause(clause) => self.for_clause(shell, clause),
            C::CaseClause(clause) => self.case_clause(shell, clause),
            C::IfClause(clause) => self.if_clause(shell, clause),
            C::WhileClause(clause) | C::UntilClause(clause) => self.repeated(shell, |walker, shell| {
                let flow = walker.list(shell, &clause.0);
                then(flow, walker.list(shell, &clause.1.list))
            }),
            C::Coprocess(coprocess) => {
                let mut inner = shell.clone();
                inner.stdin = Flow::Unknown;
                self.command(&mut inner, &coprocess.body)
            }
        }
    }

    /// A body that runs any number of times: a second pass sees what the first one left uncertain.
    fn repeated(&mut self, shell: &mut Shell, mut body: impl FnMut(&mut Self, &mut Shell) -> Flow) -> Flow {
        let before = shell.clone();
        let mut flow = body(self, shell);
        shell.left = before.left;
        let changed = shell.differs(&before);
        shell.merge(&before);
        if changed {
            flow = then(flow, body(self, shell));
            shell.left = before.left;
            shell.merge(&before);
        }
        unless_nothing(&flow)
    }

    fn for_clause(&mut self, shell: &mut Shell, clause: &ast::ForClauseCommand) -> Flow {
        let name = &clause.variable_name;
        let fields = match &clause.values {
            Some(words) => words.iter().flat_map(|word| self.fields(shell, &word.value)).collect(),
            None => shell.positional.clone().unwrap_or_else(|| vec![Field::unknown("$@", true)]),
        };
        if fields.len() > ITERATIONS_MAX {
            shell.forget(name);
            return self.repeated(shell, |walker, shell| walker.list(shell, &clause.body.list));
        }
        let mut flow = Flow::Nothing;
        for field in fields {
            let once = field.is_known();
            shell.set(name, Value::scalar(field));
            let next = if once {
                let left = shell.left;
                let next = self.list(shell, &clause.body.list);
                shell.left = left;
                next
            } else {
                self.repeated(shell, |walker, shell| walker.list(shell, &clause.body.list))
            };
            flow = then(flow, next);
        }
        flow
    }

    fn case_clause(&mut self, shell: &mut Shell, clause: &ast::CaseClauseCommand) -> Flow {
        self.joined(shell, &clause.value.value);
        let mut result = shell.clone();
        let mut flow = Flow::Nothing;
        for case in &clause.cases {
            for pattern in &case.patterns {
                self.scan(shell, &pattern.value);
            }
            let mut arm = shell.clone();
            if let Some(list) = &case.cmd {
                let next = self.list(&mut arm, list);
                flow = then(flow, next);
            }
            result.merge(&arm);
        }
        *shell = result;
        unless_nothing(&flow)
    }

    fn if_clause(&mut self, shell: &mut Shell, clause: &ast::IfClauseCommand) -> Flow {
        let mut flow = self.list(shell, &clause.condition);
        let mut arms = vec![shell.clone()];
        flow = then(flow, self.list(&mut arms[0], &clause.then));
        let mut otherwise = false;
        for clause in clause.elses.iter().flatten() {
            match &clause.condition {
                Some(condition) => flow = then(flow, self.list(shell, condition)),
                None => otherwise = true,
            }
            let mut arm = shell.clone();
            flow = then(flow, self.list(&mut arm, &clause.body));
            arms.push(arm);
        }
        if otherwise {
            *shell = arms.remove(0);
        }
        for arm in &arms {
            shell.merge(arm);
        }
        unless_nothing(&flow)
    }

    fn test(&mut self, shell: &mut Shell, expr: &ast::ExtendedTestExpr) {
        use ast::ExtendedTestExpr as E;
        match expr {
            E::And(left, right) | E::Or(left, right) => {
                self.test(shell, left);
                self.test(shell, right);
            }
            E::Not(inner) | E::Parenthesized(inner) => self.test(shell, inner),
            E::UnaryTest(_, word) => self.scan(shell, &word.value),
            E::BinaryTest(_, left, right) => {
                self.scan(shell, &left.value);
                self.scan(shell, &right.value);
            }
        }
    }

    fn simple(&mut self, shell: &mut Shell, command: &ast::SimpleCommand) -> Flow {
        let mut io = Io::default();
        let mut assigned = Vec::new();
        let mut words = Vec::new();
        let from = self.out.invocations.len();
        for item in command.prefix.iter().flat_map(|prefix| &prefix.0) {
            if let ast::CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) = item {
                assigned.push(assignment);
            } else {
                self.item(shell, item, &mut words, &mut io);
            }
        }
        if let Some(name) = &command.word_or_name {
            words.extend(self.fields(shell, &name.value));
        }
        for item in command.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(shell, item, &mut words, &mut io);
        }
        let declared = words.first().and_then(Field::known).is_some_and(declares);
        let suffix = command.suffix.iter().flat_map(|suffix| &suffix.0).filter(|_| declared);
        let assigned_arrays: Vec<&ast::Assignment> = suffix.filter_map(array).collect();
        if words.is_empty() {
            for assignment in assigned {
                self.assign(shell, assignment);
            }
            return Flow::Nothing;
        }
        let env = assigned.into_iter().map(|assignment| self.prefixed(shell, assignment)).collect();
        let stdin = io.stdin.map(|stdin| std::mem::replace(&mut shell.stdin, stdin));
        let lasting = matches!(words.as_slice(), [word] if word.known() == Some("exec"));
        let fed = shell.fed.len();
        shell.fed.push((from, self.out.invocations.len()));
        let runs_input = words.first().and_then(Field::known).is_some_and(is_shell);
        let flow = self.run(shell, words, env);
        shell.fed.truncate(fed);
        if let Some(stdin) = stdin.filter(|_| !lasting) {
            shell.stdin = stdin;
        }
        if let Some(text) = io.stdin_file.filter(|_| runs_input).and_then(|file| self.scripts.get(&file).cloned()) {
            self.text(&mut shell.clone(), &text);
        }
        self.received(shell, &io.stdout_to, &flow, from);
        for assignment in assigned_arrays {
            self.assign(shell, assignment);
        }
        if let (Some(file), Flow::Text(text)) = (io.stdout_file, &flow) {
            let text = self.scripts.get(&file).cloned().unwrap_or_default() + text;
            self.remember_script(file, text);
        }
        if io.stdout_taken { Flow::Nothing } else { flow }
    }

    /// What `> >( )` runs, with what was printed.
    fn received(&mut self, shell: &Shell, list: &[ast::SubshellCommand], flow: &Flow, from: usize) {
        for subshell in list {
            let mut inner = shell.clone();
            inner.stdin = flow.clone();
            inner.fed.push((from, self.out.invocations.len()));
            self.list(&mut inner, &subshell.list);
        }
    }

    pub(crate) fn remember_script(&mut self, file: PathBuf, text: String) {
        if self.scripts.len() < SCRIPTS_MAX && text.len() <= EXPANDED_BYTES_MAX {
            self.scripts.insert(file, text);
        }
    }

    fn item(&mut self, shell: &mut Shell, item: &ast::CommandPrefixOrSuffixItem, words: &mut Vec<Field>, io: &mut Io) {
        use ast::CommandPrefixOrSuffixItem as I;
        match item {
            I::IoRedirect(redirection) => self.redirection(shell, redirection, io),
            I::Word(word) | I::AssignmentWord(_, word) => {
                words.extend(self.fields(shell, &word.value));
            }
            I::ProcessSubstitution(kind, subshell) => {
                let flow = self.process(shell, kind, subshell);
                // A shell that is given one as its script reads this text.
                if io.stdin.is_none() && matches!(flow, Flow::Text(_)) {
                    io.stdin = Some(flow);
                }
                words.push(Field::literal("/dev/fd/63"));
            }
        }
    }
}

fn is_shell(name: &str) -> bool {
    matches!(name.rsplit('/').next(), Some("bash" | "sh" | "zsh" | "dash" | "ksh" | "ash"))
}

fn array(item: &ast::CommandPrefixOrSuffixItem) -> Option<&ast::Assignment> {
    match item {
        ast::CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) => {
            matches!(assignment.value, ast::AssignmentValue::Array(_)).then_some(assignment)
        }
        _ => None,
    }
}

/// `declare -a x=( )` and its like set an array.
fn declares(name: &str) -> bool {
    matches!(name, "declare" | "typeset" | "local" | "readonly" | "export")
}

/// The output of one command after another.
fn then(first: Flow, second: Flow) -> Flow {
    match (first, second) {
        (Flow::Nothing, flow) | (flow, Flow::Nothing) => flow,
        (Flow::Text(a), Flow::Text(b)) => Flow::Text(a + &b),
        _ => Flow::Unknown,
    }
}

/// The output of a command that may not run.
fn unless_nothing(flow: &Flow) -> Flow {
    match flow {
        Flow::Nothing => Flow::Nothing,
        _ => Flow::Unknown,
    }
}

/// Whether a pipeline is taken to succeed, so that what `&&` guards does run.
fn is_sure(pipeline: &ast::Pipeline) -> bool {
    let [ast::Command::Simple(simple)] = pipeline.seq.as_slice() else {
        return false;
    };
    match &simple.word_or_name {
        None => true,
        Some(name) => matches!(
            name.value.as_str(),
            "cd" | "pushd" | "popd" | "mkdir" | "export" | "set" | ":" | "true" | "echo" | "printf" | "pwd"
        ),
    }
}

/// The beginning of a text, for a message.
fn excerpt(text: &str) -> String {
    const EXCERPT_CHARS: usize = 60;
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(EXCERPT_CHARS).collect()
}
