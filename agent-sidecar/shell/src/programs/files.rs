//! Programs that copy, move, remove, link or mark files: `cp`, `mv`, `rm`, `ln`, `install`, `touch`, `chmod`, `dd`, ...

use crate::calls::{Call, placed};
use crate::field::{Bit, Field};
use crate::findings::Findings;
use crate::model::{How, Target};

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    match call.name {
        "cp" | "mv" | "ln" | "install" => copy(call, out),
        "rm" | "unlink" | "shred" | "trash" => remove(call, out),
        "touch" => touch(call, out),
        "truncate" => {
            let parsed = call.strict("s:r:", &["--size", "--reference"], out);
            call.write_all(&parsed.operands, How::Write, out);
        }
        "chmod" | "chown" | "chgrp" => mode(call, out),
        "dd" => dd(call, out),
        "mkfifo" | "mknod" => {
            let parsed = call.strict("m:", &["--mode"], out);
            call.write_all(&parsed.operands[..parsed.operands.len().min(1)], How::Create, out);
        }
        "mktemp" => mktemp(call, out),
        "rsync" => rsync(call, out),
        "scp" => scp(call, out),
        _ => return false,
    }
    true
}

const COPY_LONG: &[&str] = &["--target-directory", "--suffix", "--mode", "--owner", "--group", "--strip-program"];

fn copy(call: &Call<'_>, out: &mut Findings) {
    let short = match call.name {
        "install" => "t:S:m:o:g:B:f:",
        _ => "t:S:",
    };
    let parsed = call.strict(short, COPY_LONG, out);
    let mut sources = parsed.operands.clone();
    if call.name == "install" && parsed.has(&["-d", "--directory"]) {
        return;
    }
    let given = parsed.value(&["-t", "--target-directory"]).cloned();
    let sure_folder = given.is_some() || sources.len() > 2;
    let dest = match given {
        Some(folder) => folder,
        None if call.name == "ln" && sources.len() == 1 => Field::literal("."),
        None if sources.len() > 1 => sources.pop().unwrap_or_default(),
        None => return,
    };
    let plain = parsed.has(&["-T", "--no-target-directory"]);
    let recursive =
        call.name == "mv" || call.name == "cp" && parsed.has(&["-r", "-R", "-a", "--recursive", "--archive"]);
    let how = match call.name {
        "mv" => How::Rename,
        "ln" => How::Create,
        _ => How::Write,
    };
    for source in &sources {
        match call.name {
            "mv" => call.write_tree(source, How::Rename, out),
            "cp" | "install" if !recursive => out.read(source, call.cwd),
            _ => {}
        }
        let target = if plain && recursive {
            dest.tree(call.cwd)
        } else if plain {
            dest.target(call.cwd)
        } else {
            placed(source, &dest, call.cwd, sure_folder, recursive)
        };
        out.write(target, how, call.name);
    }
    if parsed.has(&["-b", "--backup", "-S", "--suffix"]) {
        call.unforeseen("also keeps backups", out);
    }
    if parsed.has(&["--parents"]) {
        out.write(dest.tree(call.cwd), how, call.name);
    }
}

fn remove(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("n:s:", &["--iterations", "--size"], out);
    let recursive = parsed.has(&["-r", "-R", "--recursive", "-d", "--dir"]) || call.name == "trash";
    for operand in &parsed.operands {
        let how = if call.name == "shred" && !parsed.has(&["-u", "--remove"]) { How::Write } else { How::Delete };
        if recursive {
            call.write_tree(operand, how, out);
        } else {
            call.write(operand, how, out);
        }
    }
}

fn touch(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("d:r:t:A:", &["--date", "--reference", "--time"], out);
    let how = if parsed.has(&["-c", "--no-create", "-h"]) { How::Metadata } else { How::Create };
    call.write_all(&parsed.operands, how, out);
}

/// `chmod -x f`: a mode may look like options.
fn mode(call: &Call<'_>, out: &mut Findings) {
    let is_mode = |field: &&Field| {
        call.name == "chmod"
            && field.known().is_some_and(|text| {
                text.strip_prefix('-')
                    .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| "rwxXst,+-=ugoa".contains(c)))
            })
    };
    let minus = call.args.iter().any(|arg| is_mode(&arg));
    let args: Vec<Field> = call.args.iter().filter(|arg| !is_mode(arg)).cloned().collect();
    let spec = crate::options::Spec::new("", &["--reference", "--from"]);
    let parsed = crate::options::Parsed::new(&args, spec);
    // An unknown first word is the mode; elsewhere it could be `-R`.
    let loose = parsed.operands.iter().skip(1).any(Field::may_be_option);
    if loose {
        call.dynamic(out);
    }
    let skip = usize::from(!minus && !parsed.has(&["--reference"]));
    for operand in parsed.operands.iter().skip(skip) {
        if parsed.has(&["-R", "--recursive"]) {
            call.write_tree(operand, How::Metadata, out);
        } else {
            call.write(operand, How::Metadata, out);
        }
    }
}

fn dd(call: &Call<'_>, out: &mut Findings) {
    for arg in call.args {
        if arg.may_be_option() {
            call.dynamic(out);
        }
        if let Some(file) = arg.strip_prefix("of=") {
            call.write(&file, How::Write, out);
        } else if let Some(file) = arg.strip_prefix("if=") {
            out.read(&file, call.cwd);
        }
    }
}

/// Without a template the file is in the system's folder for such files.
fn mktemp(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("p:t:", &["--suffix"], out);
    if parsed.has(&["-u", "--dry-run", "-d", "--directory", "-t"]) {
        return;
    }
    let folder = parsed.value(&["-p", "--tmpdir"]);
    let template = parsed.operands.first();
    if folder.is_none() && template.is_none() {
        return;
    }
    let mut name = folder.cloned().unwrap_or_default();
    if folder.is_some() {
        name.push_text("/");
    }
    let template = template.and_then(Field::known).unwrap_or("tmp.XXX");
    let mut parts = template.split('X');
    name.push_text(parts.next().unwrap_or_default());
    name.push(Bit::Pattern("*".to_owned()));
    call.write(&name, How::Create, out);
}

/// `host:path`, which is not a file here.
fn is_remote(field: &Field) -> bool {
    let text = field.source();
    match text.find(':') {
        Some(colon) => !text[..colon].contains('/'),
        None => false,
    }
}

fn rsync(call: &Call<'_>, out: &mut Findings) {
    const LONG: &[&str] = &[
        "--exclude",
        "--include",
        "--rsh",
        "--rsync-path",
        "--filter",
        "--exclude-from",
        "--include-from",
        "--files-from",
        "--log-file",
        "--backup-dir",
        "--suffix",
        "--temp-dir",
        "--partial-dir",
        "--max-size",
        "--min-size",
        "--chmod",
        "--chown",
        "--timeout",
        "--port",
        "--password-file",
        "--bwlimit",
        "--info",
        "--out-format",
        "--write-batch",
    ];
    let parsed = call.strict("e:f:T:B:M:", LONG, out);
    if parsed.has(&["-n", "--dry-run"]) {
        return;
    }
    let Some((dest, sources)) = parsed.operands.split_last() else {
        return;
    };
    if parsed.has(&["-e", "--rsh", "--rsync-path", "--files-from"])
        && !is_remote(dest)
        && !sources.iter().any(is_remote)
    {
        call.unforeseen("with these options may do more", out);
    }
    for file in parsed.values(&["--log-file", "--backup-dir", "--write-batch"]) {
        call.write_tree(file, How::Write, out);
    }
    if parsed.has(&["--remove-source-files"]) {
        for source in sources {
            call.write_tree(source, How::Delete, out);
        }
    }
    if !is_remote(dest) && !sources.is_empty() {
        call.write_tree(dest, How::Write, out);
        if parsed.has(&["--delete", "--delete-before", "--delete-after", "--delete-during", "--delete-excluded"]) {
            call.write_tree(dest, How::Delete, out);
        }
    }
}

fn scp(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("P:i:o:c:F:J:l:S:D:X:", &[], out);
    let Some((dest, sources)) = parsed.operands.split_last() else {
        return;
    };
    if parsed.has(&["-o", "-S", "-F", "-D"]) {
        call.unforeseen("with these options may run other programs", out);
    }
    if is_remote(dest) {
        return;
    }
    for source in sources {
        let name = source.known().and_then(|text| text.rsplit(['/', ':']).next());
        let name = Field::literal(name.unwrap_or_default());
        let tree = parsed.has(&["-r"]);
        let target = match placed(&name, dest, call.cwd, sources.len() > 1, tree) {
            Target::File(path) if name.0.is_empty() => Target::Tree(path),
            other => other,
        };
        out.write(target, How::Write, call.name);
    }
}
