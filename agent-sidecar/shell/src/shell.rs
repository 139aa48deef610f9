//! What a shell remembers between commands, as far as it is known: folder, variables, functions, positional words.
//! Copied where the shell would fork, merged where it may or may not have run something. Used by `walk`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use brush_parser::ast;

use crate::field::Field;

/// A variable: one field, or several for an array or the positional words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) fields: Vec<Field>,
    pub(crate) list: bool,
}

impl Value {
    pub(crate) fn scalar(field: Field) -> Self {
        Self { fields: vec![field], list: false }
    }

    pub(crate) fn unknown(source: &str) -> Self {
        Self::scalar(Field::unknown(source, true))
    }
}

/// What a command may find on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Nothing was given to it.
    Nothing,
    Text(String),
    /// Names of files, one a line.
    Paths(Vec<Field>),
    Unknown,
}

/// The state of one shell.
#[derive(Clone)]
pub(crate) struct Shell {
    /// None after a `cd` to somewhere unknown.
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) folders: Vec<Option<PathBuf>>,
    pub(crate) previous: Option<PathBuf>,
    pub(crate) vars: BTreeMap<String, Value>,
    pub(crate) functions: BTreeMap<String, Rc<ast::FunctionBody>>,
    pub(crate) aliases: BTreeMap<String, String>,
    pub(crate) positional: Option<Vec<Field>>,
    pub(crate) wrappers: Vec<String>,
    pub(crate) stdin: Flow,
    /// Invocations (from, to) whose output the commands get.
    pub(crate) fed: Vec<(usize, usize)>,
    /// `exit` or `return` was reached: what follows in this list does not run.
    pub(crate) left: bool,
}

impl Shell {
    pub(crate) fn new(cwd: PathBuf) -> Self {
        Self {
            cwd: Some(cwd),
            folders: Vec::new(),
            previous: None,
            vars: BTreeMap::new(),
            functions: BTreeMap::new(),
            aliases: BTreeMap::new(),
            positional: None,
            wrappers: Vec::new(),
            stdin: Flow::Nothing,
            fed: Vec::new(),
            left: false,
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.vars.insert(name.to_owned(), value);
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.set(name, Value::unknown(&format!("${name}")));
    }

    pub(crate) fn forget_all(&mut self) {
        let names: Vec<String> = self.vars.keys().cloned().collect();
        for name in names {
            self.forget(&name);
        }
    }

    pub(crate) fn change_folder(&mut self, to: Option<PathBuf>) {
        self.previous = std::mem::replace(&mut self.cwd, to);
    }

    /// Becomes what is certain whether `other` ran or not.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.left {
            return;
        }
        if self.left {
            *self = other.clone();
            return;
        }
        if self.cwd != other.cwd {
            self.cwd = None;
        }
        if self.previous != other.previous {
            self.previous = None;
        }
        if self.folders != other.folders {
            self.folders.clear();
        }
        if self.positional != other.positional {
            self.positional = None;
        }
        let names: Vec<String> = self.vars.keys().chain(other.vars.keys()).cloned().collect();
        for name in names {
            if self.vars.get(&name) != other.vars.get(&name) {
                self.forget(&name);
            }
        }
        for (name, body) in &other.functions {
            self.functions.entry(name.clone()).or_insert_with(|| Rc::clone(body));
        }
    }

    /// Whether a later pass over the same commands could see something else than `before` did.
    pub(crate) fn differs(&self, before: &Self) -> bool {
        let names = self.vars.keys().chain(before.vars.keys());
        let unlike = |name: &String| self.value_or_unknown(name) != before.value_or_unknown(name);
        self.cwd != before.cwd || self.positional != before.positional || names.into_iter().any(unlike)
    }

    /// A variable that was never set comes from the environment, which is not known either.
    fn value_or_unknown(&self, name: &str) -> Value {
        self.vars.get(name).cloned().unwrap_or_else(|| Value::unknown(&format!("${name}")))
    }
}
