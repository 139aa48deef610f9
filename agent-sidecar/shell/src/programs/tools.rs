//! Formatters and linters with explicit files, downloads, editors, and the asking half of `gh`.

use crate::calls::Call;
use crate::field::{Bit, Field};
use crate::findings::Findings;
use crate::model::How;

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    match call.name {
        "prettier" => formatter(call, &["-w", "--write"], &[], out),
        "eslint" | "stylelint" => formatter(call, &["--fix"], &[], out),
        "biome" => biome(call, out),
        "black" | "isort" | "yapf" | "autopep8" => python_formatter(call, out),
        "ruff" => ruff(call, out),
        "rustfmt" => rustfmt(call, out),
        "gofmt" | "goimports" | "gofumpt" => {
            let parsed = call.strict("r:d", &["--cpuprofile"], out);
            files(call, &parsed.operands, parsed.has(&["-w"]), out);
        }
        "shfmt" | "clang-format" => {
            let parsed = call.strict("i", &[], out);
            let writes = parsed.has(&["-w", "-i", "--write", "--in-place"]);
            files(call, &parsed.operands, writes, out);
        }
        "curl" => curl(call, out),
        "wget" => wget(call, out),
        "ed" | "ex" | "vi" | "vim" | "nvim" | "nano" | "emacs" | "pico" => {
            let parsed = call.parsed("c:s:", &[]);
            call.write_all(&parsed.operands, How::Write, out);
            call.unforeseen("is an editor and may write anything", out);
        }
        "gh" => gh(call, out),
        _ => return false,
    }
    true
}

/// Names each operand, which may be a file, a folder, or a pattern the program expands itself.
fn files(call: &Call<'_>, operands: &[Field], writes: bool, out: &mut Findings) {
    for operand in operands {
        if !writes {
            continue;
        }
        let mut pattern = Field::default();
        for bit in &operand.0 {
            match bit {
                Bit::Lit(text) if text.contains(['*', '{', '!']) => {
                    let start = text.find(['*', '{', '!']).unwrap_or(0);
                    pattern.push_text(&text[..start]);
                    pattern.push(Bit::Pattern(text[start..].to_owned()));
                }
                other => pattern.push(other.clone()),
            }
        }
        call.write_tree(&pattern, How::Write, out);
    }
}

const FORMATTER_LONG: &[&str] = &[
    "--config",
    "--parser",
    "--plugin",
    "--ignore-path",
    "--rule",
    "--ext",
    "--format",
    "--output-file",
    "--cache-location",
    "--max-warnings",
    "--rulesdir",
    "--resolve-plugins-relative-to",
    "--ignore-pattern",
    "--log-level",
    "--tab-width",
    "--print-width",
    "--custom-syntax",
    "--formatter",
    "--env",
    "--global",
    "--fix-type",
    "--config-path",
];

fn formatter(call: &Call<'_>, writing: &[&str], default: &[Field], out: &mut Findings) {
    let parsed = call.strict("c:f:o:", FORMATTER_LONG, out);
    for file in parsed.values(&["-o", "--output-file", "--cache-location"]) {
        call.write(file, How::Write, out);
    }
    let writes = parsed.options.iter().any(|(given, _)| writing.contains(&given.as_str()));
    let here = [Field::literal(".")];
    let operands = match (parsed.operands.as_slice(), default) {
        ([], []) => here.as_slice(),
        ([], default) => default,
        (operands, _) => operands,
    };
    files(call, operands, writes, out);
}

fn biome(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("", FORMATTER_LONG, out);
    if !matches!(call.verb(), "check" | "format" | "lint" | "ci") {
        call.unforeseen("may change its configuration", out);
    }
    let writes = parsed.has(&["--write", "--apply", "--apply-unsafe", "--fix"]);
    let operands = &parsed.operands[parsed.operands.len().min(1)..];
    let here = [Field::literal(".")];
    files(call, if operands.is_empty() { &here } else { operands }, writes, out);
}

fn python_formatter(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict(
        "l:t:c:w:p:",
        &[
            "--line-length",
            "--target-version",
            "--config",
            "--include",
            "--exclude",
            "--extend-exclude",
            "--profile",
            "--settings-path",
            "--style",
            "--max-line-length",
            "--workers",
        ],
        out,
    );
    let asks = parsed.has(&["--check", "--diff", "--check-only", "--version", "--help"]);
    let in_place = matches!(call.name, "black" | "isort") || parsed.has(&["-i", "--in-place"]);
    files(call, &parsed.operands, in_place && !asks, out);
    if call.name == "black" && parsed.has(&["-c"]) {
        call.unforeseen("with these options may do more", out);
    }
}

fn ruff(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict(
        "o:e",
        &[
            "--select",
            "--ignore",
            "--config",
            "--line-length",
            "--target-version",
            "--output-file",
            "--output-format",
            "--extend-select",
            "--exclude",
            "--cache-dir",
            "--per-file-ignores",
        ],
        out,
    );
    for file in parsed.values(&["-o", "--output-file"]) {
        call.write(file, How::Write, out);
    }
    let verb = parsed.operands.first().and_then(Field::known).unwrap_or_default();
    let writes = match verb {
        "format" => !parsed.has(&["--check", "--diff"]),
        "check" => parsed.has(&["--fix", "--add-noqa", "--unsafe-fixes", "--fix-only"]) && !parsed.has(&["--diff"]),
        "version" | "rule" | "help" | "linter" | "config" => false,
        _ => parsed.has(&["--fix"]),
    };
    let skip = usize::from(matches!(verb, "format" | "check")).min(parsed.operands.len());
    let operands = &parsed.operands[skip..];
    let here = [Field::literal(".")];
    files(call, if operands.is_empty() { &here } else { operands }, writes, out);
}

fn rustfmt(call: &Call<'_>, out: &mut Findings) {
    let parsed =
        call.strict("l", &["--config", "--config-path", "--edition", "--emit", "--color", "--print-config"], out);
    if parsed.has(&["--check", "--version", "--help"]) {
        return;
    }
    let emits = parsed.value(&["--emit"]).and_then(Field::known);
    files(call, &parsed.operands, emits.is_none_or(|text| text == "files"), out);
    if !parsed.operands.is_empty() {
        call.unforeseen("also formats the modules its files declare", out);
    }
}

const CURL_SHORT: &str = "o:A:b:c:C:d:D:e:E:F:H:K:m:P:Q:r:t:T:u:U:w:x:X:y:Y:z:";
const CURL_LONG: &[&str] = &[
    "--output",
    "--output-dir",
    "--header",
    "--data",
    "--data-raw",
    "--data-binary",
    "--data-urlencode",
    "--form",
    "--user",
    "--user-agent",
    "--cookie",
    "--cookie-jar",
    "--dump-header",
    "--request",
    "--url",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--retry-delay",
    "--proxy",
    "--cacert",
    "--cert",
    "--key",
    "--resolve",
    "--trace",
    "--trace-ascii",
    "--stderr",
    "--config",
    "--upload-file",
    "--write-out",
    "--referer",
    "--range",
    "--json",
    "--unix-socket",
    "--etag-save",
    "--etag-compare",
    "--hsts",
    "--alt-svc",
    "--libcurl",
    "--interface",
    "--limit-rate",
];

fn curl(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict(CURL_SHORT, CURL_LONG, out);
    if parsed.has(&["-K", "--config"]) {
        call.unforeseen("takes options from a file", out);
    }
    let folder = parsed.value(&["--output-dir"]);
    let outputs = [
        "-o",
        "--output",
        "-c",
        "--cookie-jar",
        "-D",
        "--dump-header",
        "--trace",
        "--trace-ascii",
        "--stderr",
        "--etag-save",
        "--hsts",
        "--alt-svc",
        "--libcurl",
    ];
    for (name, value) in &parsed.options {
        // Exact names: `--output` is also the beginning of `--output-dir`.
        let Some(file) = value.as_ref().filter(|_| outputs.contains(&name.as_str())) else {
            continue;
        };
        if file.known() == Some("-") {
            continue;
        }
        let joined = match folder {
            Some(folder) if matches!(name.as_str(), "-o" | "--output") => below(folder, file),
            _ => file.clone(),
        };
        call.write(&joined, How::Write, out);
    }
    if parsed.has(&["-J", "--remote-header-name"]) {
        call.unforeseen("takes the file's name from the server", out);
    }
    if parsed.has(&["-O", "--remote-name-all"]) || parsed.options.iter().any(|(o, _)| o == "--remote-name") {
        for url in &parsed.operands {
            let name = url_name(url);
            let file = folder.map_or_else(|| name.clone(), |folder| below(folder, &name));
            call.write(&file, How::Write, out);
        }
    }
}

fn below(folder: &Field, file: &Field) -> Field {
    let mut out = folder.clone();
    out.push_text("/");
    for bit in &file.0 {
        out.push(bit.clone());
    }
    out
}

/// The name a download gets from its address.
fn url_name(url: &Field) -> Field {
    let Some(text) = url.known() else {
        return Field::unknown(url.source(), false);
    };
    let path = text.split(['?', '#']).next().unwrap_or(text);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    match path.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => Field::literal(name),
        _ => Field::literal("index.html"),
    }
}

const WGET_LONG: &[&str] = &[
    "--output-document",
    "--output-file",
    "--append-output",
    "--directory-prefix",
    "--input-file",
    "--user-agent",
    "--header",
    "--timeout",
    "--tries",
    "--post-data",
    "--post-file",
    "--execute",
    "--accept",
    "--reject",
    "--level",
    "--save-cookies",
    "--load-cookies",
    "--user",
    "--password",
    "--wait",
    "--limit-rate",
    "--method",
    "--body-data",
];

fn wget(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("O:o:a:P:i:U:T:t:e:A:R:l:w:Q:D:I:X:B:", WGET_LONG, out);
    for file in parsed.values(&["-o", "--output-file", "-a", "--append-output", "--save-cookies"]) {
        call.write(file, How::Write, out);
    }
    if parsed.has(&["-e", "--execute", "-i", "--input-file", "--use-askpass", "--content-disposition"]) {
        call.unforeseen("with these options may write other files", out);
    }
    if parsed.has(&["--spider", "--version", "--help"]) {
        return;
    }
    if let Some(file) = parsed.value(&["-O", "--output-document"]) {
        if file.known() != Some("-") {
            call.write(file, How::Write, out);
        }
        return;
    }
    let here = Field::literal(".");
    let folder = parsed.value(&["-P", "--directory-prefix"]).unwrap_or(&here);
    let many = ["-r", "--recursive", "-m", "--mirror", "-p", "--page-requisites", "-x", "-k"];
    if parsed.has(&many) {
        call.write_tree(folder, How::Write, out);
        return;
    }
    for url in &parsed.operands {
        // An existing file is kept, and the new one gets a number.
        let mut file = below(folder, &url_name(url));
        call.write(&file, How::Write, out);
        file.push(Bit::Pattern(".*".to_owned()));
        if !file.has_unknown() {
            call.write(&file, How::Create, out);
        }
    }
}

fn gh(call: &Call<'_>, out: &mut Findings) {
    let words: Vec<&str> = call.args.iter().map_while(Field::known).collect();
    let asks = match words.as_slice() {
        ["pr" | "issue" | "run" | "repo" | "release" | "workflow" | "label" | "gist", verb, ..] => {
            matches!(
                *verb,
                "view"
                    | "list"
                    | "ls"
                    | "status"
                    | "diff"
                    | "checks"
                    | "watch"
                    | "comment"
                    | "edit"
                    | "close"
                    | "review"
            )
        }
        ["auth", "status", ..] | ["search" | "api" | "status" | "version" | "--version", ..] => true,
        _ => false,
    };
    let web = call.args.iter().any(|arg| matches!(arg.known(), Some("-w" | "--web")));
    if !asks || web {
        call.unforeseen("may change the repository", out);
    }
}
