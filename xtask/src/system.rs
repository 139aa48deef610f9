//! What the tests need of the system beside cargo. On Debian and Ubuntu what is missing is installed, and said why; elsewhere
//! it is listed. Nothing that is present is touched, and no version is chosen here.

use std::path::Path;

use crate::step::{Failed, Outcome, cargo, command, run, works};

/// One thing that must be there.
struct Need {
    /// Any of these on PATH will do only if all are: a test may call each.
    programs: &'static [&'static str],
    packages: &'static [&'static str],
    why: &'static str,
}

const NEEDS: [Need; 8] = [
    Need { programs: &["git"], packages: &["git"], why: "worktrees, snapshots and merges are git's" },
    Need {
        programs: &["cc"],
        packages: &["gcc", "libc6-dev"],
        why: "libgit2 is compiled from source, and programs are linked",
    },
    Need {
        programs: &["node", "npm"],
        packages: &["nodejs", "npm"],
        why: "the test with a real agent installs it through npm",
    },
    Need { programs: &["pgrep"], packages: &["procps"], why: "stories look for what a killed agent left running" },
    Need { programs: &["unshare"], packages: &["util-linux"], why: "real agents run without a network" },
    Need {
        programs: &["ip"],
        packages: &["iproute2"],
        why: "and with a loopback of their own; test hosts with cables",
    },
    Need { programs: &["nft"], packages: &["nftables"], why: "cables between test hosts are cut" },
    Need { programs: &["iptables"], packages: &["iptables"], why: "and their packets are held up" },
];

/// Sees to it that all is there.
pub(crate) fn prepare() -> Outcome {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !need.is_met()).collect();
    for need in &missing {
        println!("    missing: {} ({})", need.programs.join(", "), need.why);
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    if !packages.is_empty() {
        install(&packages)?;
    }
    toolchain()
}

impl Need {
    fn is_met(&self) -> bool {
        self.programs.iter().all(|program| is_on_path(program))
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn install(packages: &[&str]) -> Outcome {
    let list = packages.join(" ");
    if !is_on_path("apt-get") {
        return Err(Failed(format!(
            "install these with your system's package manager (names as in Debian), then try again: {list}"
        )));
    }
    let Some(prefix) = root_prefix() else {
        return Err(Failed(format!("type `sudo apt-get install --yes {list}`, then try again")));
    };
    println!("    installing with apt-get: {list}");
    apt(prefix, &["update", "--quiet"])?;
    let fixed = ["install", "--yes", "--quiet", "--no-install-recommends"];
    apt(prefix, &[&fixed, packages].concat())
}

/// What goes before a command that needs the system's rights; `None` if they cannot be had without asking somebody.
fn root_prefix() -> Option<&'static [&'static str]> {
    if is_root() {
        return Some(&[]);
    }
    let sudo: &[&str] = &["sudo", "--non-interactive"];
    works(command("sudo", &["--non-interactive", "true"])).then_some(sudo)
}

/// The owner of this process's entry in /proc: std has no call for it.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}

fn apt(prefix: &[&str], args: &[&str]) -> Outcome {
    // `env` and not the process's environment: sudo would drop that.
    let words = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
    run(command(words[0], &words[1..]))
}

/// rustfmt and clippy: minimal toolchains come without them.
fn toolchain() -> Outcome {
    let absent = |verb: &&str| !works(cargo(&[verb, "--version"]));
    let missing: Vec<&str> = ["fmt", "clippy"].into_iter().filter(absent).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("    missing: cargo {} (the checks of form)", missing.join(", cargo "));
    if !is_on_path("rustup") {
        return Err(Failed("install rustfmt and clippy for this toolchain, then try again".to_owned()));
    }
    run(command("rustup", &["component", "add", "rustfmt", "clippy"]))
}

/// The target whose programs start quickest, for the hook. It can be done without: the hook is then a little slower to start.
pub(crate) fn quick_hook() {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if is_on_path("rustup") && !works(command("rustup", &["target", "add", &target])) {
        println!("    {target} could not be added: rr-hook is built without it, and starts a little slower");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_path_is_found_and_nothing_else() {
        assert!(is_on_path("sh"));
        assert!(!is_on_path("no-such-program-here"));
    }
}
