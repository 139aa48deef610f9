//! What must outlive this process: which files each agent session had locked, and which it has lost. Read once at the start: a
//! lock that stood here and is not in the store any more was lost while nobody looked, and a commit of it is not published
//! (D16). A file beside the store, written anew at most once a second, off the path of every call; after a reboot no agent
//! of before is left to ask for it.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rr_core::glob::Glob;
use rr_core::id::{RepoId, Token};
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use serde::{Deserialize, Serialize, Serializer as _};

use crate::service::Service;
use crate::table::{AgentKey, HeldLock, LostClaim};

const FILE: &str = "held.json";

/// One file of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    repo: RepoId,
    anchor: String,
    shown: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    glob: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    /// It was lost already then.
    #[serde(default)]
    lost: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeptSession {
    agent: String,
    session: String,
    files: Vec<Kept>,
}

/// The file, and what an earlier life left in it.
#[derive(Default)]
pub(crate) struct Memory {
    file: PathBuf,
    earlier: Mutex<HashMap<AgentKey, Vec<Kept>>>,
    written: Mutex<u64>,
}

impl Memory {
    /// Reads what an earlier life left in a folder. What cannot be read is told and counts as nothing.
    pub(crate) fn read(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let sessions: Vec<KeptSession> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "what sessions had locked before is not known");
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        let key = |s: &KeptSession| AgentKey { agent: s.agent.clone(), session: s.session.clone() };
        let earlier = sessions.into_iter().map(|s| (key(&s), s.files)).collect();
        Self { file, earlier: Mutex::new(earlier), written: Mutex::default() }
    }

    fn earlier(&self) -> MutexGuard<'_, HashMap<AgentKey, Vec<Kept>>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a session of this name has lost since an earlier life noted it: all but what it holds now. Told once.
    pub(crate) fn lost_by(&self, key: &AgentKey, held: &[HeldLock]) -> Vec<LostClaim> {
        let kept = self.earlier().remove(key).unwrap_or_default();
        let is_held =
            |k: &Kept| !k.lost && held.iter().any(|l| l.grant.repo == k.repo && Some(l.grant.token) == k.token);
        kept.into_iter().filter(|k| !is_held(k)).filter_map(Kept::claim).collect()
    }

    /// Writes down what every session has locked and lost, if that has changed.
    pub(crate) fn keep(&self, service: &Service) {
        let all = service.all();
        let mut hasher = DefaultHasher::new();
        for who in &all {
            let inner = who.lock();
            who.key.hash(&mut hasher);
            inner.locks.iter().filter(|l| l.is_file()).for_each(|l| l.grant.token.hash(&mut hasher));
            inner.lost.iter().for_each(|l| (&l.repo, l.token, &l.claim).hash(&mut hasher));
        }
        let fingerprint = hasher.finish();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written == fingerprint {
            return;
        }
        let sessions = all.iter().map(|who| {
            let inner = who.lock();
            let held = inner.locks.iter().filter(|l| l.is_file()).map(|l| Kept::of(&LostClaim::of(&l.grant), false));
            let files = held.chain(inner.lost.iter().map(|l| Kept::of(l, true))).collect();
            (who.key.clone(), files)
        });
        match self.write(sessions) {
            Ok(()) => *written = fingerprint,
            Err(error) => tracing::debug!(file = %self.file.display(), %error, "note what sessions have locked"),
        }
    }

    /// One session after the other: all of them as one text would be more than all that is kept of them.
    fn write(&self, sessions: impl Iterator<Item = (AgentKey, Vec<Kept>)>) -> std::io::Result<()> {
        // Those that have not come back yet may still do so.
        let earlier: Vec<_> = self.earlier().iter().map(|(key, files)| (key.clone(), files.clone())).collect();
        let draft = self.file.with_extension("draft");
        let mut file = BufWriter::new(File::create(&draft)?);
        let mut list = serde_json::Serializer::new(&mut file);
        list.collect_seq(sessions.chain(earlier).map(|(key, files)| KeptSession {
            agent: key.agent,
            session: key.session,
            files,
        }))?;
        // Not synced: it has to outlive this process, not this boot.
        file.flush()?;
        std::fs::rename(&draft, &self.file)
    }
}

impl Kept {
    fn of(lost: &LostClaim, is_lost: bool) -> Self {
        let (shown, glob) = match &lost.claim.scope {
            Scope::Path(path) => (path.shown().to_owned(), None),
            Scope::Glob { folder, glob } => (folder.shown().to_owned(), Some(glob.as_str().to_owned())),
            Scope::Named(name) => (name.as_str().to_owned(), None),
        };
        let anchor = lost.claim.scope.anchor_key();
        Self { repo: lost.repo.clone(), anchor, shown, glob, token: lost.token, lost: is_lost }
    }

    fn claim(self) -> Option<LostClaim> {
        let path = RepoPath::from_key(&self.anchor, &self.shown)?;
        let scope = match self.glob {
            None => Scope::Path(path),
            Some(pattern) => Scope::Glob { folder: path, glob: Glob::parse(&pattern).ok()? },
        };
        Some(LostClaim { repo: self.repo, claim: Claim::exclusive(scope), token: self.token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(session: &str) -> AgentKey {
        AgentKey { agent: "claude".into(), session: session.into() }
    }

    fn lost(scope: Scope, token: u64) -> LostClaim {
        let repo = RepoId::parse("0123456789abcdef").expect("legal");
        LostClaim { repo, claim: Claim::exclusive(scope), token: Some(Token(token)) }
    }

    #[test]
    fn what_was_held_and_is_not_any_more_is_lost_once_and_by_its_own_session() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = |p: &str| RepoPath::parse(p.as_bytes()).expect("legal");
        let file = lost(Scope::Path(path("src/Ä b.rs")), 7);
        let pattern = lost(Scope::Glob { folder: path("src"), glob: Glob::parse("*.rs/**").expect("legal") }, 8);
        let memory = Memory::read(dir.path());
        let files = vec![Kept::of(&file, false), Kept::of(&pattern, true)];
        memory.write([(key("one"), files)].into_iter()).expect("written");
        let later = Memory::read(dir.path());
        assert!(later.lost_by(&key("two"), &[]).is_empty());
        // One that has not come back yet is not forgotten by what is written meanwhile.
        later.write([(key("two"), vec![])].into_iter()).expect("written");
        let last = Memory::read(dir.path());
        assert_eq!(last.lost_by(&key("one"), &[]), [file, pattern]);
        assert!(last.lost_by(&key("one"), &[]).is_empty());
    }

    #[test]
    fn what_cannot_be_read_counts_as_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(dir.path().join(FILE), "{").expect("write");
        assert!(Memory::read(dir.path()).lost_by(&key("one"), &[]).is_empty());
    }
}
