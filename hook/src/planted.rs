//! What tests put into this program on purpose: a failure, and the known bug that makes it harmful. Owns the two variables
//! that say so; a release build reads neither. Next: `guard.rs`, which is to turn any failure into a refusal.

/// Whether a known bug is in. B13: a panic ends in exit code 101, which agents take as "go on".
pub(crate) fn bug(name: &str) -> bool {
    cfg!(debug_assertions) && std::env::var_os("RAILROAD_TEST_BUG").is_some_and(|bug| bug == name)
}

/// Fails as a bug of this program would, if a test asks for it.
pub(crate) fn fault() {
    assert!(!cfg!(debug_assertions) || std::env::var_os("RAILROAD_TEST_FAULT").is_none(), "asked to fail");
}
