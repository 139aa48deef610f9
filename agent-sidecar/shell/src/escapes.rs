//! Commands that stand inside of what a program is given in its own language or options: `sed 'e ..'`, `psql '\! ..'`,
//! `tar --to-command`, `vim +'!..'`, a debugger's `shell ..`. It says which texts a shell gets. Used by `handed`.

use crate::field::Field;
use crate::options::{Parsed, Spec};
use crate::shell::Flow;

/// Texts that one call gives to a shell; more is a script of its own language.
const FOUND_MAX: usize = 32;

const COMPRESSORS: &[&str] =
    &["gzip", "pigz", "zstd", "zstdmt", "xz", "pixz", "bzip2", "pbzip2", "lbzip2", "lz4", "lzip", "plzip", "brotli"];

pub(crate) fn texts(name: &str, args: &[Field], stdin: &Flow) -> Vec<String> {
    let mut out = match name {
        "tar" | "bsdtar" => [
            unlike(options(args, &["-I", "--use-compress-program", "--to-command", "--info-script"]), COMPRESSORS),
            options(args, &["--checkpoint-action"])
                .iter()
                .filter_map(|t| t.strip_prefix("exec=").map(str::to_owned))
                .collect(),
        ]
        .concat(),
        "rsync" => unlike(options(args, &["-e", "--rsh", "--rsync-path"]), &["ssh", "rsync"]),
        "scp" | "sftp" => [options(args, &["-S"]), ssh_commands(args), bangs(&lines(stdin))].concat(),
        "ssh" => ssh_commands(args),
        "zip" => options(args, &["-TT", "--unzip-command"]),
        "man" => options(args, &["-P", "--pager"]),
        "sed" => sed_scripts(args).iter().flat_map(|script| sed(script)).collect(),
        "awk" | "gawk" | "mawk" | "nawk" => literals(args).iter().flat_map(|program| awk(program)).collect(),
        "psql" | "mysql" | "mariadb" | "sqlite3" => {
            let texts: Vec<String> = literals(args).into_iter().chain(text(stdin).map(str::to_owned)).collect();
            let programs = quoted_after(&texts, &["PROGRAM ", "program "]);
            texts.iter().flat_map(|text| client(text)).chain(programs).collect()
        }
        "gdb" | "lldb" => debugger(&options(args, &["-ex", "-o", "--eval-command"])),
        "vim" | "vi" | "nvim" | "ex" | "ed" | "view" | "less" | "more" | "ftp" | "telnet" | "gnuplot" => {
            let given: Vec<String> = literals(args).into_iter().filter(|text| text.contains(['!', '('])).collect();
            [bangs(&given), bangs(&lines(stdin)), quoted_after(&given, &["system("])].concat()
        }
        "emacs" => {
            quoted_after(&literals(args), &["(shell-command ", "(call-process-shell-command ", "(async-shell-command "])
        }
        "expect" | "tclsh" | "wish" => {
            let codes = [options(args, &["-c"]), lines(stdin)].concat();
            codes.iter().flat_map(|code| after_words(code, &["spawn ", "exec ", "system "])).collect()
        }
        "make" | "gmake" => {
            options(args, &["--eval", "-E"]).iter().chain(&lines(stdin)).flat_map(|text| make(text)).collect()
        }
        "npx" | "npm" | "pnpx" => options(args, &["-c", "--call"]),
        "ipython" => bangs(&options(args, &["-c"])),
        "cargo" => options(args, &["-s", "--shell"]),
        "vagrant" => options(args, &["-c", "--command"]),
        "ansible" => options(args, &["-a", "--args"]),
        _ => Vec::new(),
    };
    out.truncate(FOUND_MAX);
    out
}

/// The known values of these options, in the next word, after `=`, or after a single letter.
fn options(args: &[Field], names: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        let Some(text) = arg.known() else { continue };
        if names.contains(&text) {
            out.extend(args.get(at + 1).and_then(Field::known).map(str::to_owned));
            continue;
        }
        let value = names.iter().find_map(|name| {
            let rest = text.strip_prefix(name)?;
            if name.len() == 2 { Some(rest) } else { rest.strip_prefix('=') }
        });
        out.extend(value.filter(|value| !value.is_empty()).map(str::to_owned));
    }
    out
}

/// Without those that are a usual program alone, with its options.
fn unlike(texts: Vec<String>, usual: &[&str]) -> Vec<String> {
    let is_usual = |text: &String| {
        let program = text.split_whitespace().next().unwrap_or_default();
        usual.contains(&program) && !text.contains([';', '&', '|', '$', '`', '(', '<', '>', '\n'])
    };
    texts.into_iter().filter(|text| !is_usual(text)).collect()
}

fn literals(args: &[Field]) -> Vec<String> {
    args.iter().filter_map(Field::known).map(str::to_owned).collect()
}

fn text(stdin: &Flow) -> Option<&str> {
    match stdin {
        Flow::Text(text) => Some(text),
        _ => None,
    }
}

fn lines(stdin: &Flow) -> Vec<String> {
    text(stdin).into_iter().flat_map(str::lines).map(str::to_owned).collect()
}

fn ssh_commands(args: &[Field]) -> Vec<String> {
    let settings = options(args, &["-o"]);
    let command = |setting: &String| {
        let (name, value) = setting.split_once(['=', ' '])?;
        matches!(name.to_lowercase().as_str(), "proxycommand" | "localcommand").then(|| value.to_owned())
    };
    settings.iter().filter_map(command).collect()
}

/// `!command`, also behind `:` and `silent`.
fn bangs(texts: &[String]) -> Vec<String> {
    let command = |text: &String| {
        let text = text.trim_start_matches(['+', ':', ' ']);
        let text = ["silent!", "silent", "sil!", "sil"].iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text);
        text.trim_start_matches([' ', ':']).strip_prefix('!').map(str::to_owned)
    };
    texts.iter().filter_map(command).collect()
}

/// What stands in quotes after each mark.
fn quoted_after(texts: &[String], marks: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    for text in texts {
        for (at, mark) in marks.iter().flat_map(|mark| text.match_indices(mark)) {
            let rest = text[at + mark.len()..].trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
            out.extend(quote.and_then(|quote| rest[1..].split_once(quote)).map(|(inner, _)| inner.to_owned()));
        }
    }
    out
}

/// What follows each of these words, up to the end of the command.
fn after_words(code: &str, words: &[&str]) -> Vec<String> {
    let rest = words.iter().flat_map(|word| code.match_indices(word)).map(|(at, word)| &code[at + word.len()..]);
    rest.map(|rest| rest.split([';', '\n', ']', '}']).next().unwrap_or_default().to_owned()).collect()
}

/// `\! command` of `psql` and `mysql`, `system command` of `mysql`, `.shell command` of `sqlite3`.
fn client(text: &str) -> Vec<String> {
    let command = |line: &str| {
        let line = line.trim_start();
        let words = ["\\!", "system ", ".shell ", ".system "];
        words.iter().find_map(|word| line.strip_prefix(word)).map(|rest| rest.trim().to_owned())
    };
    text.lines().filter_map(command).collect()
}

fn debugger(texts: &[String]) -> Vec<String> {
    let command = |text: &String| {
        let text = text.trim_start();
        ["shell ", "!", "platform shell "].iter().find_map(|word| text.strip_prefix(word)).map(str::to_owned)
    };
    texts.iter().filter_map(command).collect()
}

fn sed_scripts(args: &[Field]) -> Vec<String> {
    let parsed = Parsed::new(args, Spec::new("e:f:l:i?s", &["--expression", "--file", "--line-length"]));
    let given = parsed.values(&["-e", "--expression"]);
    let scripts = if given.is_empty() { parsed.operands.iter().take(1).collect() } else { given };
    scripts.into_iter().filter_map(Field::known).map(str::to_owned).collect()
}

/// `e command`, and `s/../command/e`.
fn sed(script: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in script.split(['\n', ';']) {
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '$' | ',' | ' ' | '{' | '!'));
        if let Some(command) = line.strip_prefix("e ") {
            out.push(command.trim_end_matches('}').to_owned());
        }
        out.extend(line.strip_prefix('s').and_then(substituted));
    }
    out
}

/// The replacement of a substitution whose flags run it.
fn substituted(rest: &str) -> Option<String> {
    let mut chars = rest.chars();
    let delimiter = chars.next().filter(|c| !c.is_alphanumeric() && *c != '\\')?;
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in chars {
        if c == delimiter && !escaped {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            if escaped && c == delimiter {
                last.pop();
            }
            last.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    let [_, replacement, flags] = parts.as_slice() else { return None };
    (flags.len() < 8 && flags.contains('e')).then(|| replacement.clone())
}

/// `print | "command"` and `"command" | getline`.
fn awk(program: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (at, _) in program.match_indices('"') {
        let Some((text, after)) = program[at + 1..].split_once('"') else { break };
        let piped = program[..at].trim_end().ends_with('|') && !program[..at].trim_end().ends_with("||");
        let read = after.trim_start().strip_prefix('|').is_some_and(|rest| rest.trim_start().starts_with("getline"));
        if piped || read {
            out.push(text.to_owned());
        }
    }
    out
}

/// `$(shell command)`, and the recipe of a rule on one line.
fn make(text: &str) -> Vec<String> {
    let calls = text.match_indices("$(shell ").map(|(at, mark)| &text[at + mark.len()..]);
    let calls = calls.filter_map(|rest| rest.rsplit_once(')')).map(|(inner, _)| inner.to_owned());
    let recipe =
        text.split_once(':').and_then(|(_, rest)| rest.split_once(';')).map(|(_, recipe)| recipe.trim().to_owned());
    calls.chain(recipe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_other_languages() {
        assert_eq!(sed("1,3e rm a; p"), ["rm a"]);
        assert_eq!(sed(r"s/.*/rm \/a/e"), ["rm /a"]);
        assert!(sed("s/a/b/g; s,e,f,").is_empty());
        assert_eq!(awk(r#"{ print | "sort" } END { "date" | getline x; print "a" }"#), ["sort", "date"]);
        assert_eq!(client("\\! rm a\nselect 1"), ["rm a"]);
        assert_eq!(bangs(&["+:silent !rm a".to_owned(), "+/text".to_owned()]), ["rm a"]);
        assert_eq!(make("x:; rm a"), ["rm a"]);
        assert_eq!(make("$(shell rm a)"), ["rm a"]);
    }
}
