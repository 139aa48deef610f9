//! All that touches git. The `git` program is the authority on status; git2 opens repositories and reads what is stored
//! (D9a). Nothing here writes to a user's repository. Start at [`Worktree`], then [`Worktree::dirty`].

mod command;
mod identity;
mod status;
mod worktree;

pub use command::{GitError, version};
pub use status::Dirty;
pub use worktree::Worktree;
