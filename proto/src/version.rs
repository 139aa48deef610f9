//! Which versions of our programs speak with one another: the same, or one minor version apart. Each side says its own with
//! every request and every answer, under [`VERSION_KEY`]. It does not know what is asked.

/// The key of the metadata that carries a program's version.
pub const VERSION_KEY: &str = "railroad-version";
/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether this program and one of version `theirs` understand each other: one minor version apart at most, so that a fleet
/// can be updated machine by machine.
#[must_use]
pub fn speaks_with(theirs: &str) -> bool {
    are_near(VERSION, theirs)
}

fn are_near(ours: &str, theirs: &str) -> bool {
    match (major_minor(ours), major_minor(theirs)) {
        (Some((our_major, our_minor)), Some((major, minor))) => our_major == major && our_minor.abs_diff(minor) <= 1,
        _ => false,
    }
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let numbers = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().map(|_patch| numbers)
}

/// What is said to either side of a pair that is too far apart.
#[must_use]
pub fn too_far_apart(other: &str, theirs: &str) -> String {
    let theirs: String = theirs.chars().filter(char::is_ascii_graphic).take(32).collect();
    format!("{other} is version {theirs}, this program {VERSION}: they may be one minor version apart, no more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_version_either_way_is_understood_and_no_more() {
        for (ours, theirs, near) in [
            ("1.4.0", "1.4.9", true),
            ("1.4.0", "1.5.0", true),
            ("1.4.0", "1.3.7-rc.1", true),
            ("1.4.0", "1.6.0", false),
            ("1.4.0", "1.2.0", false),
            ("1.0.0", "2.0.0", false),
            ("1.4.0", "1.4", false),
            ("1.4.0", "", false),
            ("1.4.0", "x.y.z", false),
        ] {
            assert_eq!(are_near(ours, theirs), near, "{ours} {theirs}");
        }
        assert!(speaks_with(VERSION));
    }

    #[test]
    fn what_the_other_side_sent_cannot_move_the_cursor() {
        assert!(!too_far_apart("the coordinator", "\u{1b}[2J").contains('\u{1b}'));
    }
}
