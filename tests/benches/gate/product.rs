//! Builds the programs that a bench measures: `cargo bench` builds none, and an old one would be measured unseen.

use std::path::Path;
use std::process::Command;

pub(crate) fn build(packages: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let this = std::env::current_exe().expect("this program has a path");
    let target = this.ancestors().nth(3).expect("target/release/deps/<bench>");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--target-dir"]).arg(target);
    build.args(packages.iter().map(|package| format!("--package={package}")));
    let status = build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).status().expect("cargo runs");
    assert!(status.success(), "{packages:?} cannot be built");
}
