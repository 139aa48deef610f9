//! One line for an analysis, so that a table of commands can be read and compared.
//! Paths below the working folder `/w` are shown without it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;

use rr_shell::{Analysis, Certainty, Env, GitUse, Target, Word, analyse};

/// Analyses in `/w` with the home `/home/u`.
pub(crate) fn look(command: &str) -> Analysis {
    let env = Env { cwd: Path::new("/w"), home: Some(Path::new("/home/u")) };
    analyse(command, &env)
}

/// Certainty, then writes, reads and git uses, in order.
pub(crate) fn line(analysis: &Analysis) -> String {
    let mut parts = vec![
        match analysis.certainty {
            Certainty::ReadOnly => "ro",
            Certainty::Foreseen => "ok",
            Certainty::Unforeseen(_) => "??",
            Certainty::Unparsable(_) => "!!",
        }
        .to_owned(),
    ];
    parts.extend(analysis.writes.iter().map(|write| format!("{:?}:{}", write.how, target(&write.target))));
    parts.extend(analysis.reads.iter().map(|path| format!("<{}", shown(path))));
    parts.extend(analysis.git.iter().map(git));
    parts.join(" ")
}

fn git(usage: &GitUse) -> String {
    let mut out = format!("git({:?} {:?}", usage.resources, usage.tree);
    for path in &usage.paths {
        out.push(' ');
        out.push_str(&target(path));
    }
    match &usage.dir {
        Some(dir) if dir == Path::new("/w") => {}
        Some(dir) => out.push_str(&format!(" in={}", shown(dir))),
        None => out.push_str(" in=?"),
    }
    out + ")"
}

fn target(target: &Target) -> String {
    match target {
        Target::File(path) => shown(path),
        Target::Tree(path) => format!("{}/", shown(path)),
        Target::Glob { dir, pattern } => format!("{}//{pattern}", shown(dir)),
        Target::Into { path, name, tree } => {
            let tree = if *tree { "/" } else { "" };
            format!("{}[/{name}]{tree}", shown(path))
        }
        Target::Unknown => "?".to_owned(),
    }
}

fn shown(path: &Path) -> String {
    match path.strip_prefix("/w") {
        Ok(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
        Ok(rest) => rest.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// Every command found, with its wrappers in front.
pub(crate) fn commands(analysis: &Analysis) -> Vec<String> {
    analysis
        .invocations
        .iter()
        .map(|invocation| {
            let words = std::iter::once(&invocation.program).chain(&invocation.args);
            let words: Vec<String> = words.map(word).collect();
            let mut shown = invocation.wrappers.join(">");
            if !shown.is_empty() {
                shown.push_str("> ");
            }
            shown + &words.join(" ")
        })
        .collect()
}

fn word(word: &Word) -> String {
    match word {
        Word::Literal(text) => text.clone(),
        Word::Pattern(text) => format!("~{text}"),
        Word::Dynamic(text) => format!("?{text}"),
    }
}

/// Compares a table of commands with their lines, and shows all that differ.
pub(crate) fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(command, expected)| (command, expected, line(&look(command))))
        .filter(|(_, expected, found)| **expected != found)
        .map(|(command, expected, found)| format!("{command}\n  expected {expected}\n  found    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
