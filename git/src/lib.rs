//! All that touches git. The `git` program is the authority on status; git2 opens repositories and reads what is stored
//! (D9a). Only a revert that lands writes to a user's repository. Start at [`Worktree`], then [`Worktree::dirty`]; commits are
//! [`History`]'s, other trees and landings the [`Mirror`]'s.
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
mod mirror;
mod past;
mod patch;
mod status;
mod vault;
mod worktree;

pub use apply::{Applied, ApplyError, apply};
pub use checkpoint::Checkpoint;
pub use command::{GitError, version};
pub use earlier::PutEarlier;
pub use ground::{Contents, Ground, absent_folders, plan_rollback};
pub use history::{CheckedOut, Commit, History, PERSON, SESSION_TRAILER, Tips};
pub use hooks::{MessageError, Named, bare_repository, hooks_folder, is_ignored, name_session};
pub use mirror::{
    CHANGES_MAX, Changes, CheckTree, Combined, Fetched, Followed, LOOK_BYTES_MAX, Landing, Look, Looked,
    MERGE_EXCERPT_MAX, Merged, Mirror, MirrorError, MirrorTidied, Moved, Note, Noted, Operation, Place, Queue,
    QueuedCommit, Recovered, Refusal, RevertPlan, Sent, Step, Union,
};
pub use patch::changed_lines;
pub use status::{Dirty, Stamp};
pub use vault::{Adopted, Damage, KEEP_BYTES_MAX, Peek, Tidied, Vault, VaultError, name_of};
pub use worktree::Worktree;
