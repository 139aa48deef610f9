//! All that touches git. The `git` program is the authority on status; git2 opens repositories and reads what is stored
//! (D9a). Nothing here writes to a user's repository. Start at [`Worktree`], then [`Worktree::dirty`]; commits are [`History`]'s.

mod command;
mod earlier;
mod history;
mod hooks;
mod identity;
mod status;
mod worktree;

pub use command::{GitError, version};
pub use history::{Commit, History, PERSON, SESSION_TRAILER, Tips};
pub use hooks::{MessageError, Named, bare_repository, hooks_folder, is_ignored, name_session};
pub use status::{Dirty, Stamp};
pub use worktree::Worktree;
