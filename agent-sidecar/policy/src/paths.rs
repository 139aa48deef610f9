//! Paths as rules look at them: what a command foresees touching, whether an entry's patterns cover a path, and whether a
//! path is outside of where a session works. All lexical: callers resolve links first.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rr_core::path::RepoPath;
use rr_core::policy::{Base, PathPattern};
use rr_shell::{Analysis, Target};

use crate::call::Call;
use crate::seen::straight;

/// Paths of one call that rules are matched against. A call that names more is a sweep, and its folders are among them.
const PATHS_MAX: usize = 512;

/// Folders below home where tools keep what can be made again, and those of the agents themselves.
const CACHES: &[&str] = &[
    ".cache",
    ".cargo",
    ".rustup",
    ".npm",
    ".pnpm-store",
    ".yarn",
    ".bun",
    ".deno",
    ".gradle",
    ".m2",
    ".ivy2",
    ".nuget",
    "go",
    ".local/share",
    ".local/state",
    ".local/bin",
    ".local/lib",
    "Library/Caches",
    ".pyenv",
    ".nvm",
    ".rbenv",
    ".gem",
    ".bundle",
    ".terraform.d/plugin-cache",
    ".claude/projects",
    ".claude/plans",
    ".claude/todos",
    ".claude/tmp",
    ".codex/tmp",
    ".vscode-server",
    ".ccache",
    ".config/configstore",
    ".docker/buildx",
    ".minikube/cache",
    ".conda",
    ".matplotlib",
    ".ipython",
    ".jupyter",
    ".keras",
    ".electron-gyp",
    ".node-gyp",
    "tmp",
];
const TEMPORARY: &[&str] =
    &["/tmp", "/var/tmp", "/private/tmp", "/var/folders", "/private/var/folders", "/dev", "/run/user"];

/// What a command would read and change, as far as its parse tells, without looking at a disk: for callers that judge a
/// command nobody runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    pub reads: Vec<PathBuf>,
    pub writes: Vec<PathBuf>,
}

impl Foreseen {
    #[must_use]
    pub fn of(analysis: &Analysis) -> Self {
        let reads = analysis.reads.iter().map(|path| straight(path)).collect();
        let writes = analysis.writes.iter().filter_map(|write| place(&write.target)).collect();
        Self { reads, writes }
    }
}

/// The path of a target, or the folder it is in.
pub(crate) fn place(target: &Target) -> Option<PathBuf> {
    match target {
        Target::File(path) | Target::Tree(path) | Target::Into { path, .. } => Some(straight(path)),
        Target::Glob { dir, .. } => Some(straight(dir)),
        Target::Unknown => None,
    }
}

/// A touched path in the three ways an entry may name it, each made when an entry first does.
pub(crate) struct Named<'a> {
    in_repository: OnceCell<Option<RepoPath>>,
    in_home: OnceCell<Option<RepoPath>>,
    at_root: OnceCell<Option<RepoPath>>,
    root: Option<&'a Path>,
    home: Option<&'a Path>,
    pub(crate) path: &'a Path,
}

impl<'a> Named<'a> {
    fn new(path: &'a Path, call: &Call<'a>) -> Self {
        Self {
            in_repository: OnceCell::new(),
            in_home: OnceCell::new(),
            at_root: OnceCell::new(),
            root: call.root,
            home: call.home,
            path,
        }
    }

    pub(crate) fn is_in(&self, pattern: &PathPattern) -> bool {
        let (known, base) = match pattern.base {
            Base::Repository => (&self.in_repository, self.root),
            Base::Home => (&self.in_home, self.home),
            Base::Root => (&self.at_root, Some(Path::new("/"))),
        };
        let below = || {
            let rest = self.path.strip_prefix(base?).ok()?;
            RepoPath::parse(rest.as_os_str().as_encoded_bytes()).ok()
        };
        known.get_or_init(below).as_ref().is_some_and(|path| pattern.covers(path))
    }
}

/// All that the call touches.
pub(crate) fn touched<'a>(call: &Call<'a>) -> Vec<Named<'a>> {
    let mut paths: Vec<&PathBuf> = call.reads.iter().chain(call.writes).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.into_iter().take(PATHS_MAX).map(|path| Named::new(path, call)).collect()
}

/// Whether a session has no business changing this path.
pub(crate) fn is_outside(path: &Path, call: &Call<'_>) -> bool {
    let Some(root) = call.root else {
        return false;
    };
    let temporary = || {
        TEMPORARY.iter().any(|folder| path.starts_with(folder))
            || call.temporary.iter().any(|folder| path.starts_with(folder))
    };
    let cache = || {
        let below = call.home.and_then(|home| path.strip_prefix(home).ok());
        below.is_some_and(|below| CACHES.iter().any(|cache| below.starts_with(cache)))
    };
    !(path.starts_with(root) || temporary() || cache())
}

/// Whether this is a folder for what nobody needs for long, by its own name.
pub(crate) fn is_temporary(path: &Path, call: &Call<'_>) -> bool {
    matches!(path.to_str(), Some("/tmp" | "/var/tmp" | "/private/tmp")) || call.temporary.iter().any(|own| own == path)
}

/// Whether losing all below this path loses what nobody can make again: the roots of the machine, home folders, the
/// repository itself and what is around it.
pub(crate) fn is_precious(path: &Path, call: &Call<'_>) -> bool {
    let depth = path.components().count().saturating_sub(1);
    let holds = |place: Option<&Path>| place.is_some_and(|place| place.starts_with(path));
    let home = matches!(path.parent().and_then(Path::to_str), Some("/home" | "/Users"));
    let system = [
        "/etc",
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/boot",
        "/sys",
        "/proc",
        "/dev",
        "/System",
        "/Library",
        "/Applications",
    ]
    .iter()
    .any(|folder| path.starts_with(folder));
    let git = call.root.is_some_and(|root| path == root.join(".git"));
    depth <= 1
        || home
        || system
        || git
        || holds(call.home)
        || holds(call.root)
        || matches!(path.to_str(), Some("/var/lib" | "/var/log"))
}
