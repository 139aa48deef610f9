//! The check that every Rust file opens with what it is (`//!`). It reads first lines only and knows no other rule.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::step::{Failed, Outcome, root};

/// Every file of the checkout has one.
pub(crate) fn check() -> Outcome {
    let root = root();
    let silent = silent_files(&root).map_err(|e| Failed(format!("look for Rust files: {e}")))?;
    if silent.is_empty() {
        return Ok(());
    }
    let names = silent.iter().map(|f| f.strip_prefix(&root).unwrap_or(f).display().to_string());
    let list = names.collect::<Vec<_>>().join(", ");
    Err(Failed(format!("these do not open with `//!` and what they are for: {list}")))
}

fn silent_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut silent = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && is_ours(&path) {
                open.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|e| e == "rs") && !opens(&path)? {
                silent.push(path);
            }
        }
    }
    silent.sort();
    Ok(silent)
}

/// Not hidden, and no folder that cargo builds into (it marks each).
fn is_ours(folder: &Path) -> bool {
    let hidden = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && !folder.join("CACHEDIR.TAG").exists() && !folder.ends_with("node_modules")
}

fn opens(file: &Path) -> io::Result<bool> {
    let mut first = String::new();
    BufReader::new(File::open(file)?).read_line(&mut first)?;
    Ok(first.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_opening_is_found_and_built_files_are_not_looked_at() {
        let temp = std::env::temp_dir().join(format!("xtask-openings-{}", std::process::id()));
        for folder in ["src", "target", ".git"] {
            fs::create_dir_all(temp.join(folder)).unwrap();
            fs::write(temp.join(folder).join("silent.rs"), "fn main() {}\n").unwrap();
        }
        fs::write(temp.join("target/CACHEDIR.TAG"), "").unwrap();
        fs::write(temp.join("src/empty.rs"), "//!\n").unwrap();
        fs::write(temp.join("src/good.rs"), "//! What it is.\n").unwrap();
        let found = silent_files(&temp).unwrap();
        fs::remove_dir_all(&temp).unwrap();
        assert_eq!(found, [temp.join("src/empty.rs"), temp.join("src/silent.rs")]);
    }
}
