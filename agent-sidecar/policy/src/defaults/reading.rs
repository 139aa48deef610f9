//! Secrets: what would bring them into an agent's context, onto another machine, or into a commit.

use std::cell::LazyCell;
use std::path::{Path, PathBuf};

use rr_shell::Word;

use super::{Builtin, Look, Scene};
use crate::secrets::{is_secret, pattern_means_secret};
use crate::seen::Seen;

/// Programs that take a file's content somewhere; what plain readers read is known from the parse.
const CARRIERS: &[&str] = &[
    "cp",
    "mv",
    "scp",
    "rsync",
    "curl",
    "wget",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "tar",
    "zip",
    "gzip",
    "bzip2",
    "xz",
    "zstd",
    "7z",
    "base64",
    "base32",
    "xxd",
    "od",
    "hexdump",
    "strings",
    "source",
    ".",
    "bat",
    "batcat",
    "less",
    "more",
    "view",
    "vi",
    "vim",
    "nvim",
    "nano",
    "emacs",
    "dd",
    "install",
    "aws",
    "gsutil",
    "gcloud",
    "rclone",
    "gh",
    "sftp",
    "ftp",
    "mail",
    "mutt",
    "split",
    "pbcopy",
    "xclip",
    "wl-copy",
    "jq",
    "yq",
    "awk",
    "gawk",
    "sed",
    "perl",
    "php",
    "sort",
    "uniq",
    "cat",
    "head",
    "tail",
    "tac",
    "nl",
    "rev",
    "cut",
    "paste",
    "fold",
    "diff",
    "cmp",
    "comm",
    "grep",
    "egrep",
    "fgrep",
    "rg",
    "ag",
    "ack",
    "vimdiff",
    "http",
    "https",
    "xh",
    "openssl",
    "python",
    "python3",
    "ruby",
    "node",
    "git",
    "pr",
    "fmt",
    "column",
    "join",
    "expand",
    "uuencode",
    "iconv",
    "ed",
    "ex",
    "tee",
    "dotenv",
    "mapfile",
    "readarray",
    "age",
    "cpio",
    "pax",
    "rsh",
    "lp",
    "ln",
    "code",
    "open",
    "xdg-open",
    "az",
    "s3cmd",
    "mc",
    "magic-wormhole",
    "wormhole",
    "croc",
    "transfer",
    "busybox",
    "eza",
    "glow",
    "pygmentize",
    "highlight",
];
const COMMANDS_AS_READERS: &[&str] = &[
    "ssh-keygen",
    "gpg",
    "gpg2",
    "security",
    "secret-tool",
    "pass",
    "op",
    "vault",
    "aws",
    "gcloud",
    "kubectl",
    "oc",
    "az",
    "gh",
    "heroku",
    "doppler",
    "keyring",
    "git",
    "lpass",
    "bw",
    "sops",
    "age",
    "openssl",
    "npm",
    "docker",
    "chamber",
    "infisical",
    "fly",
    "glab",
    "terraform",
    "ansible-vault",
    "railway",
    "netlify",
];

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/secret-file",
        programs: &[],
        because: "the file holds secrets, and what an agent reads leaves this machine",
        instead: "read the example (`.env.example`), name the variable in the code, or ask the person for what is needed",
        look: Look::Paths(read),
    },
    Builtin {
        name: "default/secret-carried",
        programs: CARRIERS,
        because: "it takes a file with secrets somewhere else",
        instead: "let the program load it itself (`--env-file`, a key agent), or ask the person",
        look: Look::Command(carried),
    },
    Builtin {
        name: "default/secret-printed",
        programs: COMMANDS_AS_READERS,
        because: "it prints a key or password",
        instead: "let the program that needs it fetch it itself, or ask the person",
        look: Look::Command(printed),
    },
    Builtin {
        name: "default/environment-sent",
        programs: SENDERS,
        because: "it sends the environment, with the secrets in it, over the network",
        instead: "send only the values that are meant, by name",
        look: Look::Command(|seen, scene| sends(seen) && scene.feeders(seen).any(prints_environment)),
    },
];

const SENDERS: &[&str] = &[
    "curl",
    "wget",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "telnet",
    "http",
    "https",
    "xh",
    "mail",
    "mutt",
    "sendmail",
    "ssh",
    "gh",
    "aws",
    "ftp",
    "openssl",
    "dig",
    "nslookup",
    "host",
    "ping",
    "python",
    "python3",
    "base64",
    "slack",
    "rclone",
    "gsutil",
    "websocat",
    "mosquitto_pub",
];

fn read(scene: &Scene<'_>) -> Vec<PathBuf> {
    let home = scene.call.home;
    let named = scene.call.analysis.into_iter().flat_map(|analysis| &analysis.reads);
    let mut paths: Vec<PathBuf> =
        scene.call.reads.iter().chain(named).map(|path| crate::seen::straight(path)).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.retain(|path| is_secret(path, home));
    paths
}

fn carried(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    let home = scene.call.home;
    let words: Vec<&Word> = seen.call.args.iter().collect();
    let words = match seen.name {
        // The last one is where it goes.
        "cp" | "install" | "ln" | "scp" | "rsync" | "mv" if words.len() > 1 && !seen.has('t', "target-directory") => {
            &words[..words.len() - 1]
        }
        // The pattern is no file.
        "grep" | "egrep" | "fgrep" | "rg" | "ag" => {
            let pattern = words.iter().position(|word| !word.text().starts_with('-')).map_or(0, |at| at + 1);
            words.get(pattern..).unwrap_or_default()
        }
        "sed" | "awk" | "gawk" | "jq" | "yq" | "perl" | "ruby" | "node" | "python" | "python3" | "php" => {
            words.get(1..).unwrap_or_default()
        }
        _ => &words[..],
    };
    if seen.name == "git" {
        return git_shows(seen, home);
    }
    if matches!(seen.name, "aws" | "gcloud" | "az" | "gh" | "gsutil" | "s3cmd")
        && !seen.any(&["cp", "sync", "mv", "create", "upload", "put", "put-object", "gist", "rsync"])
    {
        return false;
    }
    if seen.name == "tee"
        || seen.name == "openssl" && !seen.any(&["enc", "base64", "rsa", "pkey", "ec", "rsautl", "pkcs12", "s_client"])
    {
        return false;
    }
    let mut options = false;
    words.iter().any(|word| {
        let skip = std::mem::take(&mut options);
        options = takes_key(seen.name, word.text());
        !skip && means_secret(seen, word, home)
    })
}

/// Options by which a program uses a key without telling it.
fn takes_key(program: &str, text: &str) -> bool {
    matches!(
        (program, text),
        ("scp" | "sftp" | "rsync", "-i" | "-F")
            | ("curl", "--key" | "--cert" | "-E" | "--cacert" | "--netrc-file")
            | ("aws", "--exclude" | "--include")
            | ("wget", "--private-key" | "--certificate")
            | ("http" | "https" | "xh", "--cert-key")
            | ("grep" | "rg", "--exclude" | "-g" | "--glob" | "--include" | "-e")
            | ("tar" | "rsync" | "zip", "--exclude" | "-x")
    )
}

fn means_secret(seen: &Seen<'_>, word: &Word, home: Option<&Path>) -> bool {
    let text = word.text();
    if text.starts_with("--exclude")
        || text.starts_with("--key=")
        || text.starts_with("--cert=")
        || text.starts_with("--include")
        || text.starts_with("--glob")
    {
        return false;
    }
    let mut parts = vec![text];
    parts.extend(
        text.rsplit_once('@').map(|(_, rest)| rest).filter(|_| matches!(seen.name, "curl" | "http" | "https" | "xh")),
    );
    parts.extend(text.split_once('=').map(|(_, rest)| rest.trim_start_matches('@')));
    parts.extend(
        text.strip_prefix("file://").or_else(|| text.strip_prefix("fileb://")).or_else(|| text.strip_prefix("if=")),
    );
    parts.iter().any(|part| match word {
        Word::Pattern(_) => pattern_means_secret(part),
        _ => {
            let part = part.trim_end_matches([';', ',']);
            let plain = !part.is_empty() && !part.contains([' ', '\n']) && !part.contains("://");
            let folder =
                matches!(part.trim_end_matches('/').rsplit('/').next(), Some(".ssh" | ".aws" | ".gnupg" | ".kube"));
            plain
                && (seen.path(part).is_some_and(|path| is_secret(&path, home))
                    || !part.contains(':') && is_secret(Path::new(part), home))
                || plain
                    && folder
                    && matches!(
                        seen.name,
                        "cp" | "scp"
                            | "rsync"
                            | "tar"
                            | "zip"
                            | "7z"
                            | "cpio"
                            | "gsutil"
                            | "aws"
                            | "rclone"
                            | "grep"
                            | "rg"
                    )
        }
    })
}

/// `git show HEAD:.env`, `git diff --no-index`, `git add .env`.
fn git_shows(seen: &Seen<'_>, home: Option<&Path>) -> bool {
    let verb = super::git::verb(seen);
    match verb {
        "grep" => seen
            .verbs(&["-C", "-c", "-e", "-f"])
            .iter()
            .skip(1)
            .any(|text| is_secret(Path::new(text.rsplit_once(':').map_or(*text, |(_, file)| file)), home)),
        "show" | "cat-file" | "diff" | "log" | "blame" | "hash-object" | "archive" | "stash" => {
            seen.texts().any(|text| {
                let file = text.rsplit_once(':').map_or(text, |(_, file)| file);
                let shown = verb != "log" || seen.any(&["-p", "--patch"]);
                shown
                    && (text.contains(':')
                        || matches!(verb, "diff" | "blame" | "hash-object" | "log" | "archive" | "stash"))
                    && is_secret(Path::new(file), home)
            })
        }
        "add" | "stage" => seen.texts().any(|text| is_secret(Path::new(text), home)),
        _ => false,
    }
}

fn printed(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    let verbs = LazyCell::new(|| {
        seen.verbs(&[
            "--profile",
            "--region",
            "-n",
            "--namespace",
            "--context",
            "-a",
            "--app",
            "--project",
            "--vault",
            "--account",
        ])
    });
    let two = |a: &str, b: &str| verbs.windows(2).any(|pair| pair == [a, b]);
    match seen.name {
        "gpg" | "gpg2" => seen.texts().any(|t| t.starts_with("--export-secret")) || seen.has('d', "decrypt"),
        "ansible-vault" => matches!(verbs.first(), Some(&"view" | &"decrypt" | &"edit")),
        "railway" => verbs.first() == Some(&"variables"),
        "netlify" => verbs.first().is_some_and(|verb| matches!(*verb, "env:list" | "env:get")),
        "security" => {
            verbs.first().is_some_and(|v| v.starts_with("find-") || *v == "dump-keychain" || *v == "export")
                && (seen.letter('w') || seen.letter('g') || seen.letter('d') || verbs[0] == "export")
        }
        "secret-tool" | "keyring" => matches!(verbs.first(), Some(&"lookup" | &"search" | &"get")),
        "pass" => matches!(verbs.first(), Some(&"show")) || verbs.first().is_some_and(|v| v.contains('/')),
        "op" => verbs.first() == Some(&"read") || two("item", "get"),
        "bw" | "lpass" => matches!(verbs.first(), Some(&"get" | &"show" | &"export")),
        "vault" => two("kv", "get") || verbs.first() == Some(&"read") || two("print", "token"),
        "aws" => {
            two("secretsmanager", "get-secret-value")
                || verbs.first() == Some(&"ssm") && seen.texts().any(|t| t == "--with-decryption")
                || two("configure", "export-credentials")
                || two("sts", "get-session-token")
                || two("iam", "create-access-key")
                || two("configure", "get") && seen.texts().any(|t| t.contains("secret"))
        }
        "gcloud" => {
            verbs.iter().any(|verb| matches!(*verb, "print-access-token" | "print-identity-token"))
                || two("keys", "create")
                || two("versions", "access")
        }
        "kubectl" | "oc" => {
            matches!(verbs.as_slice(), ["get", what, ..] if what.split(['/', ',']).any(|w| matches!(w, "secret" | "secrets")))
                && seen.texts().any(|t| t.starts_with("-o") || t.starts_with("--output") || t == "--template")
                && seen.value(&["-o", "--output"]) != Some("name")
                && seen.value(&["-o", "--output"]) != Some("wide")
                && !seen.value(&["-o", "--output"]).is_some_and(is_metadata)
                || two("config", "view") && seen.exact("--raw")
                || two("create", "token")
                || two("whoami", "-t")
                || seen.name == "oc" && seen.any(&["-t"]) && verbs.first() == Some(&"whoami")
        }
        "az" => {
            two("sp", "create-for-rbac")
                || two("secret", "show")
                || two("account", "get-access-token")
                || two("keys", "list")
        }
        "gh" | "glab" => two("auth", "token") || two("auth", "status") && seen.has('t', "show-token"),
        "heroku" => matches!(verbs.first(), Some(&"config" | &"auth:token" | &"config:get")),
        "doppler" | "infisical" | "chamber" => {
            matches!(verbs.first(), Some(&"secrets" | &"export" | &"read")) && !verbs.contains(&"set")
        }
        "git" => seen.is(&["-C", "-c"], &["credential", "fill"]),
        "sops" => seen.has('d', "decrypt") || verbs.first() == Some(&"decrypt"),
        "age" => seen.has('d', "decrypt"),
        "openssl" => {
            matches!(verbs.first(), Some(&"rsa" | &"pkey" | &"ec" | &"pkcs12"))
                && (seen.exact("-text") || seen.exact("-nodes") || seen.exact("-noenc"))
                && !seen.exact("-pubin")
        }
        "fly" => two("auth", "token"),
        "npm" => {
            let keys = ["_authToken", "_password", "_auth"];
            two("token", "create")
                || two("config", "get") && seen.texts().any(|t| keys.iter().any(|key| t.ends_with(key)))
        }
        _ => false,
    }
}

fn sends(seen: &Seen<'_>) -> bool {
    match seen.name {
        "curl" => seen.texts().any(|t| {
            t.starts_with("-d")
                || t.starts_with("--data")
                || t.starts_with("-F")
                || t.starts_with("--form")
                || t.starts_with("-T")
                || t.starts_with("--upload")
                || t.starts_with("--json")
                || t.starts_with("http")
                || t.contains("$(")
        }),
        "wget" => seen.texts().any(|t| t.starts_with("--post") || t.starts_with("--body") || t.contains("://")),
        "gh" => seen.any(&["gist"]),
        "aws" | "gsutil" | "rclone" => seen.any(&["cp", "rcat"]),
        "openssl" => seen.any(&["s_client"]),
        "python" | "python3" => false,
        "base64" => false,
        _ => true,
    }
}

fn prints_environment(seen: &Seen<'_>) -> bool {
    match seen.name {
        "env" => seen.call.args.is_empty() || seen.texts().all(|t| t.starts_with('-')),
        "printenv" => true,
        "set" | "export" | "declare" | "typeset" => seen.texts().all(|t| matches!(t, "-p" | "-x" | "-px" | "-xp")),
        "ps" => seen.texts().any(|t| t.contains('e') && !t.starts_with('-') && t.len() > 2 && t.ends_with("eww")),
        _ => false,
    }
}

/// `jsonpath={.metadata.name}`: what a secret is called, not what it says.
fn is_metadata(output: &str) -> bool {
    output.strip_prefix("jsonpath=").is_some_and(|path| {
        let paths = path.matches("{.").count();
        paths > 0 && paths == path.matches("{.metadata.").count() && !path.contains("last-applied")
    })
}
