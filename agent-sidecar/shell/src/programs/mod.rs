//! What programs read and write, by name. Each file below knows one family; what none knows is unforeseen.
//! It runs nothing inside a program (`nested` does) and leaves git to `git`.

mod archives;
mod code;
mod decode;
mod files;
mod find;
mod packages;
mod patches;
mod sed;
mod text;
mod tools;

pub(crate) use decode::{base64_text, hex_text};
pub(crate) use find::{FindQuery, effect as find_effect};
pub(crate) use packages::runner;
pub(crate) use patches::diff_targets;

use crate::calls::Call;
use crate::field::Field;
use crate::findings::Findings;
use crate::shell::Flow;

/// Programs that change no file, whatever their options.
const READ_ONLY: &[&str] = &[
    "echo",
    "printf",
    "true",
    "false",
    "test",
    "[",
    "pwd",
    "which",
    "type",
    "whereis",
    "date",
    "cal",
    "du",
    "df",
    "ps",
    "pgrep",
    "pidof",
    "kill",
    "pkill",
    "killall",
    "sleep",
    "seq",
    "yes",
    "whoami",
    "id",
    "groups",
    "users",
    "who",
    "w",
    "uname",
    "hostname",
    "arch",
    "nproc",
    "uptime",
    "free",
    "lsof",
    "ss",
    "netstat",
    "printenv",
    "locale",
    "getconf",
    "tput",
    "clear",
    "tty",
    "stty",
    "basename",
    "dirname",
    "realpath",
    "readlink",
    "stat",
    "file",
    "ls",
    "dir",
    "vdir",
    "exa",
    "eza",
    "lsblk",
    "md5sum",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "b2sum",
    "cksum",
    "sum",
    "md5",
    "shasum",
    "tr",
    "expr",
    "bc",
    "factor",
    "numfmt",
    "mkdir",
    "rmdir",
    "sync",
    "dig",
    "nslookup",
    "host",
    "ping",
    "getent",
    "lscpu",
    "vm_stat",
    "sw_vers",
    "sysctl",
    "look",
    "hexdump",
    "od",
    "strings",
    "size",
    "ldd",
    "man",
    "apropos",
    "whatis",
    "history",
    "dirs",
    "tsort",
    "logger",
    "nm",
    "objdump",
    "readelf",
    "pathchk",
    "getopt",
    "top",
    "arp",
    "ifconfig",
    "lsmod",
    "last",
    "jobs",
    "vmstat",
    "iostat",
];

/// Options that make a read-only program write or run something after all.
const EXCEPT: &[(&str, &[&str])] = &[
    ("file", &["-C", "--compile"]),
    ("man", &["-P", "--pager", "-H", "--html"]),
    ("history", &["-w", "-a", "-r", "-n", "-c"]),
    ("sysctl", &["-w", "--write", "-p", "--load"]),
];

/// Programs that read the files they are given and change none.
const READERS: &[&str] = &[
    "cat",
    "tac",
    "nl",
    "head",
    "tail",
    "wc",
    "cut",
    "paste",
    "join",
    "comm",
    "diff",
    "diff3",
    "cmp",
    "fold",
    "fmt",
    "column",
    "rev",
    "expand",
    "unexpand",
    "pr",
    "colordiff",
    "more",
    "jless",
    "zcat",
    "bzcat",
    "xzcat",
    "zless",
];

/// What `call` reads and writes.
pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) {
    let known = text::effect(call, out)
        || sed::effect(call, out)
        || files::effect(call, out)
        || archives::effect(call, out)
        || packages::effect(call, out)
        || tools::effect(call, out)
        || code::effect(call, out)
        || patches::effect(call, out);
    if known {
        return;
    }
    if READERS.contains(&call.name) {
        let parsed = call.parsed("n:c:d:f:w:b:s:t:", &["--lines", "--bytes", "--fields", "--delimiter"]);
        call.read_all(&parsed.operands, out);
    } else if !READ_ONLY.contains(&call.name) {
        call.unforeseen("is not a program whose effects are known", out);
    } else if let Some((_, options)) = EXCEPT.iter().find(|(name, _)| *name == call.name)
        && (call.strict("", &[], out).has(options))
    {
        call.unforeseen("with these options may write or run something", out);
    }
}

/// What `call` prints, where that can be told.
pub(crate) fn output(call: &Call<'_>) -> Flow {
    match call.name {
        "echo" => echo(call.args),
        "printf" => printf(call.args),
        "cat" if call.args.is_empty() => call.stdin.clone(),
        "pwd" => call.cwd.map_or(Flow::Unknown, |cwd| Flow::Text(format!("{}\n", cwd.to_string_lossy()))),
        "basename" | "dirname" => path_part(call),
        "base64" | "base32" | "xxd" | "openssl" | "rev" | "tr" | "basenc" => decode::output(call),
        "grep" | "egrep" | "fgrep" | "rg" => text::listed(call),
        "sort" | "uniq" | "head" | "tail" => match call.stdin {
            Flow::Paths(fields) if only_options(call.args) => Flow::Paths(fields.clone()),
            _ => Flow::Unknown,
        },
        "true" | "false" | "test" | "[" | "mkdir" | "rmdir" | "sleep" | "cp" | "mv" | "rm" | "ln" | "touch"
        | "chmod" => Flow::Nothing,
        _ => Flow::Unknown,
    }
}

fn only_options(args: &[Field]) -> bool {
    args.iter().all(|arg| arg.prefix().starts_with('-'))
}

fn echo(args: &[Field]) -> Flow {
    let mut args = args;
    let mut newline = "\n";
    let mut decoded = false;
    while let Some((first, rest)) = args.split_first() {
        match first.known() {
            Some("-n") => newline = "",
            Some("-e" | "-ne" | "-en") => {
                newline = if first.known() == Some("-e") { newline } else { "" };
                decoded = true;
            }
            _ => break,
        }
        args = rest;
    }
    let words: Option<Vec<&str>> = args.iter().map(Field::known).collect();
    match words {
        Some(words) if decoded => {
            decode::escapes(&words.join(" ")).map_or(Flow::Unknown, |text| Flow::Text(text + newline))
        }
        // Some shells decode escapes in `echo`, some do not: whoever runs the text has to take care.
        Some(words) => Flow::Text(words.join(" ") + newline),
        None => Flow::Unknown,
    }
}

fn printf(args: &[Field]) -> Flow {
    let words: Option<Vec<&str>> = args.iter().map(Field::known).collect();
    let Some(words) = words else {
        return Flow::Unknown;
    };
    let (format, rest) = match words.as_slice() {
        ["--", format, rest @ ..] | [format, rest @ ..] => (*format, rest),
        [] => return Flow::Nothing,
    };
    let Some(format) = decode::escapes(format) else {
        return Flow::Unknown;
    };
    if format.contains("%b") && holes_are(&format, "%b") {
        let Some(words) = rest.iter().map(|word| decode::escapes(word)).collect::<Option<Vec<String>>>() else {
            return Flow::Unknown;
        };
        return Flow::Text(format.replacen("%b", &words.concat(), 1));
    }
    let Some(parts) = holes(&format) else {
        return Flow::Unknown;
    };
    let takes = parts.iter().any(|part| matches!(part, Part::Word | Part::Quoted));
    if !takes && !rest.is_empty() {
        return Flow::Unknown;
    }
    let mut text = String::new();
    let mut rest = rest.iter();
    loop {
        for part in &parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Word => text.push_str(rest.next().unwrap_or(&"")),
                Part::Quoted => text.push_str(&quoted(rest.next().unwrap_or(&""))),
            }
        }
        if !takes || rest.len() == 0 {
            return Flow::Text(text);
        }
    }
}

enum Part<'a> {
    Text(&'a str),
    /// `%s`
    Word,
    /// `%q`
    Quoted,
}

/// The pieces of a format; none if it has a hole of another kind.
fn holes(format: &str) -> Option<Vec<Part<'_>>> {
    let mut pieces = format.split('%');
    let mut parts = vec![Part::Text(pieces.next().unwrap_or_default())];
    while let Some(piece) = pieces.next() {
        let plain = match piece.chars().next() {
            // `%%`: the empty piece between them, and what follows.
            None => {
                parts.push(Part::Text("%"));
                pieces.next()?
            }
            Some('s') => {
                parts.push(Part::Word);
                &piece[1..]
            }
            Some('q') => {
                parts.push(Part::Quoted);
                &piece[1..]
            }
            Some(_) => return None,
        };
        parts.push(Part::Text(plain));
    }
    Some(parts)
}

/// As a shell would have to read it to get this word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@+,%".contains(c);
    match word {
        "" => "''".to_owned(),
        _ => word.chars().fold(String::new(), |mut out, c| {
            if !plain(c) {
                out.push('\\');
            }
            out.push(c);
            out
        }),
    }
}

/// Whether the one hole of a format is this one.
fn holes_are(format: &str, hole: &str) -> bool {
    format.matches('%').count() == 1 && format.contains(hole)
}

fn path_part(call: &Call<'_>) -> Flow {
    let words: Option<Vec<&str>> = call.args.iter().map(Field::known).collect();
    let text = match words.as_deref() {
        Some([path]) if !path.starts_with('-') => *path,
        _ => return Flow::Unknown,
    };
    let trimmed = text.trim_end_matches('/');
    let part = match (call.name, trimmed.rsplit_once('/')) {
        ("basename", Some((_, name))) => name,
        ("basename", None) => trimmed,
        (_, Some(("", _))) => "/",
        (_, Some((folder, _))) => folder,
        (_, None) => ".",
    };
    Flow::Text(format!("{part}\n"))
}
