//! Programs that read text and may write it elsewhere: `tee`, `sort -o`, `grep`, `awk`, `perl -i`, `split`, `jq`, `yq`, ...

use crate::calls::Call;
use crate::field::{Bit, Field};
use crate::findings::Findings;
use crate::model::How;
use crate::options::Parsed;
use crate::shell::Flow;

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    match call.name {
        "tee" | "sponge" => {
            let parsed = call.strict("", &[], out);
            let append = parsed.has(&["-a", "--append"]);
            let how = if append { How::Append } else { How::Write };
            call.write_all(&parsed.operands, how, out);
        }
        "grep" | "egrep" | "fgrep" | "zgrep" | "ag" | "ack" => grep(call, out),
        "rg" => ripgrep(call, out),
        "sort" => sort(call, out),
        "uniq" => second_operand(call, "f:s:w:", out),
        "xxd" => second_operand(call, "c:g:l:o:s:n:", out),
        "iconv" | "tree" | "base64" | "base32" => output_option(call, out),
        "less" => output_option(call, out),
        "split" | "csplit" => split(call, out),
        "jq" | "gojq" => jq(call, out),
        "yq" | "toml" | "dasel" => yq(call, out),
        "awk" | "gawk" | "mawk" | "nawk" => awk(call, out),
        "perl" => perl(call, out),
        _ => return false,
    }
    true
}

const GREP_SHORT: &str = "e:f:m:A:B:C:d:D:";
const GREP_LONG: &[&str] = &[
    "--regexp",
    "--file",
    "--max-count",
    "--after-context",
    "--before-context",
    "--context",
    "--include",
    "--exclude",
    "--exclude-dir",
    "--exclude-from",
    "--color",
    "--label",
];

fn grep(call: &Call<'_>, out: &mut Findings) {
    if matches!(call.name, "ag" | "ack") {
        if call.parsed("", &[]).has(&["--pager"]) {
            call.unforeseen("may run a pager", out);
        }
        return;
    }
    let parsed = call.parsed(GREP_SHORT, GREP_LONG);
    for file in parsed.values(&["-f", "--file"]) {
        out.read(file, call.cwd);
    }
    if !parsed.has(&["-r", "-R", "--recursive", "--dereference-recursive"]) {
        call.read_all(after_pattern(&parsed), out);
    }
}

fn after_pattern(parsed: &Parsed) -> &[Field] {
    let given = parsed.has(&["-e", "--regexp", "-f", "--file"]);
    let skip = usize::from(!given).min(parsed.operands.len());
    &parsed.operands[skip..]
}

const RG_SHORT: &str = "e:f:g:m:A:B:C:t:T:j:M:r:d:E:";
const RG_LONG: &[&str] = &[
    "--regexp",
    "--file",
    "--glob",
    "--iglob",
    "--max-count",
    "--type",
    "--type-not",
    "--after-context",
    "--before-context",
    "--context",
    "--max-depth",
    "--replace",
    "--sort",
    "--sortr",
    "--threads",
    "--pre",
    "--pre-glob",
    "--ignore-file",
    "--encoding",
    "--color",
    "--colors",
    "--max-columns",
    "--max-filesize",
];

fn ripgrep(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.parsed(RG_SHORT, RG_LONG);
    if parsed.has(&["--pre", "--hostname-bin"]) {
        call.unforeseen("runs another program on each file", out);
    }
    if parsed.loose {
        let may_run = call.args.iter().any(Field::splits);
        if may_run {
            call.dynamic(out);
        }
    }
}

/// The files that `grep -l` and `rg -l` name.
pub(crate) fn listed(call: &Call<'_>) -> Flow {
    let rg = call.name == "rg";
    let parsed = if rg { call.parsed(RG_SHORT, RG_LONG) } else { call.parsed(GREP_SHORT, GREP_LONG) };
    let recursive = rg || parsed.has(&["-r", "-R", "--recursive"]);
    let lists =
        parsed.has(&["-l", "-L", "--files-with-matches", "--files-without-match"]) || rg && parsed.has(&["--files"]);
    let mut paths =
        if rg && parsed.has(&["--files"]) { parsed.operands.clone() } else { after_pattern(&parsed).to_vec() };
    if !lists || !recursive || paths.iter().any(Field::may_be_option) {
        return Flow::Unknown;
    }
    if paths.is_empty() {
        paths.push(Field::literal("."));
    }
    let below = paths
        .into_iter()
        .map(|mut path| {
            if !path.prefix().ends_with('/') {
                path.push_text("/");
            }
            path.push(Bit::Pattern("**".to_owned()));
            path
        })
        .collect();
    Flow::Paths(below)
}

fn sort(call: &Call<'_>, out: &mut Findings) {
    const LONG: &[&str] = &[
        "--key",
        "--output",
        "--buffer-size",
        "--field-separator",
        "--temporary-directory",
        "--parallel",
        "--compress-program",
        "--batch-size",
        "--files0-from",
        "--random-source",
        "--sort",
    ];
    let parsed = call.strict("k:o:S:t:T:", LONG, out);
    if parsed.has(&["--compress-program"]) {
        call.unforeseen("runs another program", out);
    }
    for file in parsed.values(&["-o", "--output"]) {
        call.write(file, How::Write, out);
    }
    call.read_all(&parsed.operands, out);
}

/// `uniq in out`: the second operand is written.
fn second_operand(call: &Call<'_>, short: &str, out: &mut Findings) {
    let parsed = call.strict(short, &["--skip-fields", "--skip-chars", "--check-chars"], out);
    if let Some((input, rest)) = parsed.operands.split_first() {
        call.read_all(std::slice::from_ref(input), out);
        for file in rest {
            if file.known() != Some("-") {
                call.write(file, How::Write, out);
            }
        }
    }
}

fn output_option(call: &Call<'_>, out: &mut Findings) {
    let short = match call.name {
        "iconv" => "f:t:o:",
        "tree" => "I:L:P:o:H:T:",
        "less" => "o:O:p:t:x:y:z:b:h:j:k:",
        _ => "o:i:w:b:",
    };
    let parsed = call.strict(short, &["--output", "--log-file", "--filelimit", "--charset"], out);
    for file in parsed.values(&["-o", "-O", "--output", "--log-file"]) {
        call.write(file, How::Write, out);
    }
    call.read_all(&parsed.operands, out);
}

/// The parts get names that begin with a prefix.
fn split(call: &Call<'_>, out: &mut Findings) {
    const LONG: &[&str] =
        &["--lines", "--bytes", "--number", "--suffix-length", "--filter", "--prefix", "--digits", "--suffix-format"];
    let parsed = call.strict("a:b:C:l:n:t:f:", LONG, out);
    if parsed.has(&["--filter"]) {
        call.unforeseen("runs a command on each part", out);
    }
    call.read_all(&parsed.operands[..parsed.operands.len().min(1)], out);
    let given =
        if call.name == "split" { parsed.operands.get(1).cloned() } else { parsed.value(&["-f", "--prefix"]).cloned() };
    let default = if call.name == "split" { "x" } else { "xx" };
    let mut name = given.unwrap_or_else(|| Field::literal(default));
    name.push(Bit::Pattern("*".to_owned()));
    call.write(&name, How::Create, out);
}

fn jq(call: &Call<'_>, out: &mut Findings) {
    const LONG: &[&str] = &["--indent", "--from-file"];
    let mut args = call.args.to_vec();
    // `--arg name value` and its kin take two words.
    while let Some(at) =
        args.iter().position(|arg| matches!(arg.known(), Some("--arg" | "--argjson" | "--slurpfile" | "--rawfile")))
    {
        let end = (at + 3).min(args.len());
        args.drain(at..end);
    }
    let spec = crate::options::Spec::new("f:L:", LONG);
    let parsed = Parsed::new(&args, spec);
    if parsed.has(&["--args", "--jsonargs"]) {
        return;
    }
    let skip = usize::from(!parsed.has(&["-f", "--from-file"])).min(parsed.operands.len());
    call.read_all(&parsed.operands[skip..], out);
}

fn yq(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("o:p:I:s:", &["--output-format", "--input-format", "--split-exp", "--indent"], out);
    if parsed.has(&["-s", "--split-exp"]) || call.name != "yq" && call.verb() != "get" {
        call.unforeseen("may write files of its own naming", out);
    }
    if !parsed.has(&["-i", "--inplace", "--in-place"]) {
        return;
    }
    let verbs = ["eval", "e", "eval-all", "ea"];
    let verb = parsed.operands.first().and_then(Field::known).is_some_and(|text| verbs.contains(&text));
    let skip = (1 + usize::from(verb)).min(parsed.operands.len());
    call.write_all(&parsed.operands[skip..], How::Write, out);
}

fn awk(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.parsed_in_order(
        "f:F:v:i:e:l:",
        &["--file", "--field-separator", "--assign", "--include", "--source", "--load"],
    );
    if parsed.has(&["-f", "--file", "-i", "--include", "-l", "--load", "-e", "--source"]) || parsed.loose {
        call.unforeseen("takes its program from elsewhere", out);
        return;
    }
    let Some((program, files)) = parsed.operands.split_first() else {
        return;
    };
    match program.known() {
        Some(text) if awk_is_plain(text) => {}
        Some(text) => {
            for file in super::code::quoted_after(text, &["> \"", ">\"", ">> \"", ">>\""]) {
                call.write_here(&file, How::Write, out);
            }
            call.unforeseen("has a program that may write or run something else", out);
        }
        None => call.dynamic(out),
    }
    let files: Vec<Field> = files.iter().filter(|file| !file.prefix().contains('=')).cloned().collect();
    call.read_all(&files, out);
}

/// Output leaves an awk program only through `print ... > | `, `system`, and pipes into `getline`.
fn awk_is_plain(program: &str) -> bool {
    let prints = program.contains("print");
    let pipes = program.replace("||", "").contains('|');
    let runs = program.contains("system") || program.contains("getline") || program.contains('@');
    !(runs || prints && (program.contains('>') || pipes))
}

fn perl(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.parsed_in_order("e:E:I:M:m:F:i?0#l#C#x?D?", &[]);
    if parsed.has(&["-v", "-V", "--version"]) && parsed.operands.is_empty() {
        return;
    }
    let scripts = parsed.values(&["-e", "-E"]);
    if scripts.is_empty() {
        call.read_all(&parsed.operands[..parsed.operands.len().min(1)], out);
        call.unforeseen("runs a program", out);
        super::code::inline(call, out);
        return;
    }
    let in_place = parsed.has(&["-i"]);
    let looping = parsed.has(&["-p", "-n"]);
    let plain = looping && !parsed.has(&["-M", "-m", "-I"]);
    let plain = plain && scripts.iter().all(|script| script.known().is_some_and(perl_is_plain));
    if !plain || parsed.loose {
        call.unforeseen("runs inline code", out);
    }
    for script in scripts {
        super::code::foresee(call, &script.source(), out);
    }
    let suffix = parsed.value(&["-i"]).and_then(Field::known).unwrap_or_default();
    for file in &parsed.operands {
        if in_place {
            call.write(file, How::Write, out);
        } else if looping {
            out.read(file, call.cwd);
        }
        if in_place && suffix.contains(['*', '/']) {
            call.unforeseen("keeps backups under names of their own", out);
        } else if in_place && !suffix.is_empty() {
            let mut backup = file.clone();
            backup.push_text(suffix);
            call.write(&backup, How::Create, out);
        }
    }
}

/// Only substitutions and `print`, without code in them.
fn perl_is_plain(script: &str) -> bool {
    let statements = script.split(';').map(str::trim);
    statements.filter(|statement| !statement.is_empty()).all(|statement| {
        if matches!(statement, "print" | "next" | "chomp") {
            return true;
        }
        let Some(rest) = statement.strip_prefix('s').or_else(|| statement.strip_prefix("tr")) else {
            return false;
        };
        let Some(delimiter) = rest.chars().next().filter(|c| "/|#!,".contains(*c)) else {
            return false;
        };
        let flags = rest.rsplit(delimiter).next().unwrap_or_default();
        // Code hides in `(?{ })`, `@{[ ]}` and backquotes, and in the `e` flag.
        let code = statement.contains("(?{") || statement.contains("(??") || statement.contains(['@', '`']);
        !code && rest.matches(delimiter).count() >= 3 && flags.chars().all(|c| "gimsxr".contains(c))
    })
}
