//! The team's entries, made ready: an entry applies where everything it names holds (words, paths, tool, agent) and no
//! exception does. Indexed by program, so that a thousand of them cost what the few that could match cost.

use std::collections::HashMap;

use rr_core::policy::Entry;

use crate::call::Call;
use crate::paths::Named;
use crate::pattern::Pattern;
use crate::seen::{Seen, like};
use crate::sql::Statement;

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) entry: Entry,
    pub(crate) pattern: Option<Pattern>,
}

/// What an entry matched.
pub(crate) struct Matched<'a> {
    pub(crate) listed: &'a Listed,
    /// The invocation it matched, where it names a command.
    pub(crate) at: Option<usize>,
    pub(crate) what: String,
}

/// The entries of one program: by their first subcommand, and those without one.
#[derive(Clone, Debug, Default)]
struct OfProgram {
    by_verb: HashMap<String, Vec<usize>>,
    rest: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    entries: Vec<Listed>,
    by_program: HashMap<String, OfProgram>,
    by_statement: HashMap<String, Vec<usize>>,
    /// First bytes of the words above: hardly any word of a dump begins so.
    statement_bytes: Vec<u8>,
    /// Programs given by a pattern, and entries that name no command.
    others: Vec<usize>,
    wordless: Vec<usize>,
}

impl List {
    pub(crate) fn new(entries: &[Entry]) -> Self {
        let mut list = Self::default();
        for entry in entries {
            let at = list.entries.len();
            let pattern = entry.words.as_ref().map(Pattern::new);
            match &pattern {
                None => list.wordless.push(at),
                Some(Pattern::Builtin(_)) => {}
                Some(Pattern::Sql(words)) => {
                    list.statement_bytes.extend(words[0].bytes().next());
                    list.by_statement.entry(words[0].clone()).or_default().push(at);
                }
                Some(pattern) if pattern.programs().iter().any(|name| name.contains(['*', '?'])) => {
                    list.others.push(at);
                }
                Some(pattern) => {
                    for program in pattern.programs() {
                        let of = list.by_program.entry(program.to_owned()).or_default();
                        match pattern.first_verb() {
                            Some(verb) => of.by_verb.entry(verb.to_owned()).or_default().push(at),
                            None => of.rest.push(at),
                        }
                    }
                }
            }
            list.entries.push(Listed { entry: entry.clone(), pattern });
        }
        list
    }

    pub(crate) fn entries(&self) -> &[Listed] {
        &self.entries
    }

    /// The first entry that applies to the call, by the order of its commands, then of its paths.
    pub(crate) fn matches<'a>(&'a self, call: &Call<'_>, seen: &[Seen<'_>], paths: &[Named<'_>]) -> Vec<Matched<'a>> {
        let mut out = Vec::new();
        for one in seen {
            for at in self.candidates(one) {
                let listed = &self.entries[at];
                let pattern = listed.pattern.as_ref().filter(|pattern| pattern.matches(one));
                if pattern.is_some() && listed.applies(call, paths) && !listed.excepts(one) {
                    out.push(Matched { listed, at: Some(one.at), what: one.shown() });
                }
            }
        }
        for at in &self.wordless {
            let listed = &self.entries[*at];
            if listed.applies(call, paths) && !seen.iter().any(|one| listed.excepts(one)) {
                let path = paths.iter().find(|path| listed.entry.paths.iter().any(|pattern| path.is_in(pattern)));
                let what = path.map_or_else(|| call.tool.to_owned(), |path| path.path.display().to_string());
                out.push(Matched { listed, at: None, what });
            }
        }
        out
    }

    fn candidates(&self, seen: &Seen<'_>) -> Vec<usize> {
        let mut out: Vec<usize> = self.others.clone();
        if let Some(of) = self.by_program.get(seen.name) {
            out.extend(&of.rest);
            if !of.by_verb.is_empty() {
                out.extend(seen.leading().filter_map(|text| of.by_verb.get(text)).flatten());
            }
        }
        if !self.by_statement.is_empty() && !seen.statements.is_empty() {
            let words = seen.statements.iter().flat_map(Statement::words);
            let begins =
                words.filter(|word| word.bytes().next().is_some_and(|byte| self.statement_bytes.contains(&byte)));
            out.extend(begins.filter_map(|word| self.by_statement.get(word)).flatten());
        }
        out.sort_unstable();
        out.dedup();
        out
    }
}

impl Listed {
    fn applies(&self, call: &Call<'_>, paths: &[Named<'_>]) -> bool {
        let one_of = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| like(n, name));
        let entry = &self.entry;
        one_of(&entry.tools, call.tool)
            && one_of(&entry.agents, call.agent)
            && (entry.paths.is_empty()
                || paths.iter().any(|path| entry.paths.iter().any(|pattern| path.is_in(pattern))))
    }

    fn excepts(&self, seen: &Seen<'_>) -> bool {
        self.entry.except.iter().any(|words| Pattern::is_in(words, seen))
    }

    /// The entry in words, as it is told.
    pub(crate) fn shown(&self) -> String {
        if let Some(words) = &self.entry.words {
            return words.to_string();
        }
        let paths: Vec<String> = self.entry.paths.iter().map(ToString::to_string).collect();
        let all = [&paths, &self.entry.tools, &self.entry.agents];
        all.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}
