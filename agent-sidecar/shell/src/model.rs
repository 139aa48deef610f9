//! The answer: what a command would run, read, write and use of git, as plain data for gates and rules.
//! It knows nothing of locks, rules or files on disk. Filled by `findings`, read by the sidecar.

use std::path::{Path, PathBuf};

/// Where the command would run.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// The working folder, absolute.
    pub cwd: &'a Path,
    /// The home folder, for `~` and `$HOME`.
    pub home: Option<&'a Path>,
}

/// Everything found in one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// Every simple command, in order: through wrappers, nested shells, substitutions, functions, here-documents.
    pub invocations: Vec<Invocation>,
    /// Foreseen changes of files.
    pub writes: Vec<Write>,
    /// Files read for certain, absolute; `..` is left for the kernel's way of walking.
    pub reads: Vec<PathBuf>,
    /// Network connections opened by redirections (`/dev/tcp/host/port`).
    pub sockets: Vec<PathBuf>,
    /// Uses of git that change anything.
    pub git: Vec<GitUse>,
    /// How far the above can be trusted to be complete.
    pub certainty: Certainty,
}

impl Analysis {
    pub(crate) fn unparsable(why: String) -> Self {
        Self {
            invocations: Vec::new(),
            writes: Vec::new(),
            reads: Vec::new(),
            sockets: Vec::new(),
            git: Vec::new(),
            certainty: Certainty::Unparsable(why),
        }
    }
}

/// How complete `writes` and `git` are. Caches that tools keep for themselves and a repository's own hooks
/// ([`GitUse::hooks`]) are not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certainty {
    /// Every command is known to change no file of a work tree.
    ReadOnly,
    /// It changes things, and `writes` and `git` name all of them, taken that a `cd` in it does not fail.
    Foreseen,
    /// It may change more than is named; the text says what and why.
    Unforeseen(String),
    /// It could not be parsed, or is too long or too deep; the text says where. What was found is still given.
    Unparsable(String),
}

/// One foreseen change of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    pub target: Target,
    pub how: How,
    /// The program that does it; `redirection` for `> file`.
    pub by: String,
}

/// What happens to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    Write,
    Append,
    Create,
    Delete,
    /// One of the ends of a move.
    Rename,
    /// Mode, owner or times.
    Metadata,
}

/// What is changed. Paths are absolute; `..` is left in them, because only the disk knows where it leads behind a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    File(PathBuf),
    /// This path and, should it be a folder, all below it.
    Tree(PathBuf),
    /// Paths below `dir` that match `pattern` (`*` stays within a component, `**` does not), and all below those that
    /// are folders when the program recurses.
    Glob {
        dir: PathBuf,
        pattern: String,
    },
    /// Where `cp a b` puts `a`: `path`, or `path/name` should `path` be a folder; a whole tree where `tree` is set and
    /// the source is a folder. See [`Target::resolve`].
    Into {
        path: PathBuf,
        name: String,
        tree: bool,
    },
    /// Known only when it runs.
    Unknown,
}

impl Target {
    /// Settles [`Target::Into`] for a caller that can look at the disk.
    #[must_use]
    pub fn resolve(self, is_folder: impl Fn(&Path) -> bool) -> Self {
        match self {
            Self::Into { path, name, tree } => {
                let end = if is_folder(&path) { path.join(name) } else { path };
                if tree { Self::Tree(end) } else { Self::File(end) }
            }
            other => other,
        }
    }
}

/// One word of a command after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Exactly this.
    Literal(String),
    /// An unquoted file name pattern such as `*.rs`.
    Pattern(String),
    /// Known only when it runs; its source text.
    Dynamic(String),
}

impl Word {
    /// The word's text, whatever its kind.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Pattern(text) | Self::Dynamic(text) => text,
        }
    }
}

/// One simple command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// As written, with its path (`/bin/rm`).
    pub program: Word,
    pub args: Vec<Word>,
    /// What it was run through, outermost first: `sudo`, `env`, `xargs`, `bash`, `find`, `eval`, ...
    pub wrappers: Vec<String>,
    /// `NAME=value` in front of it, and those given to `env` and `sudo`.
    pub assignments: Vec<(String, Word)>,
    /// Its standard input, where that is literal text (here-document, `<<<`, `echo text |`).
    pub stdin: Option<String>,
    /// Invocations whose output it gets, through a pipe or in its words (`$( )`, `<( )`): places in
    /// [`Analysis::invocations`].
    pub fed_by: Vec<usize>,
    /// The folder it runs in; none after a `cd` to a place known only when it runs.
    pub cwd: Option<PathBuf>,
}

impl Invocation {
    /// The program's name without its folder, if it is known.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.program {
            Word::Literal(text) => text.rsplit('/').next(),
            Word::Pattern(_) | Word::Dynamic(_) => None,
        }
    }
}

/// A git command that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitUse {
    /// The subcommand.
    pub command: String,
    /// The folder it runs in, after `-C`; none if known only when it runs.
    pub dir: Option<PathBuf>,
    /// `--git-dir` or `GIT_DIR`, when given.
    pub git_dir: Option<PathBuf>,
    /// `--work-tree` or `GIT_WORK_TREE`, when given.
    pub work_tree: Option<PathBuf>,
    /// The repository-wide things it uses exclusively.
    pub resources: Vec<GitResource>,
    /// What it does to the work tree at large.
    pub tree: TreeUse,
    /// The paths it names, also where it changes only the index. `git checkout x` names `x` here although it may be a
    /// branch, with [`TreeUse::Moves`]: only the repository can tell.
    pub paths: Vec<Target>,
    /// Whether it may run the repository's own hooks, which may do anything.
    pub hooks: bool,
}

/// A thing there is one of in a repository or a work tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GitResource {
    Head,
    Index,
    Stash,
    Refs,
    Worktrees,
    Config,
}

/// What a git command does to the work tree at large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TreeUse {
    /// Nothing.
    Untouched,
    /// Only `paths`; where their files change they are in `writes` too.
    Paths,
    /// May change, create or delete any tracked file (checkout of a branch, `reset --hard`, merge, `stash pop`, clean).
    Moves,
    /// Takes everybody's uncommitted changes along (`add -A`, `commit -a`).
    Sweeps,
    /// Both (`stash`).
    SweepsAndMoves,
}

impl TreeUse {
    /// Whether files of others may change under them.
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Self::Moves | Self::SweepsAndMoves)
    }

    /// Whether changes of others are recorded or put away.
    #[must_use]
    pub fn sweeps(self) -> bool {
        matches!(self, Self::Sweeps | Self::SweepsAndMoves)
    }
}
