use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
const PIECES: &[&str] = &[
    "echo", "rm", "-rf", "x", " ", " ", "\n", ";", "&&", "||", "|", "&", "(", ")", "((", "))", "{ ", "}", "$(", "${", "$((",
    "`", "'", "\"", "\\", "$'", "$", "x=", "a[", "]", "[[ ", " ]]", "if ", " then ", "else ", "fi ", "for f in ", " do ", " done ",
    "while ", "case x in ", " esac ", "in", "a)", ";;", "<", ">", ">>", "<<", "<<<", "<(", ">(", "<<EOF", "EOF", "2>&1", "&>", "*",
    "?", "{1..3}", "{a,b}", "~", "~9", "#", "!", "=", "sed -i", "git", "${a[", "${a:-", "[", "((", "=~", "xargs ", "find . -exec ", "\\;",
    "bash -c ", "eval ", "f()", "function ", "sudo ", "{99999999999999999999..1}", "99999999999>", "~99999999999999999999999/", "@(", "!(", "coproc ", "time ", "$[",
];
#[test]
fn fuzz() {
    let mut r = TestRunner::deterministic();
    let s = prop::collection::vec(prop::sample::select(PIECES), 0..120);
    let mut worst = std::time::Duration::ZERO;
    for i in 0..60000 {
        let t = s.new_tree(&mut r).unwrap().current().concat();
        std::fs::write("/tmp/last.txt", t.as_bytes()).unwrap();
        let t0 = std::time::Instant::now();
        let a = rr_shell::analyse(&t, &rr_shell::Env{cwd: std::path::Path::new("/w"), home: None});
        if let rr_shell::Certainty::Unparsable(w) = &a.certainty && w.contains("gave up") { eprintln!("PANIC {t:?}"); }
        if t0.elapsed() > worst { worst = t0.elapsed(); eprintln!("{i} {worst:?} {t:?}"); }
    }
}
#[test]
fn one() {
    let t = std::fs::read_to_string("/tmp/one.txt").unwrap();
    let _ = rr_shell::analyse(&t, &rr_shell::Env{cwd: std::path::Path::new("/w"), home: None});
}
