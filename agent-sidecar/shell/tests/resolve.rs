//! `Target::resolve` settles where a copy or move ends, for a caller that can look at the disk.

mod common;

use std::path::{Path, PathBuf};

use rr_shell::{Env, Target, analyse};

#[test]
fn a_copy_into_a_folder_is_resolved_by_the_caller() {
    let target = common::look("cp a b").writes[0].target.clone();
    assert_eq!(target.clone().resolve(|_| false), Target::File(PathBuf::from("/w/b")));
    assert_eq!(target.resolve(|path| path == Path::new("/w/b")), Target::File(PathBuf::from("/w/b/a")));
}

#[test]
fn without_a_home_its_paths_are_unknown() {
    let env = Env { cwd: Path::new("/w"), home: None };
    for command in ["rm ~/x", "rm \"$HOME/x\"", "cd && rm x"] {
        assert_eq!(analyse(command, &env).writes[0].target, Target::Unknown, "{command}");
    }
}
