//! Every simple command is found, through whatever it is wrapped in, so that rules can match it.
//! A row: the command, and what is run: `wrapper> program words`, `~` before a pattern, `?` before an unknown word.

mod common;

use common::{commands, look};

const TABLE: &[(&str, &[&str])] = &[
    ("sudo rm -rf x", &["sudo> rm -rf x"]),
    ("sudo -n -E env A=1 rm x", &["sudo>env> rm x"]),
    (r#"find . -type f -exec rm {} \;"#, &["find . -type f -exec rm {} ;", "find> rm ~./**"]),
    ("echo a b | xargs rm", &["echo a b", "xargs rm", "xargs> rm a b"]),
    (
        r#"bash -lc 'sh -c "rm \"a b\""'"#,
        &[r#"bash -lc sh -c "rm \"a b\"""#, r#"bash> sh -c rm "a b""#, "bash>sh> rm a b"],
    ),
    ("sh -c 'rm $1' _ a", &["sh -c rm $1 _ a", "sh> rm a"]),
    (r#"eval "terra"'form' destroy"#, &["eval terraform destroy", "eval> terraform destroy"]),
    ("flock /tmp/l -c 'rm x'", &["flock /tmp/l -c rm x", "flock> rm x"]),
    ("/bin/rm x", &["/bin/rm x"]),
    ("echo '$(rm x)'", &["echo $(rm x)"]),
    ("diff <(sort a) <(rm b)", &["sort a", "rm b", "diff /dev/fd/63 /dev/fd/63"]),
    ("{rm,-rf,x}", &["rm -rf x"]),
    (r#"$'\x72\x6d' x"#, &["rm x"]),
    ("$CMD -rf x", &["?$CMD -rf x"]),
    ("$SUDO rm x", &["?$SUDO rm x", "$SUDO> rm x"]),
    ("rm -rf ./*", &["rm -rf ~./*"]),
    (r#"f() { rm "$1"; }; f a"#, &["f a", "rm a"]),
    ("trap 'rm x' EXIT", &["trap rm x EXIT", "trap> rm x"]),
    ("cat <<EOF | sh\nrm x\nEOF", &["cat", "sh", "sh> rm x"]),
    (r#"echo "rm -rf /" # rm -rf /"#, &["echo rm -rf /"]),
    ("git push --force", &["git push --force"]),
    ("npx -y prettier -w a.ts", &["npx -y prettier -w a.ts", "npx> prettier -w a.ts"]),
    ("rm a\nif", &["rm a"]),
    ("cat f | xargs -I % sh -c 'rm %'", &["cat f", "xargs -I % sh -c rm %", "xargs> sh -c ?rm <standard input>"]),
    ("su root -c 'rm x'", &["su root -c rm x", "su> rm x"]),
    ("{fd}>log rm x", &["rm x"]),
    ("env -S 'rm x'", &["env -S rm x", "env> rm x"]),
    ("watch -n 1 'rm x'", &["watch -n 1 rm x", "watch> rm x"]),
    ("sudo sh -c 'echo x > /etc/f'", &["sudo> sh -c echo x > /etc/f", "sudo>sh> echo x"]),
    ("psql <<SQL\nDROP TABLE a;\nSQL", &["psql"]),
];

#[test]
fn commands_are_found_through_what_wraps_them() {
    for (command, expected) in TABLE {
        assert_eq!(commands(&look(command)), *expected, "{command}");
    }
}

#[test]
fn here_document_is_given_with_its_command() {
    let analysis = look("psql -d app <<'SQL'\nDROP TABLE a;\nSQL\n");
    let found = &analysis.invocations[0];
    assert_eq!(found.name(), Some("psql"));
    assert_eq!(found.stdin.as_deref(), Some("DROP TABLE a;\n"));
}

#[test]
fn folder_and_assignments_are_given_with_the_command() {
    let analysis = look("cd sub && A=1 sudo env B=2 rm x");
    let found = &analysis.invocations[1];
    assert_eq!(found.cwd.as_deref(), Some(std::path::Path::new("/w/sub")));
    let names: Vec<&str> = found.assignments.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(found.wrappers, ["sudo", "env"]);
}
