//! Archives and compression: `tar`, `unzip`, `zip`, `gzip` and its kin.

use crate::calls::Call;
use crate::field::Field;
use crate::findings::Findings;
use crate::model::How;
use crate::options::{Parsed, Spec};

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    match call.name {
        "tar" | "bsdtar" => tar(call, out),
        "unzip" => unzip(call, out),
        "zip" => zip(call, out),
        "zipinfo" | "lsar" => {}
        "gzip" | "gunzip" | "bzip2" | "bunzip2" | "xz" | "unxz" | "zstd" | "unzstd" | "lz4" => {
            compress(call, out);
        }
        _ => return false,
    }
    true
}

const TAR_SHORT: &str = "f:C:b:g:H:I:K:L:N:T:V:X:F:";
const TAR_LONG: &[&str] = &[
    "--file",
    "--directory",
    "--exclude",
    "--exclude-from",
    "--files-from",
    "--transform",
    "--xform",
    "--owner",
    "--group",
    "--mode",
    "--mtime",
    "--use-compress-program",
    "--to-command",
    "--checkpoint-action",
    "--info-script",
    "--new-volume-script",
    "--rsh-command",
    "--listed-incremental",
];

fn tar(call: &Call<'_>, out: &mut Findings) {
    let mut args = call.args.to_vec();
    // The first word may be options without a dash: `tar xzf a.tgz`.
    if let Some(first) = args.first_mut()
        && !first.prefix().starts_with('-')
        && let Some(text) = first.known()
    {
        *first = Field::literal(format!("-{text}"));
    }
    let parsed = Parsed::new(&args, Spec::new(TAR_SHORT, TAR_LONG));
    if parsed.loose {
        call.dynamic(out);
    }
    let runs = [
        "-I",
        "--use-compress-program",
        "--to-command",
        "--checkpoint-action",
        "-F",
        "--info-script",
        "--new-volume-script",
        "--rsh-command",
        "-P",
        "--absolute-names",
        "--remove-files",
        "-T",
        "--files-from",
    ];
    let archive = parsed.value(&["-f", "--file"]);
    if parsed.has(&["-x", "--extract", "--get"]) {
        if let Some(file) = archive {
            out.read(file, call.cwd);
        }
        if !parsed.has(&["-O", "--to-stdout"]) {
            extract(call, &parsed, out);
        }
    } else if parsed.has(&["-c", "-r", "-u", "-A", "--create", "--append", "--update", "--delete", "--concatenate"]) {
        if let Some(file) = archive.filter(|file| file.known() != Some("-")) {
            call.write(file, How::Write, out);
        }
    } else {
        if let Some(file) = archive {
            out.read(file, call.cwd);
        }
    }
    if parsed.has(&runs) || parsed.has(&["-g", "--listed-incremental"]) {
        call.unforeseen("with these options may do more", out);
    }
}

fn extract(call: &Call<'_>, parsed: &Parsed, out: &mut Findings) {
    let folders = parsed.values(&["-C", "--directory"]);
    match folders.as_slice() {
        [] => call.write_tree(&Field::literal("."), How::Write, out),
        [folder] => call.write_tree(folder, How::Write, out),
        _ => call.unforeseen("extracts into several folders", out),
    }
}

fn unzip(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("d:P:x:", &[], out);
    call.read_all(&parsed.operands[..parsed.operands.len().min(1)], out);
    if parsed.has(&["-l", "-t", "-p", "-Z", "-z", "-v", "-c"]) {
        return;
    }
    let here = Field::literal(".");
    let folder = parsed.value(&["-d"]).unwrap_or(&here);
    call.write_tree(folder, How::Write, out);
}

fn zip(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("n:t:b:P:O:s:", &["--out"], out);
    if parsed.has(&["-m", "--move", "-T", "-TT", "--unzip-command", "-@"]) {
        call.unforeseen("with these options may do more", out);
    }
    let archive = parsed.value(&["-O", "--out"]).or(parsed.operands.first());
    let Some(archive) = archive.filter(|file| file.known() != Some("-")) else {
        return;
    };
    let mut archive = archive.clone();
    let name = archive.source();
    if !name.rsplit('/').next().unwrap_or(&name).contains('.') {
        archive.push_text(".zip");
    }
    call.write(&archive, How::Write, out);
}

fn compress(call: &Call<'_>, out: &mut Findings) {
    let parsed = call.strict("S:o:T:", &["--suffix", "--threads"], out);
    let silent = ["-c", "--stdout", "--to-stdout", "-t", "--test", "-l", "--list"];
    if parsed.has(&silent) || parsed.operands.is_empty() {
        call.read_all(&parsed.operands, out);
        return;
    }
    if parsed.has(&["-S", "--suffix", "-o", "--rm"]) {
        call.unforeseen("with these options writes elsewhere", out);
    }
    let (suffix, keeps) = match call.name {
        "gzip" | "gunzip" => (".gz", false),
        "bzip2" | "bunzip2" => (".bz2", false),
        "xz" | "unxz" => (".xz", false),
        "zstd" | "unzstd" => (".zst", true),
        _ => (".lz4", true),
    };
    let keeps = keeps || parsed.has(&["-k", "--keep"]);
    let unpacks = call.name.contains("un") || parsed.has(&["-d", "--decompress", "--uncompress"]);
    for file in &parsed.operands {
        if parsed.has(&["-r", "--recursive"]) {
            call.write_tree(file, How::Write, out);
            continue;
        }
        let mut end = file.clone();
        if unpacks {
            let text = file.known().and_then(|text| text.strip_suffix(suffix));
            match text {
                Some(text) => end = Field::literal(text),
                None => call.unforeseen("writes a file of another name", out),
            }
        } else {
            end.push_text(suffix);
        }
        call.write(&end, How::Create, out);
        if !keeps {
            call.write(file, How::Delete, out);
        }
    }
}
