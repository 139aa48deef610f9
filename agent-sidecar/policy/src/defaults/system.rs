//! The machine itself: ending it or everything on it, filling it with processes, publishing in the team's name by key.

use rr_shell::Word;

use super::{Builtin, Look, Scene};
use crate::seen::Seen;

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/shutdown",
        programs: &["shutdown", "reboot", "halt", "poweroff", "init", "telinit", "systemctl", "pm-suspend", "loginctl"],
        because: "it stops the machine and every session on it",
        instead: "ask the person",
        look: Look::Command(|seen, _| match seen.name {
            "init" | "telinit" => seen.any(&["0", "1", "6"]),
            "systemctl" => {
                seen.any(&["poweroff", "reboot", "halt", "kexec", "suspend", "hibernate", "rescue", "emergency"])
                    || seen.any(&["isolate"])
            }
            "loginctl" => {
                seen.texts().any(|t| t.starts_with("terminate-") || t.starts_with("kill-") || t == "poweroff")
            }
            "shutdown" => !seen.any(&["-c", "--help", "--show"]),
            _ => !seen.any(&["--help", "--version"]),
        }),
    },
    Builtin {
        name: "default/kill-everything",
        programs: &["kill", "killall", "pkill", "killall5", "skill", "fuser", "systemctl", "launchctl"],
        because: "it ends processes of other sessions, and the daemon",
        instead: "end what you started, by its process id",
        look: Look::Command(kills),
    },
    Builtin {
        name: "default/fork-bomb",
        programs: &[],
        because: "it starts processes without end",
        instead: "bound the number: `xargs -P 4`, `for i in 1 2 3`",
        look: Look::Call(fork_bomb),
    },
    Builtin {
        name: "default/accounts",
        programs: &[
            "passwd", "chpasswd", "usermod", "userdel", "useradd", "adduser", "deluser", "visudo", "groupdel", "vipw",
            "dscl",
        ],
        because: "it changes who may use this machine",
        instead: "ask the person",
        look: Look::Command(|seen, _| {
            let asks =
                if seen.name == "dscl" { &["-read", "-list"][..] } else { &["--help", "--version", "-S", "--status"] };
            !seen.any(asks)
        }),
    },
    Builtin {
        name: "default/firewall-off",
        programs: &[
            "iptables",
            "ip6tables",
            "nft",
            "ufw",
            "firewall-cmd",
            "setenforce",
            "pfctl",
            "csrutil",
            "spctl",
            "sysctl",
            "apparmor_parser",
            "aa-teardown",
            "swapoff",
            "insmod",
            "rmmod",
            "modprobe",
            "setcap",
        ],
        because: "it takes the machine's own protection away",
        instead: "ask the person",
        look: Look::Command(|seen, _| match seen.name {
            "iptables" | "ip6tables" => seen.letter('F') || seen.long("flush") || seen.letter('P'),
            "nft" => seen.any(&["flush"]),
            "ufw" => seen.any(&["disable", "reset"]),
            "setenforce" => seen.any(&["0", "Permissive"]),
            "insmod" | "rmmod" => true,
            "modprobe" => !seen.has('n', "dry-run") && !seen.any(&["--show-depends", "-D", "-c", "--showconfig"]),
            "setcap" => !seen.any(&["-v", "-r"]),
            "pfctl" | "csrutil" | "spctl" => seen.any(&["-d", "disable", "--master-disable", "-F"]),
            "sysctl" => {
                seen.texts().any(|t| t.starts_with("kernel.") && t.contains('=') || t.starts_with("kernel.randomize"))
            }
            _ => false,
        }),
    },
    Builtin {
        name: "default/scheduled",
        programs: &["crontab", "at", "batch", "launchctl"],
        because: "it runs later, when no gate is before it, or drops the jobs of others",
        instead: "run it now, in this session",
        look: Look::Command(|seen, _| match seen.name {
            "crontab" => !seen.any(&["-l"]),
            "launchctl" => seen.any(&["load", "bootstrap", "submit"]),
            _ => !seen.any(&["-l", "-V"]),
        }),
    },
    Builtin {
        name: "default/history-wipe",
        programs: &["history", "journalctl", "auditctl"],
        because: "it removes the traces of what was done",
        instead: "leave logs alone",
        look: Look::Command(|seen, _| match seen.name {
            "history" => seen.letter('c'),
            "journalctl" => seen.texts().any(|t| t.starts_with("--vacuum")),
            _ => seen.letter('D'),
        }),
    },
    Builtin {
        name: "default/unpublish",
        programs: &["npm", "pnpm", "yarn", "cargo", "gem", "pip", "twine", "dotnet"],
        because: "it takes a release away from everybody who uses it, or gives its keys away",
        instead: "publish a fixed version, or ask the person",
        look: Look::Command(unpublishes),
    },
];

/// A command that pipes into itself: a function that calls itself twice.
fn fork_bomb(scene: &Scene<'_>) -> Option<usize> {
    let alone = |seen: &Seen<'_>| seen.call.args.is_empty() && seen.call.program.text().len() < 64;
    let bomb = |seen: &&Seen<'_>| {
        let itself = scene.feeders(seen).filter(|from| from.call.program == seen.call.program && alone(from)).count();
        alone(seen) && itself >= SELF_CALLS
    };
    scene.seen.iter().find(bomb).map(|seen| seen.at)
}

/// A pipe of two of the same is odd; what is followed through itself again and again is a bomb.
const SELF_CALLS: usize = 3;

fn kills(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    if ends_what_was_found(seen, scene) {
        return true;
    }
    let operands: Vec<&str> = seen.texts().collect();
    match seen.name {
        "kill" => {
            let mut words =
                operands.iter().skip(usize::from(operands.first().is_some_and(|w| {
                    w.starts_with('-') && *w != "-1" && *w != "--" || *w == "-1" && operands.len() > 1
                })));
            if operands.iter().any(|w| *w == "-l" || *w == "-L") {
                return false;
            }
            words.any(|word| matches!(*word, "-1" | "1" | "0"))
                && !(operands.first() == Some(&"-0") && !operands.contains(&"-1") && !operands.contains(&"1"))
        }
        "killall5" => true,
        "fuser" => {
            seen.has('k', "kill") && seen.operands().iter().any(|word| super::files::is_everything(seen, word, scene))
        }
        "systemctl" | "launchctl" => {
            let ends = &["stop", "disable", "mask", "kill", "restart", "unload", "bootout", "remove"];
            seen.any(ends) && seen.texts().any(is_ours)
        }
        "killall" | "skill" => {
            seen.has('u', "user")
                || seen.any(&[
                    "claude", "codex", "node", "python", "python3", "bash", "sh", "zsh", "systemd", "dockerd", "sshd",
                ]) && !seen.letter('0')
                || seen.texts().any(|t| is_ours(t) || matches!(t, ".*" | "."))
        }
        _ => {
            let pattern = seen.operands().last().map(|word| word.text()).unwrap_or_default();
            seen.has('u', "euid")
                || seen.letter('U')
                || seen.has('v', "inverse")
                || matches!(
                    pattern,
                    "." | ".*"
                        | "claude"
                        | "codex"
                        | "bash"
                        | "sh"
                        | "zsh"
                        | "sshd"
                        | "systemd"
                        | "rrctl"
                        | "node"
                        | "python"
                        | "python3"
                )
                || pattern.is_empty() && !seen.operands().is_empty()
                || is_ours(pattern)
        }
    }
}

/// Railroad's own programs, by any name they run under.
fn is_ours(text: &str) -> bool {
    text.contains("railroad")
        || text.contains("rrctl")
        || text.rsplit('/').next().is_some_and(|name| name.starts_with("rr-"))
}

/// `kill $(pgrep ..)` and `ps | xargs kill`: by whom the numbers were found.
fn ends_what_was_found(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    if !matches!(seen.name, "kill" | "skill") || !seen.call.args.iter().any(|word| matches!(word, Word::Dynamic(_))) {
        return false;
    }
    let chooses = |from: &Seen<'_>| match from.name {
        "grep" | "egrep" | "rg" | "head" | "tail" | "sed" | "fzf" => true,
        "awk" | "gawk" => from.texts().any(|text| text.contains('/') || text.contains("==")),
        _ => false,
    };
    let finds = |from: &Seen<'_>| match from.name {
        "pgrep" | "pidof" => from.texts().any(|text| is_ours(text) || matches!(text, "." | ".*")),
        _ => false,
    };
    let all = |from: &Seen<'_>| {
        from.name == "ps" && !from.texts().any(|text| text.starts_with("-p") || text.starts_with("-C"))
    };
    let mut feeders = scene.feeders(seen);
    feeders.any(finds) || scene.feeders(seen).any(all) && !scene.feeders(seen).any(chooses)
}

fn unpublishes(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    let verbs = seen.verbs(&["--registry", "--prefix", "-w", "--workspace", "--manifest-path", "--tag"]);
    let two = |a: &str, b: &str| verbs.starts_with(&[a, b]);
    match seen.name {
        "npm" | "pnpm" => {
            matches!(verbs.first(), Some(&"unpublish"))
                || two("owner", "rm")
                || two("owner", "add")
                || two("token", "revoke")
                || two("access", "revoke")
        }
        "yarn" => verbs.starts_with(&["npm", "unpublish"]) || two("owner", "remove"),
        "cargo" => {
            verbs.first() == Some(&"yank") && !seen.exact("--undo")
                || verbs.first() == Some(&"owner")
                    && seen.texts().any(|t| matches!(t, "--add" | "-a" | "--remove" | "-r"))
        }
        "gem" => matches!(verbs.first(), Some(&"yank" | &"owner")),
        "dotnet" => two("nuget", "delete"),
        _ => false,
    }
}
