//! Words into fields: braces, tilde, variables, substitutions, splitting, patterns. Substitutions are walked on the
//! way, so that what they run is found; what cannot be known stays marked as unknown.
//! It runs nothing and looks at no file. Used by `walk`.

use crate::brace;
use crate::field::{Bit, Field};
use crate::lex::{self, Item, Mode, Sub};
use crate::shell::{Flow, Shell, Value};
use crate::walk::Walker;

/// Fields under construction.
struct Builder {
    done: Vec<Field>,
    field: Field,
    /// A field has begun, even if it is still empty.
    begun: bool,
    /// What unquoted expansions are split at: `IFS`.
    separators: Separators,
}

/// What the shell splits at, as far as it is plain.
#[derive(Clone, Copy)]
enum Separators {
    Blanks,
    /// One character that is no blank: two of them have an empty field between them.
    One(char),
    /// Nothing.
    None,
}

impl Separators {
    /// None for what is not known, or is more than is looked at.
    fn of(shell: &Shell) -> Option<Self> {
        let Some(value) = shell.vars.get("IFS") else {
            return Some(Self::Blanks);
        };
        let text = value.fields.first().map_or(Some(""), Field::known)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (None, _) => Some(Self::None),
            (Some(c), None) if !c.is_whitespace() => Some(Self::One(c)),
            _ if text.chars().all(|c| matches!(c, ' ' | '\t' | '\n')) && text.len() == BLANKS => Some(Self::Blanks),
            _ => None,
        }
    }
}

/// Blank, tab and line end.
const BLANKS: usize = 3;

impl Builder {
    fn bit(&mut self, bit: Bit) {
        self.begun = true;
        self.field.push(bit);
    }

    fn char(&mut self, c: char) {
        self.begun = true;
        self.field.push_char(c);
    }

    fn end_field(&mut self) {
        if self.begun {
            self.done.push(std::mem::take(&mut self.field));
            self.begun = false;
        }
    }

    /// Adds the text of an unquoted expansion: split at blanks, pattern characters alive.
    fn split_text(&mut self, text: &str) {
        for c in text.chars() {
            match (self.separators, c) {
                (Separators::Blanks, ' ' | '\t' | '\n') => self.end_field(),
                (Separators::One(one), c) if c == one => {
                    self.begun = true;
                    self.end_field();
                }
                (_, '*' | '?' | '[') => self.bit(Bit::Pattern(c.to_string())),
                (_, c) => self.char(c),
            }
        }
    }

    /// Adds the value of an expansion.
    fn value(&mut self, value: &Value, quoted: bool) {
        for (at, field) in value.fields.iter().enumerate() {
            if at > 0 && (value.list || !quoted) {
                self.end_field();
            }
            self.begun |= quoted;
            for bit in &field.0 {
                match bit {
                    Bit::Lit(text) if !quoted => self.split_text(text),
                    Bit::Unknown { source, splits } => {
                        self.bit(Bit::Unknown { source: source.clone(), splits: *splits && !quoted });
                    }
                    other => self.bit(other.clone()),
                }
            }
        }
    }
}

impl Walker<'_> {
    /// A command's word into its fields.
    pub(crate) fn fields(&mut self, shell: &mut Shell, text: &str) -> Vec<Field> {
        if lex::is_plain(text, Mode::Word) && !text.is_empty() {
            return vec![Field::literal(text)];
        }
        let items = lex::items(text, Mode::Word);
        let Some(words) = brace::expand(items) else {
            return vec![Field::unknown(text, true)];
        };
        let mut builder =
            Builder { done: Vec::new(), field: Field::default(), begun: false, separators: Separators::Blanks };
        for word in words {
            self.pour(shell, &word, true, &mut builder);
            builder.end_field();
        }
        builder.done
    }

    /// A word where bash neither splits nor expands patterns: assignments, here-strings, `case` values.
    pub(crate) fn joined(&mut self, shell: &mut Shell, text: &str) -> Field {
        self.joined_as(shell, text, Mode::Word)
    }

    /// The body of a here-document whose tag is not quoted.
    pub(crate) fn body(&mut self, shell: &mut Shell, text: &str) -> Field {
        self.joined_as(shell, text, Mode::Body)
    }

    /// Walks the substitutions in raw text that the grammar leaves unparsed: arithmetic, subscripts, patterns.
    pub(crate) fn scan(&mut self, shell: &mut Shell, text: &str) {
        if text.contains(['$', '`']) {
            let _ = self.body(shell, text);
        }
    }

    fn joined_as(&mut self, shell: &mut Shell, text: &str, mode: Mode) -> Field {
        if lex::is_plain(text, mode) {
            return Field::literal(text);
        }
        let mut builder =
            Builder { done: Vec::new(), field: Field::default(), begun: false, separators: Separators::Blanks };
        self.pour(shell, &lex::items(text, mode), false, &mut builder);
        builder.end_field();
        let mut out = Field::default();
        for (at, field) in builder.done.into_iter().enumerate() {
            if at > 0 {
                out.push_text(" ");
            }
            for bit in field.0 {
                out.push(bit);
            }
        }
        out
    }

    fn pour(&mut self, shell: &mut Shell, items: &[Item], splits: bool, to: &mut Builder) {
        let mut rest = self.tilde(shell, items, to);
        let brackets = rest.iter().any(|item| matches!(item, Item::Char { c: ']', quoted: false }));
        while let Some((item, after)) = rest.split_first() {
            match item {
                Item::Quotes => to.begun = true,
                Item::Char { c, quoted } => {
                    let alive = matches!(c, '*' | '?') || (*c == '[' && brackets);
                    if splits && !quoted && alive {
                        to.bit(Bit::Pattern(c.to_string()));
                    } else {
                        to.char(*c);
                    }
                }
                Item::Sub { what, quoted, source } => {
                    let value = self.substitute(shell, what, source, *quoted || !splits);
                    let mut value = self.bounded(value, source);
                    if splits && !quoted {
                        match Separators::of(shell) {
                            Some(separators) => to.separators = separators,
                            None => value = Value::unknown(source),
                        }
                    }
                    to.value(&value, *quoted || !splits);
                }
            }
            rest = after;
        }
    }

    fn tilde<'i>(&mut self, shell: &Shell, items: &'i [Item], to: &mut Builder) -> &'i [Item] {
        if !matches!(items.first(), Some(Item::Char { c: '~', quoted: false })) {
            return items;
        }
        let end = items.iter().position(|item| matches!(item, Item::Char { c: '/' | ':', .. })).unwrap_or(items.len());
        let user: Option<String> = items[1..end]
            .iter()
            .map(|item| match item {
                Item::Char { c, quoted: false } => Some(*c),
                _ => None,
            })
            .collect();
        let folder = match user.as_deref() {
            None => return items,
            Some("") => self.env.home.map(std::path::Path::to_path_buf),
            Some("+") => shell.cwd.clone(),
            Some("-") => shell.previous.clone(),
            Some(_) => None,
        };
        match folder {
            Some(folder) => to.bit(Bit::Lit(folder.to_string_lossy().into_owned())),
            None => to.bit(Bit::Unknown { source: format!("~{}", user.unwrap_or_default()), splits: false }),
        }
        &items[end..]
    }

    fn substitute(&mut self, shell: &mut Shell, what: &Sub, source: &str, quoted: bool) -> Value {
        match what {
            Sub::Command(inner) => match self.nested_output(shell, inner) {
                Flow::Text(text) => Value::scalar(Field::literal(text.trim_end_matches('\n'))),
                Flow::Paths(fields) if !quoted => Value { fields, list: false },
                Flow::Nothing => Value::scalar(Field::default()),
                Flow::Paths(_) | Flow::Unknown => Value::unknown(source),
            },
            Sub::Arithmetic(inner) => {
                self.arithmetic(shell, inner);
                Value::scalar(Field::unknown(source, false))
            }
            Sub::Parameter(inner) => self.parameter(shell, inner, source),
        }
    }

    /// Walks what an arithmetic text holds; every variable it mentions next to an assignment is forgotten.
    pub(crate) fn arithmetic(&mut self, shell: &mut Shell, text: &str) {
        self.scan(shell, text);
        if text.contains('=') || text.contains("++") || text.contains("--") {
            let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            for name in names {
                if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    shell.forget(name);
                }
            }
        }
    }

    fn parameter(&mut self, shell: &mut Shell, inner: &str, source: &str) -> Value {
        let length = name_length(inner);
        let (name, operation) = inner.split_at(length);
        let (subscript, operation) = match operation.strip_prefix('[') {
            Some(rest) => rest.split_once(']').unwrap_or((rest, "")),
            None => ("", operation),
        };
        self.scan(shell, subscript);
        if name.is_empty() {
            self.scan(shell, inner);
            return Value::unknown(source);
        }
        let value = self.lookup(shell, name);
        let value = match (value, subscript) {
            (Some(value), "@" | "*") if value.list => Some(value),
            (Some(value), "") => Some(first_of(value, name)),
            (Some(value), at) if value.list => {
                at.parse::<usize>().ok().map(|at| Value::scalar(value.fields.get(at).cloned().unwrap_or_default()))
            }
            (Some(_), _) => None,
            (None, _) => None,
        };
        self.operate(shell, name, operation, value, source)
    }

    fn lookup(&self, shell: &Shell, name: &str) -> Option<Value> {
        let list = |fields: Vec<Field>| Value { fields, list: true };
        match name {
            "@" | "*" => shell.positional.clone().map(list),
            _ if shell.vars.contains_key(name) => shell.vars.get(name).cloned(),
            "IFS" => Some(Value::scalar(Field::literal(" \t\n"))),
            "HOME" => {
                let home = self.env.home?.to_string_lossy();
                Some(Value::scalar(Field::literal(home)))
            }
            "PWD" => {
                let cwd = shell.cwd.as_ref()?.to_string_lossy();
                Some(Value::scalar(Field::literal(cwd)))
            }
            _ => {
                let at: usize = name.parse().ok()?;
                let field = shell.positional.as_ref()?.get(at.checked_sub(1)?);
                Some(Value::scalar(field.cloned().unwrap_or_default()))
            }
        }
    }

    fn operate(&mut self, shell: &mut Shell, name: &str, operation: &str, value: Option<Value>, source: &str) -> Value {
        let unknown = || Value::unknown(source);
        if operation.is_empty() {
            return match value {
                Some(value) => value,
                None if matches!(name, "#" | "?" | "$" | "!" | "-") => Value::scalar(Field::unknown(source, false)),
                None => unknown(),
            };
        }
        if let Some(text) = value.as_ref().and_then(only_text)
            && let Some(changed) = changed(text, operation)
        {
            return Value::scalar(Field::literal(changed));
        }
        let argument = operation.trim_start_matches([':', '-', '=', '?', '+', '%', '#']);
        let operator = &operation[..operation.len() - argument.len()];
        let argument = self.body(shell, argument);
        if operator.ends_with('=') {
            shell.forget(name);
        }
        let Some(value) = value else {
            return unknown();
        };
        match operator {
            ":-" | "-" | ":=" | "=" | ":?" | "?" if is_filled(&value) => value,
            ":-" | ":=" if is_empty(&value) => Value::scalar(argument),
            "%" | "%%" | "#" | "##" => trim(&value, operator, &argument).unwrap_or_else(unknown),
            _ => unknown(),
        }
    }
}

fn name_length(inner: &str) -> usize {
    let bytes = inner.as_bytes();
    match bytes.first() {
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => {
            inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len())
        }
        Some(b) if b.is_ascii_digit() => inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(inner.len()),
        Some(b'@' | b'*' | b'?' | b'$' | b'-') => 1,
        // `#` and `!` alone are parameters; before a name they are operators.
        Some(b'#' | b'!') if bytes.len() == 1 => 1,
        _ => 0,
    }
}

/// `$array` is its first element.
fn first_of(value: Value, name: &str) -> Value {
    if !value.list || matches!(name, "@" | "*") {
        return value;
    }
    Value::scalar(value.fields.into_iter().next().unwrap_or_default())
}

fn is_filled(value: &Value) -> bool {
    value.fields.iter().any(|field| field.known().is_some_and(|text| !text.is_empty()))
}

fn is_empty(value: &Value) -> bool {
    value.fields.iter().all(|field| field.known() == Some(""))
}

/// The one text a value is.
fn only_text(value: &Value) -> Option<&str> {
    match value.fields.as_slice() {
        [field] => field.known(),
        _ => None,
    }
}

/// `${x:1:2}`, `${x/a/b}`, `${x//a/b}`, `${x,,}` and `${x^^}`, where all of it is plain.
fn changed(text: &str, operation: &str) -> Option<String> {
    match operation {
        ",," => return Some(text.to_lowercase()),
        "^^" => return Some(text.to_uppercase()),
        _ => {}
    }
    if let Some(rest) = operation.strip_prefix('/') {
        let (all, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
        let (from, to) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = !from.is_empty() && [from, to].iter().all(|part| lex::is_plain(part, Mode::Word));
        let plain = plain && !from.starts_with(['#', '%']) && !to.contains('&');
        return plain.then(|| if all { text.replace(from, to) } else { text.replacen(from, to, 1) });
    }
    let (from, length) = match operation.strip_prefix(':')?.split_once(':') {
        Some((from, length)) => (from, Some(length.trim().parse::<usize>().ok()?)),
        None => (operation.strip_prefix(':')?, None),
    };
    let from: usize = from.trim().parse().ok()?;
    Some(text.chars().skip(from).take(length.unwrap_or(usize::MAX)).collect())
}

/// `${x%pattern}` and its kin, where both sides are known well enough.
fn trim(value: &Value, operator: &str, pattern: &Field) -> Option<Value> {
    let pattern = pattern.known()?;
    let [field] = value.fields.as_slice() else {
        return None;
    };
    let suffix = operator.starts_with('%');
    if !pattern.contains(['*', '?', '[', '\\', '\'', '"']) {
        return trim_literal(field, pattern, suffix).map(Value::scalar);
    }
    if pattern.contains(['[', '\\', '\'', '"']) {
        return None;
    }
    let text = field.known()?;
    let cuts: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
    let fits = |at: &&usize| {
        let part = if suffix { &text[**at..] } else { &text[..**at] };
        matches(pattern, part)
    };
    let longest = operator.len() == 2;
    let cut = if suffix == longest { cuts.iter().find(fits) } else { cuts.iter().rev().find(fits) };
    let rest = match (cut, suffix) {
        (None, _) => text,
        (Some(at), true) => &text[..*at],
        (Some(at), false) => &text[*at..],
    };
    Some(Value::scalar(Field::literal(rest)))
}

fn trim_literal(field: &Field, pattern: &str, suffix: bool) -> Option<Field> {
    let mut field = field.clone();
    let end = if suffix { field.0.last_mut() } else { field.0.first_mut() };
    match end {
        Some(Bit::Lit(text)) => {
            let cut = if suffix { text.strip_suffix(pattern) } else { text.strip_prefix(pattern) };
            if let Some(cut) = cut {
                *text = cut.to_owned();
            } else if text.len() < pattern.len() && field.0.len() > 1 {
                return None;
            }
        }
        Some(_) => return None,
        None => {}
    }
    Some(field)
}

/// Whether `text` matches a pattern of `*`, `?` and plain characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
