//! Redirections, process substitutions and assignments of a command: which files they write and read, what they leave on
//! its standard input, and what they leave in the shell's variables. It knows no program. Used by `walk`.

use brush_parser::ast;

use crate::field::Field;
use std::path::PathBuf;

use crate::model::{How, Target};
use crate::shell::{Flow, Shell, Value};
use crate::walk::Walker;

/// What a command's redirections leave to know.
#[derive(Default)]
pub(crate) struct Io {
    pub(crate) stdin: Option<Flow>,
    /// Standard output goes to a file, not to whoever reads this command's output.
    pub(crate) stdout_taken: bool,
    /// The file that standard output replaces, or is appended to.
    pub(crate) stdout_file: Option<PathBuf>,
    /// The file that is standard input.
    pub(crate) stdin_file: Option<PathBuf>,
    /// What standard output goes to: `> >( )`.
    pub(crate) stdout_to: Vec<ast::SubshellCommand>,
}

impl Walker<'_> {
    pub(crate) fn process(
        &mut self,
        shell: &Shell,
        kind: &ast::ProcessSubstitutionKind,
        subshell: &ast::SubshellCommand,
    ) -> Flow {
        let mut inner = shell.clone();
        if matches!(kind, ast::ProcessSubstitutionKind::Write) {
            // `tee >(sh)` hands on what it reads. What gets something else is not foreseen by that: it is walked unknown too.
            if matches!(shell.stdin, Flow::Text(_)) {
                self.list(&mut inner.clone(), &subshell.list);
            }
            inner.stdin = Flow::Unknown;
        }
        self.list(&mut inner, &subshell.list)
    }

    fn assigned_value(&mut self, shell: &mut Shell, value: &ast::AssignmentValue) -> Value {
        match value {
            ast::AssignmentValue::Scalar(word) => Value::scalar(self.joined(shell, &word.value)),
            ast::AssignmentValue::Array(elements) => {
                let mut fields = Vec::new();
                for (key, element) in elements {
                    if let Some(key) = key {
                        self.scan(shell, &key.value);
                    }
                    fields.extend(self.fields(shell, &element.value));
                }
                Value { fields, list: true }
            }
        }
    }

    /// `NAME=value` in front of a command.
    pub(crate) fn prefixed(&mut self, shell: &mut Shell, assignment: &ast::Assignment) -> (String, Field) {
        let value = self.assigned_value(shell, &assignment.value);
        let name = match &assignment.name {
            ast::AssignmentName::VariableName(name) => name.clone(),
            ast::AssignmentName::ArrayElementName(name, index) => {
                self.scan(shell, index);
                name.clone()
            }
        };
        let field = value.fields.into_iter().next().unwrap_or_default();
        self.risky_variable(shell, &name, &field);
        (name, field)
    }

    /// `NAME=value` alone.
    pub(crate) fn assign(&mut self, shell: &mut Shell, assignment: &ast::Assignment) {
        let mut value = self.assigned_value(shell, &assignment.value);
        match &assignment.name {
            ast::AssignmentName::ArrayElementName(name, index) => {
                self.scan(shell, index);
                let mut fields = match shell.vars.get(name) {
                    None => Vec::new(),
                    Some(known) if known.list => known.fields.clone(),
                    Some(_) => return shell.forget(name),
                };
                match index.parse::<usize>() {
                    Ok(at) if at == fields.len() && !assignment.append => {
                        fields.push(value.fields.into_iter().next().unwrap_or_default());
                        shell.set(name, Value { fields, list: true });
                    }
                    _ => shell.forget(name),
                }
            }
            ast::AssignmentName::VariableName(name) => {
                if let Some(field) = value.fields.first() {
                    self.risky_variable(shell, name, field);
                }
                if assignment.append {
                    value = match shell.vars.get(name) {
                        Some(old) => appended(old, value),
                        None => Value::unknown(&format!("${name}")),
                    };
                }
                shell.set(name, value);
            }
        }
    }

    pub(crate) fn redirection(&mut self, shell: &mut Shell, redirection: &ast::IoRedirect, io: &mut Io) {
        match redirection {
            ast::IoRedirect::File(fd, kind, target) => {
                self.file_redirection(shell, *fd, kind, target, io);
            }
            ast::IoRedirect::HereDocument(fd, document) => {
                let body = if document.requires_expansion {
                    self.body(shell, &document.doc.value)
                } else {
                    Field::literal(&document.doc.value)
                };
                if fd.is_none_or(|fd| fd == 0) {
                    io.stdin = Some(flow_of(&body));
                }
            }
            ast::IoRedirect::HereString(fd, word) => {
                let text = self.joined(shell, &word.value);
                if fd.is_none_or(|fd| fd == 0) {
                    io.stdin = Some(flow_of(&text));
                }
            }
            ast::IoRedirect::OutputAndError(word, append) => {
                let how = if *append { How::Append } else { How::Write };
                self.written(shell, &word.value, how);
                io.stdout_taken = true;
            }
        }
    }

    fn file_redirection(
        &mut self,
        shell: &mut Shell,
        fd: Option<i32>,
        kind: &ast::IoFileRedirectKind,
        target: &ast::IoFileRedirectTarget,
        io: &mut Io,
    ) {
        use ast::IoFileRedirectKind as K;
        let word = match target {
            ast::IoFileRedirectTarget::Filename(word) | ast::IoFileRedirectTarget::Duplicate(word) => word,
            ast::IoFileRedirectTarget::Fd(_) => return,
            ast::IoFileRedirectTarget::ProcessSubstitution(kind, subshell) => {
                let flow = self.process(shell, kind, subshell);
                match kind {
                    ast::ProcessSubstitutionKind::Read => io.stdin = Some(flow),
                    ast::ProcessSubstitutionKind::Write => {
                        io.stdout_taken = true;
                        io.stdout_to.push(subshell.clone());
                    }
                }
                return;
            }
        };
        let stdout = fd.is_none_or(|fd| fd == 1);
        match kind {
            K::Read | K::DuplicateInput => {
                for field in self.fields(shell, &word.value) {
                    if matches!(kind, K::Read) {
                        self.out.read(&field, shell.cwd.as_deref());
                        io.stdin_file = match field.target(shell.cwd.as_deref()) {
                            Target::File(path) => Some(path),
                            _ => None,
                        };
                    }
                }
                if fd.is_none_or(|fd| fd == 0) {
                    io.stdin = Some(Flow::Unknown);
                }
            }
            K::DuplicateOutput if is_descriptor(&word.value) => {
                io.stdout_taken |= stdout && word.value != "1";
            }
            K::Append => {
                let file = self.written(shell, &word.value, How::Append);
                io.stdout_taken |= stdout;
                io.stdout_file = file.filter(|_| stdout).or(io.stdout_file.take());
            }
            K::Write | K::Clobber | K::ReadAndWrite | K::DuplicateOutput => {
                let file = self.written(shell, &word.value, How::Write);
                io.stdout_taken |= stdout;
                io.stdout_file = file.filter(|_| stdout).or(io.stdout_file.take());
            }
        }
    }

    fn written(&mut self, shell: &mut Shell, word: &str, how: How) -> Option<PathBuf> {
        let mut file = None;
        for field in self.fields(shell, word) {
            let target = field.target(shell.cwd.as_deref());
            if let Target::File(path) = &target {
                file = Some(path.clone());
            }
            self.out.write(target, how, "redirection");
        }
        file
    }
}

fn appended(old: &Value, new: Value) -> Value {
    if old.list || new.list {
        let fields = old.fields.iter().cloned().chain(new.fields).collect();
        return Value { fields, list: true };
    }
    let mut field = old.fields.first().cloned().unwrap_or_default();
    for bit in new.fields.into_iter().flat_map(|field| field.0) {
        field.push(bit);
    }
    Value::scalar(field)
}

fn is_descriptor(word: &str) -> bool {
    word == "-" || word.trim_end_matches('-').bytes().all(|byte| byte.is_ascii_digit())
}

fn flow_of(field: &Field) -> Flow {
    field.known().map_or(Flow::Unknown, |text| Flow::Text(text.to_owned()))
}
