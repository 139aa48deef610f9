//! Which files a call would read and change, and which repository-wide things it uses: from its arguments, or from the parsed
//! command. Looks at the disk (links, folders), decides nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::glob::Glob;
use rr_core::scope::{Claim, Mode, Scope};
use rr_shell::{Analysis, Certainty, Env, GitResource, GitUse, How, Target};

use crate::call::Action;
use crate::guarded::{Guarded, Objection};
use crate::repos::{Place, PlaceError, Repo, Repos, Shared};

/// What a call would do, as far as can be told.
#[derive(Default)]
pub(crate) struct Effects {
    pub reads: Vec<Place>,
    /// Single files it changes. `whole`: without regard to what stands there.
    pub writes: Vec<Place>,
    /// Of these, what a build makes by the way: kept and looked at like the others, and not locked before.
    pub made: Vec<PathBuf>,
    /// Claims beyond single files: folders, patterns, git's own things.
    pub claims: Vec<(Arc<Repo>, Claim)>,
    /// Git commands that touch a work tree at large.
    pub trees: Vec<TreeUse>,
    /// The work tree to compare before and after.
    pub compare: Option<Arc<Repo>>,
    /// A git commit is among it: locks of what is clean afterwards can go.
    pub commits: bool,
    /// Something is staged: it must not be committed by somebody else.
    pub stages: bool,
    pub shell: bool,
    /// A command of it goes past the repository's git hooks.
    pub skips_hooks: Option<String>,
    /// The parse of a shell command.
    pub analysis: Option<Analysis>,
}

/// A git command that moves or takes along files of a whole work tree.
pub(crate) struct TreeUse {
    pub repo: Arc<Repo>,
    pub command: String,
    pub sweeps: bool,
    pub moves: bool,
}

impl Effects {
    /// Everything that it changes for itself alone.
    fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        let single = self.writes.iter().map(|p| Scope::Path(p.path.clone()));
        let wide = self.claims.iter().filter(|(_, c)| c.mode == Mode::Exclusive).map(|(_, c)| c.scope.clone());
        single.chain(wide)
    }

    /// A command of which the parse is certain that it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        let reads = |analysis: &Analysis| analysis.certainty == Certainty::ReadOnly && analysis.writes.is_empty();
        self.analysis.as_ref().is_some_and(reads)
            && self.writes.is_empty()
            && self.claims.is_empty()
            && self.trees.is_empty()
    }

    /// A command that touches the work tree at large: it needs the tree to itself. Not the repository's root, which would
    /// exclude every other work tree as well.
    fn use_tree(&mut self, repo: &Arc<Repo>, command: &str, sweeps: bool, moves: bool) {
        self.claims.push((repo.clone(), Claim::exclusive(repo.shared(Shared::Tree))));
        self.trees.push(TreeUse { repo: repo.clone(), command: command.to_owned(), sweeps, moves });
    }
}

/// Finds the effects of a call.
pub(crate) fn of(action: &Action, cwd: &Path, repos: &Repos, guarded: &Guarded) -> Result<Effects, Objection> {
    let mut found = Effects::default();
    match action {
        Action::Harmless => {}
        Action::Read(paths) => {
            for path in paths {
                // What cannot be placed cannot be locked either; reading it is nobody's business here.
                found.reads.extend(repos.place(path, true).ok().flatten());
            }
        }
        Action::Write { paths, .. } => write_all(paths, repos, guarded, &mut found)?,
        Action::Unknown { paths } => {
            write_all(paths, repos, guarded, &mut found)?;
            found.compare = around(repos, cwd);
        }
        Action::Shell { command } => shell(command, cwd, repos, guarded, &mut found)?,
    }
    guarded.check_scopes(found.scopes())?;
    Ok(found)
}

fn write_all(paths: &[PathBuf], repos: &Repos, guarded: &Guarded, found: &mut Effects) -> Result<(), Objection> {
    for path in paths {
        guarded.check_path(path, true)?;
        if let Some(place) = repos.written(path)? {
            if place.disk.is_dir() {
                found.claims.push(claim_on(&place));
            } else {
                found.writes.push(place);
            }
        }
    }
    Ok(())
}

fn shell(command: &str, cwd: &Path, repos: &Repos, guarded: &Guarded, found: &mut Effects) -> Result<(), Objection> {
    found.shell = true;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let analysis = rr_shell::analyse(command, &Env { cwd, home: home.as_deref() });
    if let Certainty::Unparsable(why) = &analysis.certainty {
        return Err(Objection::Unparsable(why.clone()));
    }
    guarded.check_commands(&analysis)?;
    found.skips_hooks = crate::bypass::noted(&analysis);
    for path in &analysis.reads {
        found.reads.extend(repos.place(path, true).ok().flatten());
    }
    for write in &analysis.writes {
        guarded.check_target(&write.target)?;
        shell_write(write.target.clone(), write.how, repos, found)?;
    }
    for git in &analysis.git {
        git_use(git, cwd, repos, found)?;
    }
    if analysis.certainty != Certainty::ReadOnly {
        found.compare = compared(&analysis, cwd, repos);
    }
    found.analysis = Some(analysis);
    Ok(())
}

/// The tree a command could change beyond what it names: where it runs.
fn compared(analysis: &Analysis, cwd: &Path, repos: &Repos) -> Option<Arc<Repo>> {
    let dirs = analysis.invocations.iter().filter_map(|i| i.cwd.as_deref());
    dirs.chain([cwd]).find_map(|dir| around(repos, dir))
}

fn around(repos: &Repos, dir: &Path) -> Option<Arc<Repo>> {
    repos.around(dir).ok().flatten()
}

fn shell_write(target: Target, how: How, repos: &Repos, found: &mut Effects) -> Result<(), Objection> {
    let follow = !matches!(how, How::Delete | How::Rename);
    match target.resolve(Path::is_dir) {
        Target::File(path) => {
            let place = if follow { repos.written(&path)? } else { repos.place(&path, false)? };
            match place {
                Some(place) if place.disk.is_dir() && !is_link(&place.disk) => found.claims.push(claim_on(&place)),
                Some(place) => found.writes.push(place),
                None => {}
            }
        }
        Target::Tree(path) => {
            if let Some(place) = repos.place(&path, follow)? {
                if place.path.is_root() {
                    found.use_tree(&place.repo, "a command on the whole folder", false, true);
                } else if place.disk.is_dir() && !is_link(&place.disk) {
                    found.claims.push(claim_on(&place));
                } else {
                    found.writes.push(place);
                }
            }
        }
        Target::Glob { dir, pattern } => {
            if let Some(place) = repos.place(&dir, true)? {
                found.claims.push(pattern_claim(&place, &pattern));
            }
        }
        // Named only when it runs: the comparison afterwards finds it.
        Target::Into { .. } | Target::Unknown => {}
    }
    Ok(())
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.file_type().is_symlink())
}

fn claim_on(place: &Place) -> (Arc<Repo>, Claim) {
    (place.repo.clone(), Claim::exclusive(Scope::Path(place.path.clone())))
}

/// A pattern that cannot be expressed as a lock becomes a lock on its whole folder: too much, never too little.
fn pattern_claim(place: &Place, pattern: &str) -> (Arc<Repo>, Claim) {
    // A match may be a folder, and what is done to it is done to all below: `**` also stands for nothing.
    match Glob::parse(&format!("{pattern}/**")) {
        Ok(glob) => {
            let scope = Scope::Glob { folder: place.path.clone(), glob };
            (place.repo.clone(), Claim::exclusive(scope))
        }
        Err(_) => claim_on(place),
    }
}

fn git_use(git: &GitUse, cwd: &Path, repos: &Repos, found: &mut Effects) -> Result<(), Objection> {
    let dir = git.work_tree.as_deref().or(git.dir.as_deref()).unwrap_or(cwd);
    let Some(repo) = repos.around(dir).map_err(PlaceError::from)? else { return Ok(()) };
    found.commits |= git.command == "commit";
    found.stages |= git.resources.contains(&GitResource::Index);
    for resource in &git.resources {
        let what = match resource {
            GitResource::Head => Shared::Head,
            GitResource::Index => Shared::Index,
            GitResource::Stash => Shared::Stash,
            GitResource::Refs | GitResource::Worktrees => Shared::Refs,
            GitResource::Config => Shared::Config,
        };
        found.claims.push((repo.clone(), Claim::exclusive(repo.shared(what))));
    }
    let (moves, sweeps) = (git.tree.moves() && !names_only_paths(git, &repo), git.tree.sweeps());
    if moves || sweeps {
        found.use_tree(&repo, &format!("`git {}`", git.command), sweeps, moves);
    } else if git.tree.moves() {
        for target in &git.paths {
            shell_write(target.clone(), How::Write, repos, found)?;
        }
    }
    Ok(())
}

/// `git checkout x` names a branch or a file: it is a file if there is one and no such branch.
fn names_only_paths(git: &GitUse, repo: &Repo) -> bool {
    let is_file = |t: &Target| match t {
        Target::File(p) | Target::Tree(p) => {
            p.exists() && !p.file_name().is_some_and(|n| repo.tree.common_dir.join("refs/heads").join(n).exists())
        }
        Target::Glob { .. } | Target::Into { .. } | Target::Unknown => false,
    };
    git.command == "checkout" && !git.paths.is_empty() && git.paths.iter().all(is_file)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn repo() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path().canonicalize().expect("canonical");
        let git = |args: &[&str]| {
            assert!(Command::new("git").args(args).current_dir(&root).status().expect("git").success());
        };
        git(&["init", "-q", "-b", "main"]);
        std::fs::create_dir(root.join("src")).expect("mkdir");
        for f in ["a.txt", "b.txt", "src/c.rs"] {
            std::fs::write(root.join(f), "x").expect("write");
        }
        git(&["add", "."]);
        git(&["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x"]);
        git(&["branch", "topic"]);
        (dir, root)
    }

    fn shell_effects(root: &Path, command: &str) -> Result<Effects, Objection> {
        of(&Action::Shell { command: command.into() }, root, &Repos::default(), &Guarded::default())
    }

    fn writes(root: &Path, command: &str) -> Vec<String> {
        let Ok(found) = shell_effects(root, command) else { panic!("{command}: objection") };
        let mut all: Vec<String> = found.writes.iter().map(|p| p.path.to_string()).collect();
        let wide = found.claims.iter().filter(|(_, c)| !matches!(c.scope, Scope::Named(_)));
        all.extend(wide.map(|(_, c)| c.scope.to_string()));
        all.sort();
        all
    }

    #[test]
    fn a_shell_command_yields_the_files_it_writes() {
        let (_dir, root) = repo();
        assert_eq!(writes(&root, "sed -i s/x/y/ a.txt && echo z >> src/c.rs"), ["a.txt", "src/c.rs"]);
        assert_eq!(writes(&root, "rm -rf src"), ["src"]);
        assert_eq!(writes(&root, "mv a.txt d.txt"), ["a.txt", "d.txt"]);
        assert_eq!(writes(&root, "cp a.txt src"), ["src/a.txt"]);
        assert_eq!(writes(&root, "rm *.txt"), ["*.txt/**"]);
        assert!(writes(&root, "grep -r x . | head > /dev/null").is_empty());
        assert!(writes(&root, "echo hi > /tmp/elsewhere-of-any-repository").is_empty());
    }

    #[test]
    fn a_branch_checkout_uses_the_whole_tree_and_a_file_checkout_its_file() {
        let (_dir, root) = repo();
        let Ok(branch) = shell_effects(&root, "git checkout topic") else { panic!("objection") };
        assert!(branch.trees.iter().any(|t| t.moves && !t.sweeps));
        let Ok(file) = shell_effects(&root, "git checkout a.txt") else { panic!("objection") };
        assert!(file.trees.is_empty() && file.writes.iter().any(|p| p.path.to_string() == "a.txt"));
        let Ok(add) = shell_effects(&root, "git add -A") else { panic!("objection") };
        assert!(add.trees.iter().any(|t| t.sweeps));
        let Ok(one) = shell_effects(&root, "git add a.txt && git commit -m x a.txt") else { panic!("objection") };
        assert!(one.trees.is_empty() && one.commits);
    }

    #[test]
    fn the_guard_itself_is_protected_from_every_tool() {
        let (_dir, root) = repo();
        for command in
            ["echo '{}' > .claude/settings.local.json", "rm -rf .claude", "rm .railroad/STOP", "tee .railroad/x"]
        {
            assert!(matches!(shell_effects(&root, command), Err(Objection::Protected(_))), "{command}");
        }
        let tool = Action::Write { paths: vec![root.join(".claude/settings.json")], whole: true };
        assert!(matches!(of(&tool, &root, &Repos::default(), &Guarded::default()), Err(Objection::Protected(_))));
    }
}
