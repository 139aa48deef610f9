//! The environment of a check: a short list out of this process's own, and what makes programs neither ask, nor colour,
//! nor speak another language. Nothing else: what runs in a check was written by agents, and has no business with
//! tokens, sockets and certificates of the watcher.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Who one is, where tools and their shared caches are, how the outside is reached.
const PASSED_ON: [&str; 39] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "LD_LIBRARY_PATH",
    "PKG_CONFIG_PATH",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTC_WRAPPER",
    "SCCACHE_DIR",
    "CC",
    "CXX",
    "GOROOT",
    "GOPATH",
    "GOCACHE",
    "GOMODCACHE",
    "GOPROXY",
    "GOTOOLCHAIN",
    "NVM_DIR",
    "VOLTA_HOME",
    "PNPM_HOME",
    "NODE_EXTRA_CA_CERTS",
    "PYENV_ROOT",
    "JAVA_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "NIX_PATH",
    "NIX_SSL_CERT_FILE",
];

/// Said to every check.
const SAID: [(&str, &str); 14] = [
    ("CI", "1"),
    ("NO_COLOR", "1"),
    ("FORCE_COLOR", "0"),
    ("CARGO_TERM_COLOR", "never"),
    ("PY_COLORS", "0"),
    ("TERM", "dumb"),
    // The messages that are read are English.
    ("LC_ALL", "C.UTF-8"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("PIP_NO_INPUT", "1"),
    ("npm_config_fund", "false"),
    ("npm_config_audit", "false"),
    ("npm_config_update_notifier", "false"),
];

/// By this a process is known as the check's, wherever it went.
pub(super) const MARK: &str = "RAILROAD_CHECK";

#[derive(Clone, Debug)]
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(super) fn of_this_process() -> Self {
        let passed = PASSED_ON.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let said = SAID.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Self(passed.chain(said).collect())
    }

    pub(super) fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// The environment of one run: with its mark, and the check's own folders first in PATH.
    pub(super) fn for_run(&self, mark: &str, folder: &Path, first: &[String]) -> Self {
        let mut own = self.clone();
        own.set(MARK, mark);
        let path = own.search_path(folder, first);
        // A PATH with a `:` in a folder's name cannot be written down; the usual one then stands alone.
        if let Ok(path) = std::env::join_paths(path) {
            own.set("PATH", path);
        }
        own
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }

    /// Whether a program can be found.
    pub(super) fn finds(&self, program: &str) -> bool {
        self.search_path(Path::new("/"), &[]).iter().any(|folder| is_program(&folder.join(program)))
    }

    fn search_path(&self, folder: &Path, first: &[String]) -> Vec<PathBuf> {
        let usual =
            self.0.get(OsStr::new("PATH")).map_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"), Clone::clone);
        let own = first.iter().map(|name| folder.join(name)).filter(|path| path.is_dir());
        own.chain(std::env::split_paths(&usual)).collect()
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_the_list_is_passed_on_and_what_is_handed_in_wins() {
        let mut environment = Environment::of_this_process();
        environment.set("CARGO_TARGET_DIR", "/slots/1/target");
        environment.set("TERM", "vt100");
        let run = environment.for_run("m1", Path::new("/"), &["usr".to_owned(), "no-such-folder".to_owned()]);
        let known = |n: &OsString| {
            let n = n.to_str().unwrap_or_default();
            PASSED_ON.contains(&n) || SAID.iter().any(|(s, _)| *s == n) || ["CARGO_TARGET_DIR", MARK].contains(&n)
        };
        assert!(run.all().all(|(name, _)| known(name)));
        let get = |name: &str| run.0.get(OsStr::new(name)).and_then(|v| v.to_str()).unwrap_or_default().to_owned();
        assert_eq!((get("TERM"), get("CI"), get(MARK)), ("vt100".to_owned(), "1".to_owned(), "m1".to_owned()));
        assert!(get("PATH").starts_with("/usr:") && !get("PATH").contains("no-such-folder"), "{}", get("PATH"));
        assert!(run.finds("sh") && !run.finds("no-such-program") && !run.finds("../etc"));
    }
}
