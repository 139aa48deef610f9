//! Programs that run the command named in their own words: `sudo`, `env`, `timeout`, `nice`, ... Takes one layer off.
//! It knows their options and nothing of what is inside. Used by `walk` before anything else is decided.

use std::path::PathBuf;

use crate::field::{Field, resolve};
use crate::findings::Findings;
use crate::model::{How, Target};
use crate::options::{Parsed, Spec};
use crate::shell::{Flow, Shell};

/// What is left after one layer.
pub(crate) enum Layer {
    /// Not a wrapper.
    None,
    /// The words inside.
    Command(Vec<Field>),
    /// A text that a shell runs.
    Text(Field),
    /// Nothing is run.
    Nothing,
}

/// What the layer changes for the command inside.
#[derive(Default)]
pub(crate) struct Setting {
    pub(crate) assignments: Vec<(String, Field)>,
    /// It runs in another folder: this one, or one that is not known.
    pub(crate) folder: Option<Option<PathBuf>>,
    /// It takes the place of the shell: nothing runs after it.
    pub(crate) replaces: bool,
    /// What the layer is called where its name alone does not say enough.
    pub(crate) shown: Option<String>,
}

pub(crate) fn unwrap(name: &str, args: &[Field], shell: &Shell, setting: &mut Setting, out: &mut Findings) -> Layer {
    let in_order = |short, long| Parsed::new(args, Spec::in_order(short, long));
    match name {
        "sudo" | "doas" => sudo(name, args, shell, setting, out),
        "env" => env(args, shell, setting, out),
        "su" | "runuser" => su(name, args, shell, setting, out),
        "taskset" | "chrt" => inner(in_order("p:", &[]).operands.into_iter().skip(1).collect()),
        "caffeinate" => inner(in_order("t:w:", &[]).operands),
        "strace" | "ltrace" => {
            let parsed = in_order("o:e:p:s:u:P:E:I:a:b:O:S:X:", &["--output", "--trace"]);
            time(&parsed, shell, out)
        }
        "command" => {
            let parsed = in_order("", &[]);
            if parsed.has(&["-v", "-V"]) {
                return Layer::Nothing;
            }
            inner(parsed.operands)
        }
        "builtin" | "nohup" | "noglob" | "nocorrect" | "chronic" | "unbuffer" | "busybox" | "toybox" => {
            inner(in_order("", &[]).operands)
        }
        "exec" => {
            let parsed = in_order("a:", &[]);
            setting.replaces = !parsed.operands.is_empty();
            inner(parsed.operands)
        }
        "pkexec" | "fakeroot" | "torsocks" | "dbus-run-session" | "winpty" | "setarch" | "linux64" | "aoss" => {
            inner(in_order("u:", &["--user"]).operands)
        }
        "gosu" | "su-exec" | "faketime" | "chroot" | "chpst" | "setuidgid" => {
            let parsed = in_order("u:g:", &["--userspec", "--groups"]);
            if name == "chroot" {
                setting.folder = Some(None);
            }
            inner(parsed.operands.into_iter().skip(1).collect())
        }
        "unshare" | "nsenter" => inner(in_order("t:S:G:", &["--target", "--setuid", "--setgid"]).operands),
        "systemd-run" | "systemd-inhibit" | "cpulimit" | "prlimit" | "numactl" | "firejail" | "bwrap"
        | "proxychains" | "proxychains4" | "xvfb-run" | "valgrind" | "catchsegv" => {
            let parsed = in_order("p:u:t:S:l:f:n:s:C:m:", &["--target", "--unit", "--property", "--uid", "--gid"]);
            inner(parsed.operands)
        }
        "script" => {
            let parsed = Parsed::new(args, Spec::new("c:", &["--command"]));
            match parsed.value(&["-c", "--command"]) {
                Some(command) => Layer::Text(command.clone()),
                None if parsed.operands.len() > 1 => inner(in_order("c:", &[]).operands.into_iter().skip(1).collect()),
                None => Layer::None,
            }
        }
        "perf" => {
            let words = in_order("", &[]).operands;
            let options =
                Spec::in_order("e:o:p:r:C:F:c:t:I:D:", &["--event", "--output", "--pid", "--repeat", "--delay"]);
            out.unforeseen("`perf` keeps what it measures");
            match words.first().and_then(Field::known) {
                Some("stat" | "record" | "trace" | "mem" | "c2c") => inner(Parsed::new(&words[1..], options).operands),
                _ => Layer::None,
            }
        }
        "flatpak-spawn" | "toolbox" | "wsl" => {
            out.unforeseen(format!("`{name}` runs it in another system"));
            let mut words = in_order("", &["--directory", "--env"]).operands;
            if words.first().and_then(Field::known) == Some("run") {
                words = Parsed::new(&words[1..], Spec::in_order("c:", &["--container"])).operands;
            }
            inner(words)
        }
        "microk8s" | "minikube" if args.first().and_then(Field::known) == Some("kubectl") => {
            out.unforeseen(format!("`{name}` runs it in another system"));
            let words = args.iter().filter(|arg| arg.known() != Some("--")).cloned().collect();
            inner(words)
        }
        "nice" => inner(in_order("n:", &["--adjustment"]).operands),
        "ionice" => inner(in_order("c:n:p:P:u:", &["--class", "--classdata"]).operands),
        "stdbuf" => inner(in_order("i:o:e:", &["--input", "--output", "--error"]).operands),
        "setsid" => inner(in_order("", &[]).operands),
        "time" => time(&in_order("o:f:", &["--output", "--format"]), shell, out),
        "timeout" | "gtimeout" => {
            let parsed = in_order("s:k:", &["--signal", "--kill-after"]);
            inner(parsed.operands.into_iter().skip(1).collect())
        }
        "flock" => flock(args, shell, out),
        "rrctl" => slot(args, setting),
        "watch" => {
            let parsed = in_order("n:q:s:", &["--interval"]);
            text(&parsed.operands)
        }
        _ => Layer::None,
    }
}

fn inner(words: Vec<Field>) -> Layer {
    if words.is_empty() { Layer::Nothing } else { Layer::Command(words) }
}

/// The words as one text, as `eval` and `watch` put them together.
pub(crate) fn text(words: &[Field]) -> Layer {
    if words.is_empty() {
        return Layer::Nothing;
    }
    Layer::Text(join(words))
}

/// Words with a blank between.
pub(crate) fn join(words: &[Field]) -> Field {
    let mut out = Field::default();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            out.push_text(" ");
        }
        for bit in &word.0 {
            out.push(bit.clone());
        }
    }
    out
}

/// Takes `NAME=value` words off the front.
fn assignments(words: &mut Vec<Field>, setting: &mut Setting) {
    while let Some(first) = words.first() {
        let Some((name, _)) = first.prefix().split_once('=') else {
            return;
        };
        let name = name.to_owned();
        let value = first.strip_prefix(&format!("{name}=")).unwrap_or_default();
        setting.assignments.push((name, value));
        words.remove(0);
    }
}

fn sudo(name: &str, args: &[Field], shell: &Shell, setting: &mut Setting, out: &mut Findings) -> Layer {
    const LONG: &[&str] = &[
        "--user",
        "--group",
        "--host",
        "--prompt",
        "--chdir",
        "--chroot",
        "--role",
        "--type",
        "--other-user",
        "--close-from",
        "--command-timeout",
    ];
    let parsed = Parsed::new(args, Spec::in_order("u:g:h:p:C:D:R:T:U:r:t:", LONG));
    if name == "sudo" && parsed.has(&["-e", "--edit"]) {
        for file in &parsed.operands {
            out.write(file.target(shell.cwd.as_deref()), How::Write, name);
        }
        return Layer::Nothing;
    }
    if let Some(folder) = parsed.value(&["-D", "--chdir"]) {
        setting.folder = Some(entered(folder, shell));
    }
    if parsed.has(&["-i", "--login", "-R", "--chroot"]) {
        setting.folder = Some(None);
    }
    let mut words = parsed.operands;
    assignments(&mut words, setting);
    if words.is_empty() && parsed.options.iter().any(|(o, _)| o == "-s" || o == "-i") {
        out.unforeseen(format!("`{name}` starts a shell"));
    }
    inner(words)
}

fn su(name: &str, args: &[Field], shell: &Shell, setting: &mut Setting, out: &mut Findings) -> Layer {
    let long = &["--command", "--shell", "--group", "--session-command", "--user"];
    let parsed = Parsed::new(args, Spec::new("c:s:g:G:u:w:T:", long));
    let login = parsed.has(&["-l", "--login"]) || parsed.operands.iter().any(|word| word.known() == Some("-"));
    if login {
        setting.folder = Some(None);
    }
    match parsed.value(&["-c", "--command", "--session-command"]) {
        Some(text) => Layer::Text(text.clone()),
        None if name == "runuser" && parsed.has(&["-u"]) => inner(parsed.operands.clone()),
        None => {
            out.unforeseen(format!("`{name}` starts a shell"));
            match &shell.stdin {
                Flow::Text(text) => Layer::Text(Field::literal(text)),
                _ => Layer::Nothing,
            }
        }
    }
}

fn env(args: &[Field], shell: &Shell, setting: &mut Setting, out: &mut Findings) -> Layer {
    let spec = Spec::in_order("u:C:S:", &["--unset", "--chdir", "--split-string"]);
    let parsed = Parsed::new(args, spec);
    if let Some(folder) = parsed.value(&["-C", "--chdir"]) {
        setting.folder = Some(entered(folder, shell));
    }
    if let Some(split) = parsed.value(&["-S", "--split-string"]) {
        if split.prefix().contains('\\') {
            out.unforeseen("`env -S` with escapes");
        }
        // The words after the text are words already, also what looks like an option.
        let is_split =
            |arg: &Field| arg.prefix().trim_start_matches('-').contains(['S', 's']) && arg.prefix().starts_with('-');
        let at = args.iter().position(is_split).unwrap_or(args.len());
        let in_next_word = args
            .get(at)
            .is_some_and(|arg| arg.known().is_some_and(|text| text.ends_with('S') || text == "--split-string"));
        let rest = args.get(at + 1 + usize::from(in_next_word)..).unwrap_or_default();
        return match split.known() {
            Some(known) if !rest.is_empty() && !known.contains(['\'', '"', '$', '\\']) => {
                inner(known.split_whitespace().map(Field::literal).chain(rest.iter().cloned()).collect())
            }
            _ => text(&[std::slice::from_ref(split), rest].concat()),
        };
    }
    let mut words = parsed.operands;
    if words.first().and_then(Field::known) == Some("-") {
        words.remove(0);
    }
    assignments(&mut words, setting);
    inner(words)
}

/// `rrctl run --slot NAME -- command`: what it runs has that slot.
fn slot(args: &[Field], setting: &mut Setting) -> Layer {
    let words = Parsed::new(args, Spec::in_order("", &[])).operands;
    if words.first().and_then(Field::known) != Some("run") {
        return Layer::None;
    }
    let parsed = Parsed::new(&words[1..], Spec::in_order("", &["--slot", "--wait"]));
    let slot = parsed.value(&["--slot"]).and_then(Field::known);
    setting.shown = slot.map(|slot| format!("{}{slot}", crate::SLOT_WRAPPER));
    inner(parsed.operands)
}

fn entered(folder: &Field, shell: &Shell) -> Option<PathBuf> {
    folder.known().and_then(|text| resolve(shell.cwd.as_deref(), text))
}

fn time(parsed: &Parsed, shell: &Shell, out: &mut Findings) -> Layer {
    if let Some(file) = parsed.value(&["-o", "--output"]) {
        out.write(file.target(shell.cwd.as_deref()), How::Write, "time");
    }
    inner(parsed.operands.clone())
}

fn flock(args: &[Field], shell: &Shell, out: &mut Findings) -> Layer {
    let spec = Spec::in_order("w:E:c:", &["--timeout", "--wait", "--conflict-exit-code", "--command"]);
    let parsed = Parsed::new(args, spec);
    let mut words = parsed.operands.clone();
    if words.is_empty() {
        return Layer::Nothing;
    }
    let file = words.remove(0);
    let target = file.target(shell.cwd.as_deref());
    let descriptor = file.known().is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit()));
    if !descriptor || matches!(target, Target::Unknown) {
        out.write(target, How::Create, "flock");
    }
    if let Some(command) = parsed.value(&["-c", "--command"]) {
        return Layer::Text(command.clone());
    }
    match words.first().and_then(Field::known) {
        Some("-c" | "--command") => Layer::Text(words.get(1).cloned().unwrap_or_default()),
        _ => inner(words),
    }
}
