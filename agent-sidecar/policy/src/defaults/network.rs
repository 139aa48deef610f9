//! Code that comes from the network or cannot be read and is run at once, and connections that hand the machine to others.

use rr_shell::Target;

use super::{Builtin, Look, Scene};
use crate::seen::{Seen, like, straight};

/// Code that fetches code and runs it.
fn fetches_and_runs(seen: &Seen<'_>) -> bool {
    const FETCH: &[&str] = &["urlopen(", "requests.get(", "fetch(", "https.get(", "open-uri", "LWP::", "httpx.get("];
    const RUN: &[&str] = &["exec(", "eval(", "(eval)", "eval ", "vm.run"];
    let has = |text: &str, marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    if seen.name == "deno"
        && seen.any(&["run"])
        && seen.texts().any(|text| text.starts_with("https://") || text.starts_with("http://"))
    {
        return true;
    }
    let codes = seen.texts().chain(seen.call.stdin.as_deref());
    matches!(seen.name, "python" | "python3" | "node" | "ruby" | "perl" | "deno" | "bun")
        && codes.into_iter().any(|text| has(text, FETCH) && has(text, RUN))
}

/// A downloaded program, called by its path.
fn calls_download(scene: &Scene<'_>) -> Option<usize> {
    let by_path = scene.seen.iter().filter(|seen| seen.call.program.text().contains('/'));
    let mut downloaded = by_path
        .filter(|seen| seen.path(seen.call.program.text()).is_some_and(|path| is_downloaded(&path, seen, scene)));
    downloaded.next().map(|seen| seen.at)
}

const RUNNERS: &[&str] = &[
    "sh",
    "bash",
    "zsh",
    "dash",
    "ksh",
    "ash",
    "fish",
    "rbash",
    "source",
    ".",
    "eval",
    "python",
    "python2",
    "python3",
    "perl",
    "ruby",
    "node",
    "nodejs",
    "php",
    "bun",
    "deno",
    "osascript",
    "pwsh",
    "powershell",
    "lua",
    "busybox",
    "iex",
    "csh",
    "tcsh",
    "tclsh",
    "parallel",
];

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/run-from-network",
        programs: RUNNERS,
        because: "it runs code from the network that nobody has read",
        instead: "download it to a file, read it, check its sum, then run the file; or use the package manager",
        look: Look::Command(|seen, scene| {
            runs_what(seen, scene, is_fetch) || runs_download(seen, scene) || fetches_and_runs(seen)
        }),
    },
    Builtin {
        name: "default/run-downloaded",
        programs: &[],
        because: "it runs a program that the same line downloads, before anybody could look at it",
        instead: "download it, read it or check its sum, and run it in a call of its own",
        look: Look::Call(calls_download),
    },
    Builtin {
        name: "default/run-unreadable",
        programs: RUNNERS,
        because: "it runs code that is hidden in an encoding",
        instead: "write the command out in plain words",
        look: Look::Command(|seen, scene| runs_what(seen, scene, is_decoder) || runs_descriptor(seen)),
    },
    Builtin {
        name: "default/hidden-program",
        programs: &[],
        because: "its program is named by a pattern that means one which rules look at",
        instead: "write the program's name",
        look: Look::Call(|scene| scene.seen.iter().find(|seen| hides_program(seen)).map(|seen| seen.at)),
    },
    Builtin {
        name: "default/reverse-shell",
        programs: &[
            "nc", "ncat", "netcat", "socat", "bash", "sh", "zsh", "ssh", "telnet", "mkfifo", "openssl", "python",
            "python3", "perl", "ruby", "php", "node",
        ],
        because: "it lets another machine type on this one",
        instead: "ask the person: nothing a build or test needs works like this",
        look: Look::Command(reverse_shell),
    },
    Builtin {
        name: "default/raw-connection",
        programs: &[],
        because: "it sends to another machine past every tool that could be watched",
        instead: "use `curl` with what is meant to be sent",
        look: Look::Paths(|scene| {
            let sockets = scene.call.analysis.into_iter().flat_map(|analysis| &analysis.sockets);
            sockets.filter(|socket| !is_here(&socket.to_string_lossy())).cloned().collect()
        }),
    },
];

fn is_here(socket: &str) -> bool {
    let host = socket.split('/').nth(3).unwrap_or_default();
    matches!(host, "localhost" | "127.0.0.1" | "::1" | "0.0.0.0")
        || !host.contains('.') && !host.is_empty() && !host.contains(':') && host.parse::<u32>().is_err()
}

fn is_fetch(seen: &Seen<'_>) -> bool {
    matches!(
        seen.name,
        "curl"
            | "wget"
            | "fetch"
            | "aria2c"
            | "http"
            | "https"
            | "xh"
            | "lynx"
            | "nc"
            | "ncat"
            | "netcat"
            | "socat"
            | "ftp"
            | "iwr"
            | "irm"
            | "dig"
            | "w3m"
            | "links"
            | "curlie"
            | "axel"
            | "telnet"
            | "invoke-webrequest"
    ) || seen.name == "gh" && seen.any(&["api"])
        || seen.name == "ssh"
        || seen.name == "aws" && seen.any(&["s3"])
        || seen.name == "gsutil"
        || matches!(seen.name, "echo" | "printf") && holds_fetched(seen)
}

/// Whether a word of it is what a fetch printed before.
fn holds_fetched(seen: &Seen<'_>) -> bool {
    const MARKS: &[&str] = &["$(curl", "$(wget", "`curl", "`wget", "$( curl", "$( wget"];
    seen.call.args.iter().any(|word| match word {
        rr_shell::Word::Dynamic(source) => MARKS.iter().any(|mark| source.contains(mark)),
        _ => false,
    })
}

fn is_decoder(seen: &Seen<'_>) -> bool {
    match seen.name {
        "base64" | "base32" | "basenc" => seen.has('d', "decode") || seen.letter('D'),
        "xxd" => seen.letter('r'),
        "openssl" => seen.any(&["-d", "enc", "base64"]),
        "uudecode" => true,
        "gunzip" | "zcat" | "bunzip2" | "bzcat" | "xzcat" | "unxz" | "zstdcat" => true,
        "gzip" | "xz" | "bzip2" | "zstd" => seen.has('d', "decompress"),
        "gpg" => seen.has('d', "decrypt"),
        "rev" | "tr" | "cut" | "head" | "tail" | "sort" | "uniq" | "jq" | "yq" | "fold" | "paste" | "fmt" | "nl"
        | "column" | "iconv" | "dd" | "pv" | "envsubst" | "grep" | "egrep" | "fgrep" | "rg" | "seq" | "expand"
        | "pr" | "tac" | "shuf" | "colrm" | "comm" | "join" => true,
        // `cat <(..)`
        "cat" => seen.texts().any(|text| text.starts_with("/dev/fd/")),
        "tar" | "bsdtar" => {
            seen.letter('O')
                || seen.exact("--to-stdout")
                || seen.call.args.first().is_some_and(|w| w.text().contains('O'))
        }
        "unzip" => seen.letter('p'),
        "git" => seen.any(&["for-each-ref"]),
        // What code prints is known only when it runs.
        "perl" | "python" | "python3" | "ruby" | "node" | "php" => !seen.operands().is_empty() || seen.letter('e'),
        "awk" | "sed" | "tee" => true,
        _ => false,
    }
}

/// Whether a runner gets its code from a command of this kind: on its input, or as a word.
fn runs_what(seen: &Seen<'_>, scene: &Scene<'_>, from: fn(&Seen<'_>) -> bool) -> bool {
    if seen.call.stdin.is_some() && reads_code(seen) {
        // The text is known, and was followed.
        return false;
    }
    let fed = scene.feeders(seen).any(from);
    fed && (reads_code(seen) || code_is_unknown(seen)) || code_names(seen, scene, from)
}

/// `source /dev/fd/3`: what was put there stands somewhere else.
fn runs_descriptor(seen: &Seen<'_>) -> bool {
    // Above it are those of `<(..)`, which are followed.
    const SUBSTITUTIONS_FROM: u32 = 60;
    let number = seen.operands().first().and_then(|word| word.text().strip_prefix("/dev/fd/")?.parse::<u32>().ok());
    number.is_some_and(|number| (1..SUBSTITUTIONS_FROM).contains(&number))
}

/// Whether it takes its program from standard input.
fn reads_code(seen: &Seen<'_>) -> bool {
    if matches!(seen.name, "source" | "." | "eval" | "iex") {
        return seen.any(&["/dev/stdin", "/dev/fd/63", "/dev/fd/0", "-"]) || seen.name == "iex";
    }
    let first = seen.each_verb(&["-o", "-O", "+o", "-eo", "-euo", "-uo", "-xo", "-exo", "-euxo", "-xeuo"]).next();
    let first = first.or_else(|| seen.texts().find(|text| *text == "-"));
    let stdin = matches!(first, None | Some("-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0"));
    let shell = matches!(
        seen.name,
        "sh" | "bash" | "zsh" | "dash" | "ksh" | "ash" | "rbash" | "fish" | "csh" | "tcsh" | "busybox"
    );
    let given = seen.texts().take_while(|t| t.starts_with('-') || t.starts_with('+')).any(|t| {
        let cluster = t.starts_with('-') && !t.starts_with("--");
        cluster && if shell { t.contains('c') } else { t.ends_with(['c', 'e', 'r', 'p', 'm', 'n']) || t.contains('e') }
            || matches!(t, "--eval" | "--print" | "--version" | "--help" | "-m")
    });
    let process = first.is_some_and(|text| text.starts_with("/dev/fd/"));
    process
        || !given && (stdin || shell && seen.letter('s'))
        || seen.name == "busybox" && first.is_some_and(|t| t == "sh" || t == "ash")
}

/// `sh -c "$(...)"`, `eval "$(...)"`: the text is what a substitution prints.
fn code_is_unknown(seen: &Seen<'_>) -> bool {
    let code = matches!(seen.name, "eval" | "source" | "." | "iex")
        || seen.texts().any(|t| t.starts_with('-') && !t.starts_with("--") && t.ends_with(['c', 'e', 'r']));
    code && seen
        .call
        .args
        .iter()
        .any(|word| matches!(word, rr_shell::Word::Dynamic(source) if source.contains("$(") || source == "<standard input>" || source.contains('`')))
        && !usual_eval(seen)
}

/// `eval "$(ssh-agent -s)"` and its like have no fetch in them; this is for words that name one.
fn usual_eval(seen: &Seen<'_>) -> bool {
    seen.texts().any(|t| t.contains("ssh-agent") || t.contains("direnv") || t.contains("brew shellenv"))
}

/// A variable that holds what a fetch printed: its source text tells.
fn code_names(seen: &Seen<'_>, scene: &Scene<'_>, from: fn(&Seen<'_>) -> bool) -> bool {
    let code = matches!(seen.name, "eval" | "source" | "." | "iex")
        || seen.texts().any(|t| t.starts_with('-') && !t.starts_with("--") && t.ends_with(['c', 'e']));
    // `curl .. | while read -r line; do eval "$line"; done`
    if seen.name == "eval"
        && scene.feeders(seen).any(from)
        && seen.call.args.iter().any(|word| matches!(word, rr_shell::Word::Dynamic(_)))
    {
        return true;
    }
    let network = from as usize == is_fetch as fn(&Seen<'_>) -> bool as usize;
    code && network && holds_fetched(seen)
}

/// A file that the same line downloads and runs.
fn runs_download(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    let script = seen.operands().first().copied();
    let temporary = matches!(script, Some(rr_shell::Word::Dynamic(source)) if source.contains("mktemp"));
    if temporary && scene.seen.iter().any(|earlier| earlier.at < seen.at && is_fetch(earlier)) {
        return true;
    }
    let script = script.and_then(|word| seen.path(word.text()));
    script.is_some_and(|path| is_downloaded(&path, seen, scene))
}

fn is_downloaded(path: &std::path::Path, seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    let fetches = || scene.seen.iter().filter(|earlier| earlier.at < seen.at && is_fetch(earlier));
    let Some(analysis) = scene.call.analysis.filter(|_| fetches().next().is_some()) else {
        return false;
    };
    let written = analysis.writes.iter().any(|write| match &write.target {
        Target::File(file) | Target::Into { path: file, .. } => {
            matches!(write.by.as_str(), "curl" | "wget" | "redirection" | "tee") && straight(file) == path
        }
        _ => false,
    });
    let name = path.file_name().and_then(|name| name.to_str());
    written
        || fetches().any(|fetch| {
            let given = fetch.value(&["-o", "--output", "-O", "--output-document"]);
            let given =
                given.or_else(|| fetch.texts().find_map(|t| t.strip_prefix("-o").filter(|rest| !rest.is_empty())));
            let remote = (fetch.letter('O') || fetch.name == "wget")
                && fetch.texts().any(|t| t.contains("://") && t.rsplit('/').next() == name);
            remote || given.is_some_and(|text| fetch.path(text).as_deref() == Some(path))
        })
}

/// `/bin/r?`: a pattern in the place of a program.
fn hides_program(seen: &Seen<'_>) -> bool {
    let rr_shell::Word::Pattern(pattern) = &seen.call.program else { return false };
    // A set of characters is as good as any of them here.
    let mut simple = String::new();
    let mut rest = pattern.as_str();
    while let Some(at) = rest.find('[') {
        simple.push_str(&rest[..at]);
        simple.push('?');
        rest = rest[at..].split_once(']').map_or("", |(_, after)| after);
    }
    simple.push_str(rest);
    let folders = ["/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/", "/usr/local/bin/"];
    let names = || super::by_program().keys();
    simple.contains('/') && folders.iter().any(|folder| names().any(|name| like(&simple, &format!("{folder}{name}"))))
}

fn reverse_shell(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    let shell = |text: &str| matches!(text.rsplit('/').next(), Some("sh" | "bash" | "zsh" | "cmd.exe" | "powershell"));
    match seen.name {
        "nc" | "ncat" | "netcat" => {
            (seen.letter('e') || seen.letter('c') || seen.long("exec") || seen.long("sh-exec"))
                && seen.texts().any(|t| shell(t) || t.contains("/bin/sh") || t.contains("/bin/bash"))
                || scene.feeders(seen).any(|from| matches!(from.name, "sh" | "bash" | "zsh"))
        }
        "socat" => seen.texts().any(|t| {
            (t.to_lowercase().starts_with("exec:") || t.to_lowercase().starts_with("system:"))
                && (t.contains("sh") || t.contains("bash"))
        }),
        "openssl" | "telnet" => scene.feeders(seen).any(|from| matches!(from.name, "sh" | "bash" | "zsh")),
        "bash" | "sh" | "zsh" => {
            seen.letter('i')
                && scene
                    .feeders(seen)
                    .any(|from| matches!(from.name, "nc" | "ncat" | "netcat" | "telnet" | "openssl" | "cat" | "mkfifo"))
                && scene.seen.iter().any(|s| matches!(s.name, "nc" | "ncat" | "netcat" | "telnet" | "openssl"))
        }
        "python" | "python3" | "perl" | "ruby" | "php" | "node" => {
            seen.texts().chain(seen.call.stdin.as_deref()).any(|code| {
                let connects =
                    ["socket", "Socket", "net.connect", "createConnection"].iter().any(|mark| code.contains(mark));
                let connects = connects || code.contains("fsockopen");
                connects && ["/bin/sh", "/bin/bash", "'sh'", "\"sh\"", "sh -i"].iter().any(|mark| code.contains(mark))
            })
        }
        "ssh" => seen.texts().any(|t| t.starts_with("-R") && t.len() > 2) || seen.letter('R'),
        _ => false,
    }
}
