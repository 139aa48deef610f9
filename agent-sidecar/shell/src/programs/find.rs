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
        let mut choices = Choices::default();
        query.expression(&args[starts..], &mut choices);
        let names = choices.names();
        query.loose |= args[..starts].iter().any(Field::may_be_option);
        let mut roots = args[..starts].to_vec();
        if roots.is_empty() {
            roots.push(Field::literal("."));
        }
        query.found = roots.iter().flat_map(|root| found_below(root, names.as_deref())).collect();
        query
    }

    fn expression(&mut self, args: &[Field], choices: &mut Choices) {
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            self.loose |= arg.may_be_option();
            choices.see(arg.prefix());
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
                "-name" => choices.name(args.next().and_then(Field::known)),
                _ => {}
            }
        }
    }

    /// Whether its output is the names it finds.
    pub(crate) fn prints_names(&self) -> bool {
        !self.prints_else && self.commands.is_empty() && !self.deletes && !self.loose
    }
}

/// Names that differ more than this are no list any more.
const NAMES_MAX: usize = 16;

/// The alternatives of an expression (`.. -o ..`), each with the name that all it finds must have.
#[derive(Default)]
struct Choices {
    done: Vec<Choice>,
    now: Choice,
    /// The next test is turned round.
    negated: bool,
    /// Something is said to be done with what is found, so what is only pruned is not found.
    acts: bool,
    /// A whole group is turned round, or a list has parts of its own: not followed.
    unclear: bool,
}

#[derive(Default)]
struct Choice {
    name: Option<String>,
    prunes: bool,
}

impl Choices {
    fn see(&mut self, word: &str) {
        match word {
            "-o" | "-or" => self.done.push(std::mem::take(&mut self.now)),
            "!" | "-not" => self.negated = !self.negated,
            "(" | "\\(" if self.negated => self.unclear = true,
            "," => self.unclear = true,
            _ => {
                let acts = matches!(word, "-print" | "-print0" | "-delete") || word.starts_with("-exec");
                self.now.prunes = word == "-prune" || self.now.prunes && !acts;
                self.acts |= acts;
                // The word of `-name` is seen by `name`, right after this.
                self.negated &= word == "-name";
            }
        }
    }

    fn name(&mut self, name: Option<&str>) {
        let usable = name.filter(|name| !std::mem::take(&mut self.negated) && !name.contains(['[', '{', '\\']));
        self.now.name = self.now.name.take().or_else(|| usable.map(str::to_owned));
    }

    /// The names of all that may be found; none if that is everything.
    fn names(mut self) -> Option<Vec<String>> {
        self.done.push(self.now);
        let acts = self.acts;
        let found = self.done.into_iter().filter(|choice| !(choice.prunes && acts));
        let names: Vec<String> = found.map(|choice| choice.name).collect::<Option<_>>()?;
        (!self.unclear && (1..=NAMES_MAX).contains(&names.len())).then_some(names)
    }
}

/// What lies below `root` and has one of these names, or everything.
fn found_below(root: &Field, names: Option<&[String]>) -> Vec<Field> {
    let below = |pattern: String| {
        let mut out = root.clone();
        if !root.prefix().ends_with('/') || root.0.len() > 1 {
            out.push_text("/");
        }
        out.push(Bit::Pattern(pattern));
        out
    };
    match names {
        Some(names) => names.iter().map(|name| below(format!("**/{name}"))).collect(),
        None => vec![below("**".to_owned())],
    }
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
