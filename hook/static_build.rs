//! How `rr-hook` is compiled into the smallest and quickest program this machine can make. Shared by the build script
//! that embeds it in `rrctl` and by the benchmark; refuses to know what becomes of the result. Needs only a `rustc`.
//!
//! A static musl program starts several times as fast as one with glibc, whose start-up asks the processor about its
//! caches (slow in virtual machines), so it is tried first; then static glibc; a dynamic program is the last resort.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

/// What came out of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    StaticMusl,
    StaticGlibc,
    Dynamic,
}

/// Small, in one piece, without unwinding (the panic hook ends the process) and at a fixed address: a static program
/// that need not relocate itself starts a sixth faster, and safe Rust gains little from a random address.
const FLAGS: [&str; 9] = [
    "--edition=2024",
    "--crate-type=bin",
    "-Copt-level=z",
    "-Cpanic=abort",
    "-Ccodegen-units=1",
    "-Clto=fat",
    "-Cembed-bitcode=yes",
    "-Cstrip=symbols",
    "-Crelocation-model=static",
];

/// For a static program: all of it in two mappings instead of four. Each mapping costs the kernel time at the start, and code
/// and constants that lie together come in with fewer page faults.
const STATIC_FLAGS: [&str; 2] =
    ["-Ctarget-feature=+crt-static", "-Clink-arg=-Wl,-z,noseparate-code,-z,norelro,--build-id=none,--no-eh-frame-hdr"];

/// Compiles `source` for `target` to `out`. `linker` is what the user configured for cross-compiling, if anything;
/// `env` is for the source's `env!`.
pub(crate) fn compile(
    rustc: &OsStr,
    target: &str,
    linker: Option<&OsStr>,
    source: &Path,
    out: &Path,
    env: &[(&str, &Path)],
) -> Result<Linkage, String> {
    let mut failures = String::new();
    for (linkage, target) in ladder(rustc, target) {
        let mut command = Command::new(rustc);
        command.envs(env.iter().copied()).args(FLAGS).arg("--target").arg(&target).arg("--crate-name=rr_hook");
        command.args(match linkage {
            Linkage::StaticMusl | Linkage::StaticGlibc => &STATIC_FLAGS[..],
            // A dynamic program at a fixed address is refused by some systems.
            Linkage::Dynamic => &["-Crelocation-model=pie"],
        });
        if let Some(linker) = linker {
            command.arg(joined("-Clinker=", linker));
        }
        command.arg(source).arg("-o").arg(out);
        match command.output() {
            Ok(done) if done.status.success() => return Ok(linkage),
            Ok(done) => failures.push_str(&format!("{target}: {}\n", String::from_utf8_lossy(&done.stderr))),
            Err(error) => return Err(format!("cannot run {}: {error}", rustc.display())),
        }
    }
    Err(failures)
}

/// The ways worth trying for `target`, best first.
fn ladder(rustc: &OsStr, target: &str) -> Vec<(Linkage, String)> {
    let mut steps = Vec::new();
    if target.contains("-linux-") {
        let musl = target.replace("-linux-gnu", "-linux-musl");
        if is_installed(rustc, &musl) {
            steps.push((Linkage::StaticMusl, musl));
        }
        if target.contains("-linux-gnu") {
            steps.push((Linkage::StaticGlibc, target.to_owned()));
        }
    }
    steps.push((Linkage::Dynamic, target.to_owned()));
    steps
}

/// Whether the standard library of `target` is there. An unknown target is simply not.
fn is_installed(rustc: &OsStr, target: &str) -> bool {
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    asked.is_ok_and(|asked| asked.status.success() && Path::new(String::from_utf8_lossy(&asked.stdout).trim()).is_dir())
}

fn joined(flag: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(flag);
    word.push(value);
    word
}
