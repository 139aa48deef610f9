//! Looks on their way between hosts, over the team's own remote: one ref for each work tree, forced on that ref alone, and the target
//! branch. Git's own configuration says who is asking, that of the clones included; nobody is ever prompted. That a remote
//! refuses, does not answer or is gone is a value.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use rr_core::id::CommitId;
use rr_core::live::TreeKey;

use super::keep::name_of;
use super::run::{Told, run};
use super::target::shown;
use super::{Mirror, MirrorError};
use crate::command::Input;

/// A push or fetch of small packs; longer means that the remote, or what asks for a password, hangs.
const REMOTE_LIMIT: Duration = Duration::from_secs(60);
const TARGETS: &str = "refs/railroad/target";
/// Settings of a clone that say how its remote is reached and as whom.
const WAYS: [&str; 5] = ["credential.", "http.", "url.", "core.sshcommand", "core.gitproxy"];
/// More settings than any clone has for that.
const WAYS_MAX: usize = 200;

/// What became of a look that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is there. `bytes` of it had to be sent, as git counts its pack (rounded to what it prints).
    There { bytes: u64 },
    /// It was there already.
    Known,
    /// The remote takes no such ref, for this reason.
    Refused(String),
    /// No answer, in git's words.
    Unreachable(String),
    /// Nothing is kept under this name.
    NotKept,
}

/// What came of asking for others' looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    Here { got: Vec<(TreeKey, CommitId)>, absent: Vec<TreeKey>, bytes: u64 },
    Unreachable(String),
}

/// Where a remote's branch stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    At(CommitId),
    /// It does not go on from where it stood: its history was rewritten.
    Rewritten {
        from: CommitId,
        to: CommitId,
    },
    /// The remote has no such branch.
    Absent,
    Unreachable(String),
}

impl Mirror {
    /// Sends what is kept of a work tree, in place of what the remote has under that name.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn send(&self, remote: &str, key: &TreeKey) -> Result<Sent, MirrorError> {
        let name = name_of(key);
        if self.commit_at(&name).is_none() {
            return Ok(Sent::NotKept);
        }
        let spec = format!("+{name}:{name}");
        let args = ["push", "--porcelain", "--progress", "--no-verify", "--thin", "--no-signed"];
        let told = match self.reach(remote, &args, &[&spec])? {
            Ok(told) => told,
            Err(said) => return Ok(Sent::Unreachable(said)),
        };
        let out = String::from_utf8_lossy(&told.out).into_owned();
        let line = out.lines().find(|line| line.contains(&name)).unwrap_or_default();
        Ok(match line.chars().next() {
            Some('!') => Sent::Refused(line.rsplit('\t').next().unwrap_or(line).to_owned()),
            Some('=') => Sent::Known,
            Some(_) if told.status.success() => Sent::There { bytes: moved(&told.words()) },
            _ => Sent::Unreachable(told.words()),
        })
    }

    /// Fetches what is kept of these work trees on the remote. What the remote does not have any more is forgotten here.
    ///
    /// # Errors
    /// If git cannot be run, or what came is damaged.
    pub fn fetch(&self, remote: &str, keys: &[TreeKey]) -> Result<Fetched, MirrorError> {
        let (mut wanted, mut absent) = (keys.to_vec(), Vec::new());
        let mut bytes = 0;
        while !wanted.is_empty() {
            let specs: Vec<String> = wanted.iter().map(|key| format!("+{0}:{0}", name_of(key))).collect();
            let told = match self.fetch_these(remote, &specs)? {
                Ok(told) => told,
                Err(said) => return Ok(Fetched::Unreachable(said)),
            };
            if told.status.success() {
                bytes = moved(&told.words());
                break;
            }
            // Git names the first that is not there, and fetches none.
            let Some(gone) = not_there(&told.words()).and_then(|name| wanted.iter().position(|k| name_of(k) == name))
            else {
                return Ok(Fetched::Unreachable(told.words()));
            };
            absent.push(wanted.remove(gone));
        }
        for key in &absent {
            self.forget(key)?;
        }
        let at = |key: TreeKey| self.commit_at(&name_of(&key)).map(|commit| (key, commit));
        Ok(Fetched::Here { got: wanted.into_iter().filter_map(at).collect(), absent, bytes })
    }

    /// Where the remote's branch stands, with its history. None: the remote has none of this name.
    ///
    /// # Errors
    /// If git cannot be run, or the remote cannot be reached.
    pub fn fetch_branch(&self, remote: &str, branch: &str) -> Result<Option<CommitId>, MirrorError> {
        match self.follow(remote, branch)? {
            Followed::At(commit) | Followed::Rewritten { to: commit, .. } => Ok(Some(commit)),
            Followed::Absent => Ok(None),
            Followed::Unreachable(said) => Err(MirrorError::Unreachable { remote: shown(remote), said }),
        }
    }

    /// The same, and whether its history is still the one that was known.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn follow(&self, remote: &str, branch: &str) -> Result<Followed, MirrorError> {
        let name = format!("{TARGETS}/{branch}");
        let before = self.commit_at(&name);
        let told = match self.fetch_these(remote, &[format!("+refs/heads/{branch}:{name}")])? {
            Ok(told) => told,
            Err(said) => return Ok(Followed::Unreachable(said)),
        };
        if !told.status.success() {
            let absent = not_there(&told.words()).is_some();
            return Ok(if absent { Followed::Absent } else { Followed::Unreachable(told.words()) });
        }
        let Some(now) = self.commit_at(&name) else { return Ok(Followed::Absent) };
        Ok(match before {
            Some(from) if !self.goes_on(&from, &now) => Followed::Rewritten { from, to: now },
            _ => Followed::At(now),
        })
    }

    fn goes_on(&self, from: &CommitId, to: &CommitId) -> bool {
        from == to || self.git(&["merge-base", "--is-ancestor", from.as_str(), to.as_str()], &Input::default()).is_ok()
    }

    pub(super) fn commit_at(&self, name: &str) -> Option<CommitId> {
        let said = self.git(&["rev-parse", "--quiet", "--verify", name], &Input::default()).ok()?;
        CommitId::parse(String::from_utf8_lossy(&said).trim()).ok()
    }

    fn fetch_these(&self, remote: &str, specs: &[String]) -> Result<Result<Told, String>, MirrorError> {
        let args = ["fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
        self.reach(remote, &args, &specs)
    }

    /// Err: it took too long.
    fn reach(&self, remote: &str, args: &[&str], specs: &[&str]) -> Result<Result<Told, String>, MirrorError> {
        let way = self.way_to(remote)?;
        let args = [args, &["--", &way.url], specs].concat();
        match run(&self.dir, &args, None, &way.env, REMOTE_LIMIT) {
            Err(MirrorError::TooLong { seconds, .. }) => Ok(Err(format!("no answer within {seconds} s"))),
            told => told.map(Ok),
        }
    }

    /// How the clone whose remote this is reaches it: its settings may hold what no other place does.
    fn way_to(&self, remote: &str) -> Result<Way, MirrorError> {
        let mut way = Way::unprompted(remote);
        for lender in self.lenders()? {
            let Some(settings) = lender.parent().and_then(settings) else { continue };
            let is_remote = |(name, value): &&(String, String)| {
                name.starts_with("remote.") && name.ends_with(".url") && (value == remote || shown(value) == remote)
            };
            if let Some((_, url)) = settings.iter().find(is_remote) {
                way.url.clone_from(url);
                way.set(settings.iter().filter(|(name, _)| WAYS.iter().any(|way| name.starts_with(way))));
                break;
            }
        }
        Ok(way)
    }
}

struct Way {
    url: String,
    env: Vec<(String, OsString)>,
}

impl Way {
    fn unprompted(url: &str) -> Self {
        let mut env: Vec<(String, OsString)> = Vec::new();
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.into()));
        // Whoever would be asked has no terminal. ssh asks a program then, and that one never answers.
        set("GIT_ASKPASS", "");
        set("SSH_ASKPASS", "false");
        set("SSH_ASKPASS_REQUIRE", "force");
        set("GCM_INTERACTIVE", "never");
        set("GIT_TERMINAL_PROMPT", "0");
        Self { url: url.to_owned(), env }
    }

    /// Through the environment: arguments can be read by everybody on the machine, and files stay.
    fn set<'a>(&mut self, settings: impl Iterator<Item = &'a (String, String)>) {
        let mut count = 0;
        for (name, value) in settings.take(WAYS_MAX) {
            self.env.push((format!("GIT_CONFIG_KEY_{count}"), name.into()));
            self.env.push((format!("GIT_CONFIG_VALUE_{count}"), value.into()));
            count += 1;
        }
        self.env.push(("GIT_CONFIG_COUNT".to_owned(), count.to_string().into()));
    }
}

/// A clone's own settings, in order.
fn settings(clone: &std::path::Path) -> Option<Vec<(String, String)>> {
    let config: PathBuf = clone.join("config");
    let args = ["config".as_ref(), "--null".as_ref(), "--list".as_ref(), "--file".as_ref(), config.as_os_str()];
    let said = crate::command::git(clone, args).ok()?;
    let text = String::from_utf8_lossy(&said).into_owned();
    let pair = |entry: &str| entry.split_once('\n').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(text.split('\0').filter_map(pair).collect())
}

/// `fatal: couldn't find remote ref NAME`.
fn not_there(words: &str) -> Option<String> {
    let (_, rest) = words.split_once("couldn't find remote ref ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// What git's progress says was moved: `Writing objects: 100% (3/3), 1.21 KiB | …, done.`
fn moved(words: &str) -> u64 {
    let of = |piece: &str| {
        let (_, rest) = piece.split_once("), ")?;
        let mut parts = rest.split_whitespace();
        let (amount, unit): (f64, &str) = (parts.next()?.parse().ok()?, parts.next()?);
        let factor = match unit.trim_end_matches(',') {
            "bytes" => 1.0,
            "KiB" => 1024.0,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            _ => return None,
        };
        // A count of bytes is not negative and far below the limit.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some((amount * factor) as u64)
    };
    let pieces = words.split(['\r', '\n']).filter(|p| p.contains("Writing objects") || p.contains("Receiving objects"));
    pieces.filter_map(of).next_back().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_is_read_from_gits_progress() {
        let words = "Counting objects: 100% (3/3), done.\rWriting objects:  33% (1/3)\rWriting objects: 100% (3/3), 1.50 KiB | \
                     300.00 KiB/s, done.\nTotal 3 (delta 0)";
        assert_eq!(moved(words), 1536);
        assert_eq!(moved("Writing objects: 100% (3/3), 248 bytes | 248.00 KiB/s, done."), 248);
        assert_eq!(moved("Everything up-to-date"), 0);
        assert_eq!(not_there("x\nfatal: couldn't find remote ref refs/a/b\n").as_deref(), Some("refs/a/b"));
    }
}
