//! `find`: which files it looks at, what it deletes or writes itself, and the commands it runs (which `nested` follows).

use crate::calls::Call;
use crate::field::{Bit, Field};
use crate::findings::Findings;
use crate::model::{How, Target};

pub(crate) struct FindCommand {
    pub(crate) words: Vec<Field>,
    /// `-execdir`: it runs in the folder of each file.
    pub(crate) in_folder: bool,
}

/// A `find` command taken apart.
pub(crate) struct FindQuery {
    /// What may be found: each start with a pattern.
    pub(crate) found: Vec<Field>,
    pub(crate) commands: Vec<FindCommand>,
    deletes: bool,
    written: Vec<Field>,
    prints_else: bool,
    loose: bool,
}

impl FindQuery {
    pub(crate) fn new(args: &[Field]) -> Self {
        let mut query = Self {
            found: Vec::new(),
            commands: Vec::new(),
            deletes: false,
            written: Vec::new(),
            prints_else: false,
            loose: false,
        };
        let options = args
            .iter()
            .take_while(|arg| matches!(arg.known(), Some("-H" | "-L" | "-P" | "-E" | "-X" | "-s" | "-x")))
            .count();
        let args = &args[options..];
        let starts = args.iter().take_while(|arg| !arg.prefix().starts_with(['-', '(', '!'])).count();
        let mut names = Vec::new();
        query.expression(&args[starts..], &mut names);
        query.loose |= args[..starts].iter().any(Field::may_be_option);
        let mut roots = args[..starts].to_vec();
        if roots.is_empty() {
            roots.push(Field::literal("."));
        }
        query.found = roots.iter().map(|root| found_below(root, &names)).collect();
        query
    }

    fn expression(&mut self, args: &[Field], names: &mut Vec<Option<String>>) {
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            self.loose |= arg.may_be_option();
            match arg.prefix() {
                "-exec" | "-ok" | "-execdir" | "-okdir" => {
                    let words: Vec<Field> =
                        args.by_ref().take_while(|word| !matches!(word.known(), Some(";" | "+"))).cloned().collect();
                    self.commands.push(FindCommand { words, in_folder: arg.prefix().ends_with("dir") });
                }
                "-delete" => self.deletes = true,
                "-fprint" | "-fprint0" | "-fls" => self.written.extend(args.next().cloned()),
                "-fprintf" => {
                    self.written.extend(args.next().cloned());
                    args.next();
                }
                "-printf" | "-ls" => self.prints_else = true,
                "-name" => names.push(args.next().and_then(Field::known).map(str::to_owned)),
                "-o" | "-or" | "!" | "-not" | "," => names.push(None),
                _ => {}
            }
        }
    }

    /// Whether its output is the names it finds.
    pub(crate) fn prints_names(&self) -> bool {
        !self.prints_else && self.commands.is_empty() && !self.deletes && !self.loose
    }
}

/// Everything below `root` that one single `-name` lets through.
fn found_below(root: &Field, names: &[Option<String>]) -> Field {
    let mut out = root.clone();
    if !root.prefix().ends_with('/') || root.0.len() > 1 {
        out.push_text("/");
    }
    match names {
        [Some(name)] if !name.contains(['[', '{', '\\']) => {
            out.push(Bit::Pattern(format!("**/{name}")));
        }
        _ => out.push(Bit::Pattern("**".to_owned())),
    }
    out
}

pub(crate) fn effect(call: &Call<'_>, query: &FindQuery, out: &mut Findings) {
    if query.loose {
        call.dynamic(out);
    }
    for file in &query.written {
        call.write(file, How::Write, out);
    }
    if query.deletes {
        for found in &query.found {
            let target = match found.target(call.cwd) {
                Target::Glob { dir, pattern } if pattern == "**" => Target::Tree(dir),
                other => other,
            };
            out.write(target, How::Delete, "find");
        }
    }
}
