//! Where a search builds: a bare repository that borrows this one's objects, and one work tree that is moved from
//! commit to commit, so that what a build left is of use to the next. Both are gone with the search. It does not know
//! what is searched for.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rr_core::culprit::{Build, Verdict};
use rr_core::id::{CommitId, ObjectId};
use rr_git::{CheckTree, Combined, Mirror, Queue, QueuedCommit, Worktree};

use super::verdict;
use crate::exit::{Failure, Kind};

/// Of a command's output, its end is kept.
const OUTPUT_BYTES_MAX: u64 = 16 << 10;
/// A command that looks for a repository must find none: there is none in the work tree.
const GIT_VARIABLES: [&str; 5] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"];

pub(crate) struct Ground {
    folder: PathBuf,
    mirror: Mirror,
    tree: CheckTree,
    green: CommitId,
    pub(crate) commits: Vec<QueuedCommit>,
    command: Vec<String>,
}

impl Ground {
    /// Everything that a search of these commits needs, below `parent`.
    pub(crate) fn prepare(
        parent: &Path,
        here: &Worktree,
        (green, red): (CommitId, &CommitId),
        command: &[String],
    ) -> Result<Self, Failure> {
        clear(parent);
        let folder = parent.join(std::process::id().to_string());
        fs::create_dir_all(&folder).map_err(|e| Failure::at(format!("make the folder {}", folder.display()), &e))?;
        let folder = folder.canonicalize().map_err(|e| Failure::at("find the folder of the search", &e))?;
        let failed = |e: rr_git::MirrorError| Failure::at("read the repository", &e);
        let mirror = Mirror::open(&folder.join("mirror.git"), here).map_err(failed)?;
        mirror.borrow_from(here).map_err(failed)?;
        let tree = CheckTree::open(&mirror, &folder.join("slot"));
        // From here on the folder goes with it, whatever comes.
        let mut ground = Self { folder, mirror, tree, green, commits: vec![], command: command.to_vec() };
        ground.commits = match ground.mirror.commits_between(&ground.green, red).map_err(failed)? {
            Queue::Commits(commits) if !commits.is_empty() => commits,
            Queue::Commits(_) => return Err(Failure::new(Kind::Usage, "GREEN and RED are the same commit")),
            Queue::Rewritten { .. } => {
                return Err(Failure::new(Kind::Usage, "GREEN is no ancestor of RED")
                    .hint("name an older commit that was whole, and then the one that is not"));
            }
            Queue::TooMany { most } => {
                let what = format!("more than {most} commits lie between GREEN and RED");
                return Err(Failure::new(Kind::Usage, what).hint("name a GREEN that is nearer"));
            }
        };
        Ok(ground)
    }

    /// Runs the command on what is named. `Unresolved`: there is no such tree, or the command says nothing.
    pub(crate) fn build(&self, build: &Build) -> Result<Verdict, Failure> {
        let failed = |e: rr_git::MirrorError| Failure::at("set up a commit to build", &e);
        let Some(tree) = self.contents(build).map_err(failed)? else { return Ok(Verdict::Unresolved) };
        self.tree.move_to(&tree).map_err(failed)?;
        let output = File::create(self.output()).map_err(|e| Failure::at("write the command's output", &e))?;
        let errors = output.try_clone().map_err(|e| Failure::at("write the command's output", &e))?;
        let [program, words @ ..] = self.command.as_slice() else {
            return Err(Failure::new(Kind::Usage, "there is no command").hint("rrctl bisect GREEN RED -- COMMAND"));
        };
        let mut command = Command::new(program);
        command.args(words).current_dir(self.tree.root()).stdin(Stdio::null()).stdout(output).stderr(errors);
        for name in GIT_VARIABLES {
            command.env_remove(name);
        }
        let ended = command.status().map_err(|e| Failure::at(format!("run {program}"), &e).of_kind(Kind::Usage))?;
        verdict(ended.code()).ok_or_else(|| {
            Failure::new(Kind::Usage, format!("the command cannot be run: it ended with {}", ended.code().unwrap_or(0)))
                .because(self.last_output())
        })
    }

    fn contents(&self, build: &Build) -> Result<Option<ObjectId>, rr_git::MirrorError> {
        let id = |n: usize| self.commits.get(n.saturating_sub(1)).map(|commit| commit.id.clone());
        let combined = match build {
            Build::Prefix(0) => return self.mirror.prefix(&self.green).map(Some),
            Build::Prefix(n) => match id(*n) {
                Some(commit) => return self.mirror.prefix(&commit).map(Some),
                None => return Ok(None),
            },
            other => {
                let these: Vec<CommitId> = other.commits().into_iter().filter_map(id).collect();
                self.mirror.set(&self.green, &these)?
            }
        };
        Ok(match combined {
            Combined::Tree(tree) => Some(tree),
            Combined::Conflict(_) => None,
        })
    }

    fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// The end of what the last command said.
    pub(crate) fn last_output(&self) -> String {
        tail(&self.output()).unwrap_or_default()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "the folder of a search stays");
        }
    }
}

fn tail(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(OUTPUT_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Searches that were cut off leave their folders; each is named by its process.
fn clear(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| pid != std::process::id() && !Path::new("/proc").join(pid.to_string()).exists()) {
            // The next search tries again.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
