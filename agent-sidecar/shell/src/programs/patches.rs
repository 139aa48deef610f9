//! Patches: `patch` and `apply_patch` change the files their text names, so a literal text is read for the names.

use crate::calls::Call;
use crate::field::Field;
use crate::findings::Findings;
use crate::model::How;
use crate::shell::Flow;

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    match call.name {
        "patch" => patch(call, out),
        "apply_patch" | "applypatch" => apply_patch(call, out),
        _ => return false,
    }
    true
}

fn patch(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict(
        "p:i:d:o:r:z:B:V:Y:D:F:g:",
        &["--strip", "--input", "--directory", "--output", "--reject-file", "--suffix"],
        out,
    );
    if parsed.has(&["--dry-run", "-C", "--check"]) {
        return;
    }
    for file in parsed.values(&["-o", "--output", "-r", "--reject-file"]) {
        call.write(file, How::Write, out);
    }
    if let Some(file) = parsed.operands.first() {
        call.write(file, How::Write, out);
    }
    let strip = parsed.value(&["-p", "--strip"]).and_then(Field::known);
    let elsewhere = parsed.has(&["-i", "--input", "-d", "--directory", "-o", "-b", "--backup"]);
    match (call.stdin, strip.and_then(|text| text.parse().ok())) {
        (Flow::Text(text), Some(strip)) if !elsewhere && parsed.operands.is_empty() => {
            for (path, how) in diff_targets(text, strip) {
                call.write_here(&path, how, out);
            }
            // Where a hunk does not fit, the original and the rejects are kept beside the file.
            call.unforeseen("may leave .orig and .rej files", out);
        }
        _ => call.unforeseen("changes the files that its patch names", out),
    }
}

/// The files a unified diff changes, with `strip` leading components taken off.
pub(crate) fn diff_targets(text: &str, strip: usize) -> Vec<(String, How)> {
    let mut out = Vec::new();
    let mut old: Option<&str> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("--- ") {
            old = Some(name);
        } else if let Some(new) = line.strip_prefix("+++ ") {
            let pair = (old.take().and_then(|name| stripped(name, strip)), stripped(new, strip));
            match pair {
                (Some(old), None) => out.push((old, How::Delete)),
                (None, Some(new)) => out.push((new, How::Create)),
                (_, Some(new)) => out.push((new, How::Write)),
                (None, None) => {}
            }
        } else if let Some(name) = line.strip_prefix("rename from ") {
            out.push((name.to_owned(), How::Rename));
        } else if let Some(name) = line.strip_prefix("rename to ") {
            out.push((name.to_owned(), How::Rename));
        }
    }
    out
}

fn stripped(name: &str, strip: usize) -> Option<String> {
    let name = name.split('\t').next().unwrap_or(name).trim_end();
    if name == "/dev/null" {
        return None;
    }
    name.splitn(strip + 1, '/').nth(strip).map(str::to_owned)
}

fn apply_patch(call: &Call<'_>, out: &mut Findings) {
    let text = match (call.args.first(), call.stdin) {
        (Some(arg), _) => arg.known(),
        (None, Flow::Text(text)) => Some(text.as_str()),
        (None, _) => None,
    };
    let Some(text) = text else {
        call.unforeseen("changes the files that its patch names", out);
        return;
    };
    let marks = [
        ("*** Add File: ", How::Create),
        ("*** Update File: ", How::Write),
        ("*** Delete File: ", How::Delete),
        ("*** Move to: ", How::Rename),
    ];
    for line in text.lines() {
        for (mark, how) in marks {
            if let Some(path) = line.strip_prefix(mark) {
                call.write_here(path.trim(), how, out);
            }
        }
    }
}
