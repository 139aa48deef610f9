//! All that touches git. The `git` program is the authority on status; git2 opens repositories and reads what is stored
//! (D9a). Nothing here writes to a user's repository. Start at [`Worktree`], then [`Worktree::dirty`]; commits are [`History`]'s.
//! What files held is in the [`Vault`]; [`Ground`] is what a rollback is planned on, [`apply`] writes it down.

mod apply;
mod checkpoint;
mod command;
pub mod disk;
mod earlier;
mod ground;
mod history;
mod hooks;
mod identity;
mod merge;
mod status;
mod vault;
mod worktree;

pub use apply::{Applied, ApplyError, apply};
pub use checkpoint::Checkpoint;
pub use command::{GitError, version};
pub use ground::{Contents, Ground, absent_folders, plan_rollback};
pub use history::{Commit, History, PERSON, SESSION_TRAILER, Tips};
pub use hooks::{MessageError, Named, bare_repository, hooks_folder, is_ignored, name_session};
pub use status::{Dirty, Stamp};
pub use vault::{Adopted, Damage, KEEP_BYTES_MAX, Peek, Tidied, Vault, VaultError, name_of};
pub use worktree::Worktree;
