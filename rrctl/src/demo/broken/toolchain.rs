//! The Rust toolchain that the show's check runs. Owns where it is; the show's own home has none, and a `cargo` that looks there for
//! its settings would find nothing. So it is the programs themselves that are looked for, not those that choose among several.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::exit::{Failure, Kind};

/// The folder with `cargo` and `rustc` of the toolchain that this user has here.
pub(super) async fn folder() -> Result<PathBuf, Failure> {
    let said = Command::new("rustc").args(["--print", "sysroot"]).kill_on_drop(true).output().await;
    let said = said.map_err(|e| missing(&format!("rustc: {e}")))?;
    if !said.status.success() {
        return Err(missing(String::from_utf8_lossy(&said.stderr).trim()));
    }
    with_cargo(Path::new(String::from_utf8_lossy(&said.stdout).trim()))
}

fn with_cargo(sysroot: &Path) -> Result<PathBuf, Failure> {
    let own = sysroot.join("bin");
    if own.join("cargo").is_file() {
        return Ok(own);
    }
    // A packager may keep the two apart; then it is a plain program in some folder.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find(|folder| folder.join("cargo").is_file());
    found.ok_or_else(|| missing("there is no cargo on PATH"))
}

fn missing(why: &str) -> Failure {
    Failure::new(Kind::Usage, "no cargo to check the show's project with").because(why).hint(
        "install Rust as https://rustup.rs says, put it on PATH (`. ~/.cargo/env`), and look with `cargo --version`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_s_own_cargo_comes_first() {
        let dir = tempfile::tempdir().expect("folder");
        std::fs::create_dir(dir.path().join("bin")).expect("make");
        std::fs::write(dir.path().join("bin/cargo"), "").expect("write");
        assert_eq!(with_cargo(dir.path()).ok(), Some(dir.path().join("bin")));
    }

    #[test]
    fn a_missing_one_is_told_with_what_to_do() {
        let text = missing("there is no cargo on PATH").text();
        assert!(text.contains("https://rustup.rs") && text.contains("no cargo on PATH"), "{text}");
    }
}
