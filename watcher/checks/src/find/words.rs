//! Command text as words, as far as that is certain without a shell: anything quoted, expanded or redirected is "not
//! plain". It decides nothing; who asks passes over what is not plain.

/// Programs named in one command; more are of no interest.
const PROGRAMS_MAX: usize = 8;
/// Not programs of their own, or there on every machine.
const BUILTINS: [&str; 22] = [
    "cd", "echo", "exit", "export", "false", "if", "then", "else", "fi", "for", "do", "done", "while", "printf",
    "read", "set", "sleep", "test", "true", "umask", "wait", "exec",
];

/// The words of one simple command; `None` if a shell would do more than split it.
pub(super) fn plain(text: &str) -> Option<Vec<&str>> {
    let is_special = |c: char| "'\"`$&|;<>(){}*?[]~#\\!\n".contains(c);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let is_plain = !text.trim().contains(is_special) && words.first().is_some_and(|w| !w.contains('='));
    is_plain.then_some(words)
}

/// The words of a line of simple commands, with the operators between them as words of their own.
pub(super) fn commands(text: &str) -> Option<Vec<(Vec<&str>, &'static str)>> {
    let mut rest = text.trim();
    let mut commands = Vec::new();
    loop {
        let at = ["&&", "||", ";", "|"].into_iter().filter_map(|op| Some((rest.find(op)?, op)));
        let next = at.min_by_key(|(at, op)| (*at, 2 - op.len().min(2)));
        let (command, op) = next.map_or((rest, ""), |(at, op)| (&rest[..at], op));
        commands.push((plain(command)?, op));
        match next {
            Some((at, op)) => rest = rest[at + op.len()..].trim(),
            None => return Some(commands),
        }
    }
}

/// The programs that a command calls by plain names, as far as can be seen; never one that it does not call.
pub(super) fn programs(text: &str) -> Vec<String> {
    let called = commands(text).unwrap_or_default();
    let first = called.iter().filter_map(|(words, _)| words.first());
    let mut programs: Vec<String> = Vec::new();
    for program in first.filter(|p| !BUILTINS.contains(p) && !p.contains('/')) {
        for name in companions(program) {
            if programs.len() < PROGRAMS_MAX && !programs.iter().any(|p| p == name) {
                programs.push((*name).to_owned());
            }
        }
    }
    programs
}

/// A program and the one that does its work.
fn companions<'p>(program: &'p &'p str) -> Vec<&'p str> {
    match *program {
        "cargo" => vec!["cargo", "rustc"],
        "tsc" | "eslint" => vec![*program, "node"],
        _ => vec![*program],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_plain_only_if_no_shell_is_needed_to_read_it() {
        assert_eq!(plain("cargo  check --workspace"), Some(vec!["cargo", "check", "--workspace"]));
        for not in ["", "a && b", "echo $X", "a > b", "X=1 cargo check", "(a)", "a 'b'", "a *", "a\nb"] {
            assert_eq!(plain(not), None, "{not}");
        }
    }

    #[test]
    fn a_line_of_commands_is_split_at_its_operators() {
        let split = commands("tsc --noEmit&& npm run lint | tee; true").expect("plain");
        let ops: Vec<&str> = split.iter().map(|(_, op)| *op).collect();
        assert_eq!(ops, ["&&", "|", ";", ""]);
        assert_eq!(split[1].0, ["npm", "run", "lint"]);
        assert_eq!(commands("a && 'b'"), None);
        assert_eq!(commands("a || b").expect("plain")[0].1, "||");
    }

    #[test]
    fn only_programs_that_are_certainly_called_are_named() {
        assert_eq!(programs("cd x && cargo check; ./run.sh | tsc"), ["cargo", "rustc", "tsc", "node"]);
        assert!(programs("if test -f x; then\nmake; fi").is_empty());
        assert!(programs("\"$TOOL\" x").is_empty());
    }
}
