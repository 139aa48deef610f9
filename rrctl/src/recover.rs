//! What a recovery of sessions that got into each other's way has to know: what each has changed and where they meet (`work`), how
//! far to go back (`good`), and where each should work from now on (`scopes`). Plain data; the steps are `cmd::recover`'s.

pub(crate) mod good;
pub(crate) mod scopes;
pub(crate) mod work;
