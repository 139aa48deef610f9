//! One call of a program as its effects see it, with the shorthands they share for naming what is read and written.
//! It knows no program. Used by `programs` and `git`.

use std::path::Path;

use crate::field::Field;
use crate::findings::Findings;
use crate::model::{How, Target};
use crate::options::{Parsed, Spec};
use crate::shell::Flow;

pub(crate) struct Call<'c> {
    /// Without its folder.
    pub(crate) name: &'c str,
    pub(crate) args: &'c [Field],
    pub(crate) cwd: Option<&'c Path>,
    pub(crate) stdin: &'c Flow,
    /// `NAME=value` in front of it.
    pub(crate) assignments: &'c [(String, Field)],
}

impl Call<'_> {
    pub(crate) fn parsed(&self, short: &str, long: &[&str]) -> Parsed {
        Parsed::new(self.args, Spec::new(short, long))
    }

    /// The same, for programs whose options end at the first operand.
    pub(crate) fn parsed_in_order(&self, short: &str, long: &[&str]) -> Parsed {
        Parsed::new(self.args, Spec::in_order(short, long))
    }

    /// As [`Call::parsed`], and unforeseen when a word could be an option that changes what it does.
    pub(crate) fn strict(&self, short: &str, long: &[&str], out: &mut Findings) -> Parsed {
        let parsed = self.parsed(short, long);
        if parsed.loose {
            self.dynamic(out);
        }
        parsed
    }

    pub(crate) fn dynamic(&self, out: &mut Findings) {
        out.unforeseen(format!("a word of `{}` is known only when it runs", self.name));
    }

    /// The first word, when it is a plain one, as programs with subcommands have.
    pub(crate) fn verb(&self) -> &str {
        self.args.first().and_then(Field::known).unwrap_or_default()
    }

    pub(crate) fn write(&self, field: &Field, how: How, out: &mut Findings) {
        out.write(field.target(self.cwd), how, self.name);
    }

    pub(crate) fn write_all(&self, fields: &[Field], how: How, out: &mut Findings) {
        for field in fields {
            self.write(field, how, out);
        }
    }

    pub(crate) fn write_tree(&self, field: &Field, how: How, out: &mut Findings) {
        out.write(field.tree(self.cwd), how, self.name);
    }

    /// A file with a plain name in the folder it runs in.
    pub(crate) fn write_here(&self, file: &str, how: How, out: &mut Findings) {
        self.write(&Field::literal(file), how, out);
    }

    pub(crate) fn read_all(&self, fields: &[Field], out: &mut Findings) {
        for field in fields {
            if field.known() != Some("-") {
                out.read(field, self.cwd);
            }
        }
    }

    pub(crate) fn unforeseen(&self, why: &str, out: &mut Findings) {
        out.unforeseen(format!("`{}` {why}", self.name));
    }
}

/// Where a program like `cp` or `mv` puts `source`, given its last operand.
pub(crate) fn placed(source: &Field, dest: &Field, cwd: Option<&Path>, sure_folder: bool, tree: bool) -> Target {
    let name = base_name(source);
    let folder =
        dest.known().is_some_and(|text| text.ends_with('/') || is_dots(text.rsplit('/').next().unwrap_or(text)));
    let (path, tree) = match dest.target(cwd) {
        Target::File(path) => (path, tree),
        other => return other,
    };
    match (name, folder || sure_folder) {
        (Some(name), true) if tree => Target::Tree(path.join(name)),
        (Some(name), true) => Target::File(path.join(name)),
        (Some(name), false) => Target::Into { path, name, tree },
        (None, true) if !tree => last_pattern(source)
            .map_or_else(|| Target::Tree(path.clone()), |pattern| Target::Glob { dir: path.clone(), pattern }),
        (None, _) => Target::Tree(path),
    }
}

/// The pattern of the last component, where it is one.
fn last_pattern(field: &Field) -> Option<String> {
    let text = field.source();
    let name = text.rsplit('/').next().unwrap_or(&text);
    (!field.has_unknown() && name.contains(['*', '?', '[']) && !name.contains("**")).then(|| name.to_owned())
}

fn is_dots(name: &str) -> bool {
    matches!(name, "." | "..")
}

/// The last component, unless it is known only when it runs or means the content of a folder (`x/.`).
fn base_name(field: &Field) -> Option<String> {
    let text = field.known()?.trim_end_matches('/');
    let name = text.rsplit('/').next().unwrap_or(text);
    (!name.is_empty() && !is_dots(name)).then(|| name.to_owned())
}
