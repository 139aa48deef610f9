//! Files that editors put beside the one that is edited: swap files, locks, backups, the new version before it is renamed. None of
//! them is a save. And files that agents and the product keep in a work tree for themselves.

use std::path::Path;

/// How names of an editor's own files begin: emacs' locks, GNOME's and KDE's new versions.
const BEGINNINGS: [&str; 3] = [".#", ".goutputstream-", ".kate-"];
/// And end: vim's and nano's swap files, backups, new versions of VS Code and of JetBrains' editors.
const ENDS: [&str; 11] =
    ["~", ".swp", ".swo", ".swx", ".swpx", ".kate-swp", ".vsctmp", "___jb_tmp___", "___jb_old___", ".sb-tmp", ".bck"];
/// Vim tries with this name whether it may write in a folder.
const PROBE: &str = "4913";
/// At the root of a work tree: agents' own settings, and ours.
const NOT_PEOPLES: [&str; 3] = [".claude", ".railroad", ".railroad-landing"];

/// Whether a change at this path, relative to its work tree, may be somebody's save.
pub(super) fn may_be_a_save(path: &Path) -> bool {
    let first = path.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    if first.is_some_and(|first| NOT_PEOPLES.contains(&first.as_str())) {
        return false;
    }
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return false };
    let autosave = name.len() > 2 && name.starts_with('#') && name.ends_with('#');
    let own = BEGINNINGS.iter().any(|begin| name.starts_with(begin)) || ENDS.iter().any(|end| name.ends_with(end));
    !(autosave || own || name == PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_put_beside_a_file_is_no_save_and_the_file_is() {
        for beside in [
            "src/.a.rs.swp",
            "src/a.rs~",
            "src/4913",
            "src/.#a.rs",
            "#a.rs#",
            ".goutputstream-XY12",
            "a.rs___jb_tmp___",
            ".claude/settings.local.json",
            ".railroad/STOP",
        ] {
            assert!(!may_be_a_save(Path::new(beside)), "{beside}");
        }
        for file in ["src/a.rs", "#", "##", "a~b", ".gitignore", "notes 4913", "src/.claude/x"] {
            assert!(may_be_a_save(Path::new(file)), "{file}");
        }
    }
}
