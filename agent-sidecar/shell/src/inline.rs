//! The commands that inline code of an interpreter gives to the system: `os.system("..")`, `execSync`, backticks, ...
//! It reads string literals after known names and nothing else of the language; code that builds its command at run
//! time is not decided here (the call stays unforeseen). Used by `handed`.

use crate::field::Field;
use crate::handed::{Handed, What};
use crate::parse;
use crate::programs::{base64_text, hex_text};
use crate::shell::Flow;

/// Commands taken from one code; more is a program, not a one-liner.
const FOUND_MAX: usize = 32;
/// Decoded code in decoded code.
const LAYERS_MAX: usize = 3;

/// Names that take a command, as a text or as words.
const CALLS: &[&str] = &[
    "os.system",
    "os.popen",
    "subprocess.run",
    "subprocess.call",
    "subprocess.Popen",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "Popen",
    "create_subprocess_shell",
    "create_subprocess_exec",
    "pty.spawn",
    "execSync",
    "execFileSync",
    "spawnSync",
    "execFile",
    "spawn",
    "exec",
    "execa",
    "execaCommand",
    "shell_exec",
    "passthru",
    "proc_open",
    "popen",
    "system",
    "IO.popen",
    "Open3.capture2",
    "Open3.capture3",
    "os.execute",
    "io.popen",
    "Deno.Command",
    "execvp",
    "execv",
    "execl",
    "execlp",
    "execve",
    "execvpe",
    "posix_spawn",
    "os.execvp",
    "os.execlp",
    "os.posix_spawn",
    "run",
    "call",
    "shell",
    "command",
    "exec.Command",
    "sh",
];
/// Those whose first word is the program and whose list names it again.
const NAMED_TWICE: &[&str] = &["execvp", "execv", "execl", "execlp", "execve", "execvpe", "posix_spawn"];
/// Modules whose functions give what they get to the system. Without one of them `x.exec(..)` may as well be a database's or a
/// regular expression's.
const MODULES: &[&str] = &["child_process", "subprocess", "Kernel", "Process", "execa", "zx", "pexpect", "plumbum"];
/// Names after which Perl and Ruby take a text without parentheses.
const BARE: &[&str] = &["system", "exec", "do shell script"];
const DECODERS_BASE64: &[&str] = &["b64decode", "atob", "base64_decode", "decode64", "Buffer.from"];
const DECODERS_HEX: &[&str] = &["fromhex", "unhexlify", "hex2bin", "Buffer.from"];

pub(crate) fn commands(name: &str, args: &[Field], stdin: &Flow) -> Vec<Handed> {
    let Some(codes) = codes(name, args, stdin) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for code in codes {
        scan(name, &code, 0, &mut out);
    }
    out.truncate(FOUND_MAX);
    out
}

/// The code in the words and the standard input of a call; none if `name` is no interpreter.
fn codes(name: &str, args: &[Field], stdin: &Flow) -> Option<Vec<String>> {
    let awk = matches!(name, "awk" | "gawk" | "mawk" | "nawk");
    let known = awk
        || name.starts_with("python3.")
        || matches!(
            name,
            "python"
                | "python2"
                | "python3"
                | "pypy3"
                | "ruby"
                | "node"
                | "nodejs"
                | "deno"
                | "bun"
                | "php"
                | "lua"
                | "perl"
                | "osascript"
                | "tsx"
                | "ts-node"
                | "Rscript"
                | "groovy"
                | "julia"
                | "expect"
                | "tclsh"
                | "irb"
        );
    if !known {
        return None;
    }
    if awk {
        return Some(args.iter().filter(|arg| !arg.prefix().starts_with('-')).take(2).map(Field::source).collect());
    }
    let mut codes = Vec::new();
    let mut next = false;
    for arg in args {
        let text = arg.source();
        if next {
            codes.push(text.clone());
        } else if let Some(code) = attached(&text) {
            codes.push(code.to_owned());
        }
        next = !next && (is_code_option(&text) || text == "eval");
    }
    if args.iter().any(|arg| arg.known() == Some("timeit")) {
        codes.extend(args.last().map(Field::source));
    }
    if let Flow::Text(code) = stdin {
        codes.push(code.clone());
    }
    Some(codes)
}

/// `-c`, `-e`, `--eval`, and clusters that end so (`-lane`).
fn is_code_option(text: &str) -> bool {
    let long = matches!(text, "--eval" | "--print" | "--run" | "--expr" | "--command" | "-le");
    let cluster = text.strip_prefix('-').is_some_and(|rest| {
        (1..6).contains(&rest.len())
            && rest.ends_with(['c', 'e', 'r', 'p', 'E'])
            && rest.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    long || cluster
}

fn attached(text: &str) -> Option<&str> {
    let rest = ["--eval=", "--print=", "-e", "-c", "-r", "-E"].iter().find_map(|option| text.strip_prefix(option))?;
    (rest.contains(['(', '`', '"', '\'', ' '])).then_some(rest)
}

fn scan(name: &str, code: &str, layer: usize, out: &mut Vec<Handed>) {
    for (at, _) in code.match_indices('(') {
        let Some(called) = callee(&code[..at]).filter(|_| out.len() < FOUND_MAX) else {
            continue;
        };
        let last = called.rsplit('.').next().unwrap_or(called);
        let is_call = CALLS.iter().any(|call| *call == called || call.rsplit('.').next() == Some(last));
        if is_call || is_renamed(code, called) {
            let handed = command(&code[at + 1..], last);
            out.extend(handed.filter(|handed| may_be_command(handed) || is_certain(code, &code[..at], called)));
        }
        if last == "open" && name == "perl" {
            let pipes = code[at + 1..].split(['"', '\'']).filter_map(|part| part.trim().strip_prefix('|'));
            out.extend(pipes.take(1).map(|text| Handed::text(Field::literal(text))));
        }
        if layer < LAYERS_MAX {
            decoded(name, called, &code[at + 1..], layer, out);
        }
    }
    if matches!(name, "perl" | "ruby" | "irb" | "php" | "osascript") {
        bare(code, out);
    }
    if matches!(name, "perl" | "ruby" | "irb" | "php" | "bun") {
        quoted_commands(code, out);
    }
}

/// Whether a name that takes a command is that of the system and not of some object that has a method of this name.
fn is_certain(code: &str, before: &str, called: &str) -> bool {
    let receiver = before.trim_end().strip_suffix(called).is_some_and(|rest| rest.ends_with('.'));
    CALLS.contains(&called) && !receiver
        || MODULES.iter().any(|module| code.contains(module))
        || is_renamed(code, called)
}

/// `db.execute("select count(*) ..")`: what no shell can read was written for something else.
fn may_be_command(handed: &Handed) -> bool {
    match &handed.what {
        What::Text(text) => parse::parse(&text.source()).is_ok(),
        What::Words(_) => true,
    }
}

/// `import system as name`, `{execSync: name}`.
fn is_renamed(code: &str, name: &str) -> bool {
    [format!(" as {name}"), format!(":{name}"), format!(": {name}")].iter().any(|mark| {
        let befores = code.match_indices(mark.as_str()).filter(|(at, _)| {
            let after = code[at + mark.len()..].chars().next();
            !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        let mut called = befores.filter_map(|(at, _)| callee(&code[..at]));
        called.any(|before| CALLS.iter().any(|call| call.rsplit('.').next() == Some(before)))
    })
}

/// The dotted name that ends here.
fn callee(before: &str) -> Option<&str> {
    let before = before.trim_end();
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let name = before[start..].trim_start_matches('.');
    (!name.is_empty()).then_some(name)
}

/// The command that these arguments make.
fn command(args: &str, called: &str) -> Option<Handed> {
    let twice = NAMED_TWICE.contains(&called);
    let args = args.trim_start();
    if args.starts_with(['[', '(']) {
        return words(list(args)?.0, false);
    }
    let (first, rest) = string(args)?;
    let rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix(',') {
        let after = after.trim_start();
        let after = after
            .strip_prefix('{')
            .map_or(after, |options| options.split_once("args:").map_or(after, |(_, list)| list.trim_start()));
        let more = if after.starts_with('[') { list(after).map(|l| l.0) } else { strings(after) };
        if let Some(more) = more.filter(|more| !more.is_empty()) {
            let mut all = vec![first];
            all.extend(more.into_iter().skip(usize::from(twice)));
            return words(all, false);
        }
    }
    Some(Handed { what: What::Text(Field::literal(first)), elsewhere: false, stdin: Flow::Unknown })
}

fn words(words: Vec<String>, elsewhere: bool) -> Option<Handed> {
    let words: Vec<Field> = words.into_iter().map(Field::literal).collect();
    (!words.is_empty()).then_some(Handed { what: What::Words(words), elsewhere, stdin: Flow::Unknown })
}

/// `[ "a", "b" ]`, and what follows.
fn list(text: &str) -> Option<(Vec<String>, &str)> {
    let close = if text.starts_with('[') { ']' } else { ')' };
    let mut rest = text[1..].trim_start();
    let mut out = Vec::new();
    while !rest.starts_with(close) {
        let Some((item, after)) = string(rest) else {
            // A word that is computed: what stands before it still says which command it is.
            break;
        };
        out.push(item);
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    (!out.is_empty()).then_some((out, rest))
}

/// `"a", "b"` up to something else.
fn strings(text: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((item, after)) = string(rest) {
        out.push(item);
        match after.trim_start().strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => break,
        }
    }
    (!out.is_empty()).then_some(out)
}

/// A string literal, with those that are joined to it (`"a" + "b"`), and what follows.
fn string(text: &str) -> Option<(String, &str)> {
    let (mut out, mut rest) = literal(text)?;
    loop {
        let next = rest.trim_start();
        let joined = next.strip_prefix(['+', '.']).map_or(next, str::trim_start);
        match literal(joined) {
            Some((more, after)) => {
                out.push_str(&more);
                rest = after;
            }
            None => return Some((out, rest)),
        }
    }
}

fn literal(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = perl_quoted(text) {
        return Some(quoted);
    }
    let bare = text.trim_start_matches(['r', 'b', 'f', 'u', 'R', 'B', 'F']);
    let text = if text.len() - bare.len() <= 2 { bare } else { text };
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let triple: String = [quote; 3].iter().collect();
    if let Some(rest) = text.strip_prefix(&triple) {
        return rest.split_once(triple.as_str()).map(|(inner, rest)| (inner.to_owned(), rest));
    }
    let mut out = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((out, &text[at + 2..]));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()?.1 {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'x' => {
                let digits: String = [chars.next()?.1, chars.next()?.1].iter().collect();
                out.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
            }
            other => out.push(other),
        }
    }
    None
}

/// `q(text)` and `qq{text}`.
fn perl_quoted(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_prefix("qq").or_else(|| text.strip_prefix('q'))?;
    let close = match rest.chars().next()? {
        '{' => '}',
        '(' => ')',
        '[' => ']',
        '|' => '|',
        _ => return None,
    };
    rest[1..].split_once(close).map(|(inner, rest)| (inner.to_owned(), rest))
}

/// Code and commands inside an encoded string.
fn decoded(name: &str, called: &str, args: &str, layer: usize, out: &mut Vec<Handed>) {
    let last = called.rsplit('.').next().unwrap_or(called);
    let is = |known: &[&str]| known.iter().any(|k| *k == called || *k == last);
    let Some((text, _)) = string(args.trim_start()).filter(|_| is(DECODERS_BASE64) || is(DECODERS_HEX)) else {
        return;
    };
    let texts = [hex_text(&text).filter(|_| is(DECODERS_HEX)), base64_text(&text).filter(|_| is(DECODERS_BASE64))];
    for code in texts.into_iter().flatten() {
        scan(name, &code, layer + 1, out);
        if !code.contains('(') {
            out.push(Handed { what: What::Text(Field::literal(code)), elsewhere: false, stdin: Flow::Unknown });
        }
    }
}

/// `system "text"` without parentheses.
fn bare(code: &str, out: &mut Vec<Handed>) {
    for name in BARE {
        for (at, _) in code.match_indices(name) {
            let rest = &code[at + name.len()..];
            if rest.starts_with([' ', '\t']) && out.len() < FOUND_MAX {
                out.extend(command(rest, name));
            }
        }
    }
}

/// Backticks, `qx{}`, `%x()`, `$`..``.
fn quoted_commands(code: &str, out: &mut Vec<Handed>) {
    let ticks: Vec<&str> = code.split('`').collect();
    let mut texts: Vec<&str> = ticks.iter().skip(1).step_by(2).take(FOUND_MAX).copied().collect();
    if ticks.len().is_multiple_of(2) {
        texts.pop();
    }
    for mark in ["qx", "%x"] {
        for (at, _) in code.match_indices(mark) {
            let rest = &code[at + mark.len()..];
            let close = match rest.chars().next() {
                Some('{') => '}',
                Some('(') => ')',
                Some('[') => ']',
                Some(c @ ('/' | '|' | '!' | '\'')) => c,
                _ => continue,
            };
            texts.extend(rest[1..].split_once(close).map(|(text, _)| text));
        }
    }
    let text = |text: &str| Handed { what: What::Text(Field::literal(text)), elsewhere: false, stdin: Flow::Unknown };
    out.extend(texts.into_iter().take(FOUND_MAX).map(text));
}
