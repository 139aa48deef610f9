//! Interpreters: inline code and scripts may do anything, so they are unforeseen; files that the code plainly opens for
//! writing are named as a help, not as a promise.

use crate::calls::Call;
use crate::field::Field;
use crate::findings::Findings;
use crate::model::How;
use crate::shell::Flow;

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    match call.name {
        "python" | "python2" | "python3" | "ruby" | "node" | "nodejs" | "deno" | "bun" | "php" | "lua" | "Rscript"
        | "osascript" | "tsx" | "ts-node" | "julia" | "groovy" | "scala" | "fish" | "pwsh" | "expect" | "tclsh" => {}
        name if name.starts_with("python3.") => {}
        _ => return false,
    }
    if only_asks(call) {
        return true;
    }
    call.unforeseen("runs code of its own", out);
    inline(call, out);
    true
}

fn only_asks(call: &Call<'_>) -> bool {
    let checks = call.name.starts_with("node") && matches!(call.verb(), "--check" | "-c") && call.args.len() == 2;
    checks
        || matches!(
            call.args.iter().map(Field::known).collect::<Vec<_>>().as_slice(),
            [Some("--version" | "-V" | "-v" | "--help" | "-h")]
        ) && !(call.name == "python" && call.verb() == "-v")
}

/// Names the files that code in the call's words or its standard input plainly writes.
pub(super) fn inline(call: &Call<'_>, out: &mut Findings) {
    let mut code_next = false;
    let mut had_code = false;
    for arg in call.args {
        if code_next {
            foresee(call, &arg.source(), out);
            had_code = true;
        }
        if let Some(code) = arg.known().and_then(|text| text.strip_prefix("--eval=")) {
            foresee(call, code, out);
            had_code = true;
        }
        code_next = matches!(arg.known(), Some("-c" | "-e" | "-r" | "-p" | "--eval" | "eval"));
    }
    if let Flow::Text(code) = call.stdin {
        foresee(call, code, out);
    } else if !had_code
        && let Some(script) = call.args.iter().find(|arg| !arg.prefix().starts_with('-'))
        && script.prefix().contains('.')
    {
        out.read(script, call.cwd);
    }
}

const WRITERS: &[(&str, How)] = &[
    ("writeFileSync(", How::Write),
    ("writeFile(", How::Write),
    ("createWriteStream(", How::Write),
    ("appendFileSync(", How::Append),
    ("appendFile(", How::Append),
    ("writeTextFile(", How::Write),
    ("writeTextFileSync(", How::Write),
    ("Bun.write(", How::Write),
    ("File.write(", How::Write),
    ("file_put_contents(", How::Write),
    ("unlinkSync(", How::Delete),
    ("rmSync(", How::Delete),
    ("os.remove(", How::Delete),
    ("unlink(", How::Delete),
    ("rmtree(", How::Delete),
    ("File.delete(", How::Delete),
    ("FileUtils.rm_rf(", How::Delete),
    ("FileUtils.rm_rf ", How::Delete),
    ("FileUtils.rm_r ", How::Delete),
    ("FileUtils.rm_r(", How::Delete),
    ("rmdirSync(", How::Delete),
    ("removeSync(", How::Delete),
    ("os.removedirs(", How::Delete),
    ("remove_tree(", How::Delete),
    ("fs.rm(", How::Delete),
    ("Deno.remove(", How::Delete),
];

const READERS: &[&str] = &[
    "readFileSync(",
    "readFile(",
    "readfile(",
    "readlines(",
    "createReadStream(",
    "File.read(",
    "IO.read(",
    "file_get_contents(",
    "Bun.file(",
    "readTextFile(",
    "dotenv_values(",
    "expanduser(",
];

pub(super) fn foresee(call: &Call<'_>, code: &str, out: &mut Findings) {
    for (mark, how) in WRITERS {
        for (path, _) in arguments(code, mark) {
            named(call, path, *how, out);
        }
    }
    for mark in READERS {
        for (path, _) in arguments(code, mark) {
            looked_at(call, path, out);
        }
    }
    for (path, rest) in arguments(code, "open(") {
        let mode: String = rest.chars().take_while(|c| *c != ')').collect();
        let mode = mode.trim_start_matches([',', ' ']).trim_start_matches("mode=");
        match mode.trim_start_matches(['\'', '"']).chars().next() {
            Some('w' | 'x') => named(call, path, How::Write, out),
            Some('a') => named(call, path, How::Append, out),
            Some('r') if mode.contains('+') => named(call, path, How::Write, out),
            _ => looked_at(call, path, out),
        }
    }
    for (path, rest) in arguments(code, "Path(") {
        let rest = rest.trim_start_matches(')');
        if rest.starts_with(".write_") || rest.starts_with(".touch(") {
            named(call, path, How::Write, out);
        } else if rest.starts_with(".unlink(") {
            named(call, path, How::Delete, out);
        } else if rest.starts_with(".read_") || rest.starts_with(".open(") {
            looked_at(call, path, out);
        }
    }
}

fn looked_at(call: &Call<'_>, path: &str, out: &mut Findings) {
    if !path.is_empty() && !path.contains(['{', '$', '\\', '\n']) {
        out.read(&Field::literal(path), call.cwd);
    }
}

fn named(call: &Call<'_>, path: &str, how: How, out: &mut Findings) {
    if !path.is_empty() && !path.contains(['{', '$', '\\', '\n']) {
        call.write_here(path, how, out);
    }
}

/// Each quoted string directly after `mark`, with the code after it.
fn arguments<'t>(code: &'t str, mark: &str) -> Vec<(&'t str, &'t str)> {
    code.match_indices(mark)
        .filter_map(|(at, _)| {
            let rest = code[at + mark.len()..].trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            let (text, rest) = rest[1..].split_once(quote)?;
            Some((text, rest))
        })
        .collect()
}

/// Text up to the next double quote after each mark.
pub(super) fn quoted_after(code: &str, marks: &[&str]) -> Vec<String> {
    marks
        .iter()
        .flat_map(|mark| code.match_indices(mark))
        .filter_map(|(at, mark)| code[at + mark.len()..].split_once('"'))
        .map(|(text, _)| text.to_owned())
        .filter(|text| !text.is_empty() && !text.contains(['\\', '\n']))
        .collect()
}
