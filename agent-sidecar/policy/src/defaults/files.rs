//! Removing, overwriting and opening up more than anybody can put back: home folders, the repository, the machine.

use std::path::{Path, PathBuf};

use rr_shell::{How, Target, Word};

use super::{Builtin, Look, Scene};
use crate::paths::{is_precious, is_temporary};
use crate::seen::{Seen, absolute, straight};

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/remove-everything",
        programs: &[
            "rm",
            "rmdir",
            "shred",
            "srm",
            "unlink",
            "trash",
            "trash-put",
            "gio",
            "rd",
            "del",
            "rimraf",
            "remove-item",
            "truncate",
            "tar",
            "zip",
        ],
        because: "it removes a home folder, the repository or the machine, with work that is in no commit",
        instead: "name the files or the build folder to remove (`rm -rf ./target`), or `git clean -n` to see what is left over",
        look: Look::Command(removes_everything),
    },
    Builtin {
        name: "default/delete-below-root",
        programs: &[],
        because: "it deletes or moves a whole home folder, the repository or the machine",
        instead: "begin at the folder that is meant, and look at the list first (`find ./build -name '*.o'`)",
        look: Look::Paths(deleted),
    },
    Builtin {
        name: "default/find-delete",
        programs: &["find", "fd"],
        because: "it deletes everything below a home folder, the repository or the machine",
        instead: "give it a folder and a name: `find ./build -name '*.o' -delete`",
        look: Look::Command(find_deletes),
    },
    Builtin {
        name: "default/empty-repository",
        programs: &["rsync", "robocopy"],
        because: "`--delete` into such a place removes all that the source does not have",
        instead: "try it with `--dry-run`, into a folder made for it",
        look: Look::Command(|seen, scene| {
            seen.texts().any(|t| t.starts_with("--del")) && !seen.has('n', "dry-run") && last_is_precious(seen, scene)
        }),
    },
    Builtin {
        name: "default/disk",
        programs: &[
            "dd",
            "mkfs",
            "mke2fs",
            "mkswap",
            "fdisk",
            "sfdisk",
            "cfdisk",
            "parted",
            "gdisk",
            "sgdisk",
            "wipefs",
            "blkdiscard",
            "badblocks",
            "hdparm",
            "diskutil",
            "lvremove",
            "vgremove",
            "pvremove",
            "zpool",
            "zfs",
            "mdadm",
            "cryptsetup",
            "format",
            "newfs",
            "nvme",
            "shred",
            "cp",
            "cat",
            "tee",
            "umount",
            "swapoff",
            "fsck",
            "losetup",
            "btrfs",
            "truncate",
        ],
        because: "it writes to a disk below its file system, and nothing brings that back",
        instead: "use an image file in the temporary folder (`dd of=/tmp/disk.img`), or ask the person",
        look: Look::Command(disk),
    },
    Builtin {
        name: "default/disk-write",
        programs: &[],
        because: "it writes to a disk below its file system, and nothing brings that back",
        instead: "use an image file in the temporary folder",
        look: Look::Paths(|scene| {
            scene
                .call
                .analysis
                .into_iter()
                .flat_map(|a| &a.writes)
                .filter_map(|w| match &w.target {
                    Target::File(path) if is_device(&path.to_string_lossy()) => Some(path.clone()),
                    _ => None,
                })
                .collect()
        }),
    },
    Builtin {
        name: "default/open-permissions",
        programs: &["chmod", "chown", "chgrp", "setfacl", "chattr", "chflags", "icacls"],
        because: "it changes who may use the whole machine, a home folder or the repository",
        instead: "name the file and the least it needs: `chmod u+x scripts/run.sh`",
        look: Look::Command(opens_up),
    },
];

/// `rm` with `-r` of a precious place, or of everything in one.
fn removes_everything(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    if seen.name == "rm" && seen.any(&["--no-preserve-root"]) {
        return true;
    }
    let recursive = match seen.name {
        "rimraf" | "trash" | "trash-put" | "rd" | "remove-item" => true,
        "gio" => seen.any(&["trash", "remove"]),
        "tar" => seen.exact("--remove-files"),
        "zip" => seen.letter('m') || seen.long("move"),
        _ => seen.has('r', "recursive") || seen.letter('R'),
    };
    if matches!(seen.name, "gio" | "tar" | "zip") && !recursive {
        return false;
    }
    seen.operands().into_iter().any(|word| {
        let all = word.text().ends_with(['*', '?']) || word.text().ends_with("/.");
        (recursive || all) && is_everything(seen, word, scene) || seen.name == "rm" && is_listing(seen, word, scene)
    })
}

/// All that a bare `ls`, `git ls-files` or `git status` prints, with nothing between that would choose.
fn is_listing(seen: &Seen<'_>, word: &Word, scene: &Scene<'_>) -> bool {
    let Word::Dynamic(source) = word else { return false };
    let lists = |from: &Seen<'_>| match from.name {
        "ls" => {
            let named = from.operands();
            named.is_empty() || named.into_iter().any(|word| is_everything(from, word, scene))
        }
        "git" => super::git::lists_all(from),
        "echo" | "printf" => {
            from.call.args.iter().any(|word| matches!(word, Word::Pattern(_)) && is_everything(from, word, scene))
        }
        _ => false,
    };
    let passes_on =
        |from: &Seen<'_>| lists(from) || matches!(from.name, "cat" | "tee" | "sort" | "tr" | "xargs" | "read");
    let mut feeders = scene.feeders(seen).peekable();
    let fed = feeders.peek().is_some() && scene.feeders(seen).any(lists) && scene.feeders(seen).all(passes_on);
    let written = source.trim_matches(['"', '`', '$', '(', ')', ' ']);
    fed || matches!(written, "ls" | "ls -a" | "ls -A" | "ls -1")
}

/// Whether a word names a precious place, all in one, or may turn out to when a variable is empty.
pub(super) fn is_everything(seen: &Seen<'_>, word: &Word, scene: &Scene<'_>) -> bool {
    let text = word.text();
    if let Word::Dynamic(source) = word {
        return may_be_root(source) || default_of(source).is_some_and(|text| is_everything(seen, &text, scene));
    }
    let parent = match text {
        "*" | ".*" | ".??*" | "{*,.*}" | "./*" | "./.*" | "**" | "?*" | ".[!.]*" | "./**" => ".".to_owned(),
        _ => match text.rsplit_once('/') {
            Some((folder, "*" | ".*" | "**" | "?*" | ".[!.]*" | ".??*")) => format!("{folder}/"),
            _ => text.to_owned(),
        },
    };
    let Some(path) = seen.path(&parent) else {
        return matches!(parent.as_str(), "." | ".." | "./" | "../" | ".git") && seen.call.cwd.is_none();
    };
    is_precious(&path, scene.call)
        || scene.call.root.is_none() && matches!(text, "." | ".." | "*" | "./*" | "./" | "../")
}

/// What `${X:-here}` is, should the variable be empty.
fn default_of(source: &str) -> Option<Word> {
    let inner = source.strip_prefix("${")?.strip_suffix('}')?;
    let (_, default) = inner.split_once(":-")?;
    (!default.is_empty() && !default.contains(['$', '`'])).then(|| Word::Literal(default.to_owned()))
}

/// `/$X`, `$X/`, `$X/*`: the root, should the variable be empty. `${X:?}` is the safe way to write it.
fn may_be_root(source: &str) -> bool {
    if source.contains(":?")
        || source.contains("$(pwd)")
        || source.contains("mktemp")
        || source.contains("<standard input>")
    {
        return false;
    }
    let top = source.trim_end_matches(['/', '*', '"']);
    let of_repository = top.contains("rev-parse --show-toplevel") && top.ends_with([')', '`']);
    // `~name`: somebody's home folder.
    let of_somebody = source.starts_with('~') && !top.contains('/');
    if of_repository || of_somebody {
        return true;
    }
    let name_end = |text: &str| match text.strip_prefix("${") {
        Some(rest) => rest.find('}').map(|at| at + 3),
        None => text
            .strip_prefix('$')
            .map(|rest| 1 + rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())),
    };
    if let Some(rest) = source.strip_prefix('/') {
        return rest.starts_with('$') && name_end(rest).is_some_and(|end| end == rest.len() || &rest[end..] == "/*");
    }
    name_end(source)
        .is_some_and(|end| source.get(end..).is_some_and(|rest| matches!(rest, "/" | "/*" | "/.*" | "/**" | "/.")))
}

fn deleted(scene: &Scene<'_>) -> Vec<PathBuf> {
    let writes = scene.call.analysis.into_iter().flat_map(|analysis| &analysis.writes);
    // What `find` deletes is narrowed by tests that only its own rule knows.
    let gone = writes.filter(|write| matches!(write.how, How::Delete | How::Rename) && write.by != "find");
    gone.filter_map(|write| match &write.target {
        Target::Tree(path) | Target::File(path) => Some(straight(path)),
        Target::Glob { dir, pattern } if matches!(pattern.as_str(), "*" | "**" | ".*" | "**/*") => Some(straight(dir)),
        _ => None,
    })
    .filter(|path| is_precious(path, scene.call) && !is_file_of_root(path))
    .collect()
}

/// `/dev/shm/x` and what tools keep in such places are files, not places.
fn is_file_of_root(path: &Path) -> bool {
    path.starts_with("/dev/shm/") || path.starts_with("/proc/self")
}

fn find_deletes(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    let tests = [
        "-name",
        "-iname",
        "-path",
        "-regex",
        "-mtime",
        "-mmin",
        "-newer",
        "-size",
        "-empty",
        "-wholename",
        "-ipath",
        "-perm",
        "-user",
        "-inum",
    ];
    let removes = seen.any(&["-delete"])
        || seen
            .texts()
            .skip_while(|t| !t.starts_with("-exec") && !matches!(*t, "-ok" | "-x" | "-X" | "--exec"))
            .any(|t| matches!(t, "rm" | "/bin/rm" | "shred" | "unlink" | "truncate" | "/dev/null"));
    // `-not -name x` is everything else.
    let words: Vec<&str> = std::iter::once("").chain(seen.texts()).collect();
    let limited = words.windows(2).any(|two| tests.contains(&two[1]) && !matches!(two[0], "-not" | "!"));
    let starts: Vec<&str> = match seen.name {
        "fd" => looked_for(seen),
        _ => seen.texts().take_while(|t| !t.starts_with('-')).collect(),
    };
    // The first word of `fd` is what it looks for.
    let (limited, starts) = match seen.name {
        "fd" => {
            let narrows =
                seen.has('e', "extension") || starts.first().is_some_and(|pattern| !matches!(*pattern, "." | ""));
            (limited || narrows, starts.into_iter().skip(1).collect())
        }
        _ => (limited, starts),
    };
    let starts = if starts.is_empty() { vec!["."] } else { starts };
    removes
        && starts.iter().any(|start| {
            let Some(path) = absolute(seen.call.cwd.as_deref(), start) else { return !limited };
            let chosen = limited && (scene.call.root == Some(&*path) || is_temporary(&path, scene.call));
            is_precious(&path, scene.call) && !chosen
        })
}

/// What `fd` looks for, and where: its words before the command, without options and their values.
fn looked_for<'a>(seen: &Seen<'a>) -> Vec<&'a str> {
    const VALUED: &[&str] =
        &["-t", "--type", "-e", "--extension", "-E", "--exclude", "-d", "--max-depth", "-S", "--size", "-c", "-j"];
    let runs = |word: &&str| matches!(*word, "-x" | "-X" | "--exec" | "--exec-batch");
    let mut words = seen.texts().take_while(|word| !runs(word));
    let mut out = Vec::new();
    while let Some(word) = words.next() {
        if VALUED.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            out.push(word);
        }
    }
    out
}

fn last_is_precious(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    seen.operands().last().is_some_and(|word| is_everything(seen, word, scene))
}

/// A disk or a part of one, by its name.
pub(super) fn is_device(text: &str) -> bool {
    const DISKS: &[&str] =
        &["sd", "hd", "nvme", "vd", "xvd", "disk", "rdisk", "mmcblk", "md", "dm-", "mapper/", "mem", "kmem", "port"];
    text.strip_prefix("/dev/").is_some_and(|name| DISKS.iter().any(|disk| name.starts_with(disk)))
}

fn disk(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    let on_device = || seen.operands().iter().any(|word| is_device(word.text()));
    match seen.name {
        "dd" => seen.texts().any(|text| text.strip_prefix("of=").is_some_and(is_device)),
        "cp" => seen.operands().last().is_some_and(|word| is_device(word.text())),
        "cat" => false,
        "tee" | "shred" | "badblocks" | "truncate" | "losetup" | "fsck" | "swapoff" | "umount" => {
            on_device() && !seen.has('n', "")
        }
        "diskutil" => seen.texts().any(|t| {
            matches!(
                t.to_lowercase().as_str(),
                "erasedisk" | "erasevolume" | "partitiondisk" | "zerodisk" | "secureerase" | "reformat"
            )
        }),
        "zpool" | "zfs" => seen.any(&["destroy", "labelclear"]),
        "btrfs" => seen.is(&[], &["subvolume", "delete"]),
        "mdadm" => seen.any(&["--zero-superblock", "--create", "--stop"]),
        "cryptsetup" => seen.any(&["luksFormat", "erase", "luksErase", "reencrypt"]),
        "hdparm" | "nvme" => {
            seen.texts().any(|t| t.contains("security-erase") || t.contains("trim") || t == "format" || t == "sanitize")
        }
        "fdisk" | "sfdisk" | "parted" | "gdisk" | "cfdisk" => {
            on_device() && !seen.has('l', "list") && !seen.any(&["print"])
        }
        // An image file is no disk.
        "mkfs" | "mke2fs" | "mkswap" => on_device(),
        "format" => seen.texts().any(|text| text.len() == 2 && text.ends_with(':')),
        _ => on_device() || matches!(seen.name, "lvremove" | "vgremove" | "pvremove"),
    }
}

fn opens_up(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    let everybody = seen.texts().any(|text| {
        matches!(
            text,
            "777"
                | "0777"
                | "a+rwx"
                | "ugo+rwx"
                | "o+rwx"
                | "a=rwx"
                | "666"
                | "0666"
                | "a+w"
                | "o+w"
                | "000"
                | "0000"
                | "a-rwx"
                | "1777"
                | "u+s"
                | "4777"
                | "6777"
        )
    });
    let recursive = seen.has('R', "recursive");
    let owners = seen.name != "chmod";
    seen.operands().iter().skip(1).any(|word| {
        let inside =
            seen.path(word.text()).is_some_and(|path| scene.call.root.is_some_and(|root| path.starts_with(root)));
        (recursive && (everybody || !inside) || everybody && !inside) && is_everything(seen, word, scene)
            || (everybody || owners && recursive)
                && !inside
                && seen.path(word.text()).is_some_and(|path| {
                    ["/etc", "/usr", "/bin", "/var", "/boot"].iter().any(|folder| path.starts_with(folder))
                })
    })
}
