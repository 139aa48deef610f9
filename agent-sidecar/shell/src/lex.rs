//! One word of source text into characters and expansions, with what was quoted marked. Linear, without recursion,
//! and without the failures of a grammar: what is broken ends the word.
//! It expands nothing. Next: `brace`, then `expand`.

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Char {
        c: char,
        quoted: bool,
    },
    /// Quotes were here, so that an empty word is still a word.
    Quotes,
    Sub {
        what: Sub,
        quoted: bool,
        source: String,
    },
}

/// An expansion, with its inner text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sub {
    Command(String),
    Arithmetic(String),
    Parameter(String),
}

/// How to read quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Word,
    /// The body of a here-document, or any raw text: quotes are plain characters.
    Body,
}

/// Whether `text` stands for itself, as most words do: nothing in it is quoted, expanded or a pattern.
pub(crate) fn is_plain(text: &str, mode: Mode) -> bool {
    let special = |byte: u8| match mode {
        Mode::Word => b"\\'\"$`{~*?[(".contains(&byte),
        Mode::Body => b"\\$`".contains(&byte),
    };
    !text.bytes().any(special)
}

/// Reads `text` as one word.
pub(crate) fn items(text: &str, mode: Mode) -> Vec<Item> {
    let mut lexer = Lexer { text, at: 0, out: Vec::new() };
    while let Some(c) = lexer.peek() {
        match mode {
            Mode::Word => lexer.unquoted(c),
            Mode::Body => lexer.inside_double(c, '\0'),
        }
    }
    lexer.out
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    out: Vec<Item>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, c: char, quoted: bool) {
        self.out.push(Item::Char { c, quoted });
        self.at += c.len_utf8();
    }

    fn unquoted(&mut self, c: char) {
        match c {
            '\\' => self.escape(),
            '\'' => self.single(),
            '"' => self.double(1),
            '$' if self.rest().starts_with("$'") => self.ansi(),
            '$' if self.rest().starts_with("$\"") => self.double(2),
            '$' | '`' => self.expansion(false),
            '(' => self.extended_pattern(),
            c => self.push(c, false),
        }
    }

    fn escape(&mut self) {
        self.at += 1;
        match self.peek() {
            Some('\n') => self.at += 1,
            Some(c) => self.push(c, true),
            None => {}
        }
    }

    fn single(&mut self) {
        self.out.push(Item::Quotes);
        self.at += 1;
        let inner = self.rest();
        let end = inner.find('\'').unwrap_or(inner.len());
        let chars: Vec<char> = inner[..end].chars().collect();
        for c in chars {
            self.push(c, true);
        }
        self.at = (self.at + 1).min(self.text.len());
    }

    fn ansi(&mut self) {
        self.out.push(Item::Quotes);
        self.at += 2;
        let inner = self.rest();
        let mut end = inner.len();
        let mut escaped = false;
        for (at, c) in inner.char_indices() {
            if c == '\'' && !escaped {
                end = at;
                break;
            }
            escaped = c == '\\' && !escaped;
        }
        let decoded = decode_ansi(&inner[..end]);
        self.at = (self.at + end + 1).min(self.text.len());
        self.out.extend(decoded.chars().map(|c| Item::Char { c, quoted: true }));
    }

    fn double(&mut self, opening: usize) {
        self.out.push(Item::Quotes);
        self.at += opening;
        while let Some(c) = self.peek() {
            if c == '"' {
                self.at += 1;
                return;
            }
            self.inside_double(c, '"');
        }
    }

    fn inside_double(&mut self, c: char, closer: char) {
        match c {
            '\\' => {
                let next = self.text[self.at + 1..].chars().next();
                match next {
                    Some('\n') => self.at += 2,
                    Some(n) if matches!(n, '$' | '`' | '\\') || n == closer => {
                        self.at += 1;
                        self.push(n, true);
                    }
                    _ => self.push('\\', true),
                }
            }
            '$' | '`' => self.expansion(true),
            c => self.push(c, true),
        }
    }

    /// `@(a|b)` and the like: any name may match, so the whole becomes `*`.
    fn extended_pattern(&mut self) {
        if let Some(Item::Char { quoted: false, .. }) = self.out.last() {
            self.out.pop();
        }
        let end = balanced(self.text, self.at + 1, '(', ')').unwrap_or(self.text.len());
        self.at = (end + 1).min(self.text.len());
        self.out.push(Item::Char { c: '*', quoted: false });
    }

    fn expansion(&mut self, quoted: bool) {
        let start = self.at;
        let what = if self.rest().starts_with('`') {
            self.backquoted()
        } else if self.rest().starts_with("$(") {
            self.parenthesised()
        } else if self.rest().starts_with("${") {
            let end = balanced(self.text, start + 2, '{', '}').unwrap_or(self.text.len());
            let inner = self.text[start + 2..end].to_owned();
            self.at = (end + 1).min(self.text.len());
            Some(Sub::Parameter(inner))
        } else if self.rest().starts_with("$[") {
            let end = balanced(self.text, start + 2, '[', ']').unwrap_or(self.text.len());
            let inner = self.text[start + 2..end].to_owned();
            self.at = (end + 1).min(self.text.len());
            Some(Sub::Arithmetic(inner))
        } else {
            self.plain_parameter()
        };
        match what {
            Some(what) => self.out.push(Item::Sub { what, quoted, source: self.text[start..self.at].to_owned() }),
            None => self.push('$', quoted),
        }
    }

    fn plain_parameter(&mut self) -> Option<Sub> {
        let name = &self.text[self.at + 1..];
        let first = name.chars().next()?;
        let length = if first.is_ascii_alphabetic() || first == '_' {
            name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len())
        } else if first.is_ascii_digit() || "@*#?-$!".contains(first) {
            1
        } else {
            return None;
        };
        let inner = name[..length].to_owned();
        self.at += 1 + length;
        Some(Sub::Parameter(inner))
    }

    fn parenthesised(&mut self) -> Option<Sub> {
        let start = self.at + 2;
        if self.rest().starts_with("$((")
            && let Some(inner) = balanced(self.text, start + 1, '(', ')')
            && self.text[inner + 1..].starts_with(')')
        {
            self.at = inner + 2;
            return Some(Sub::Arithmetic(self.text[start + 1..inner].to_owned()));
        }
        let end = command_end(self.text, start).unwrap_or(self.text.len());
        self.at = (end + 1).min(self.text.len());
        Some(Sub::Command(self.text[start..end].to_owned()))
    }

    fn backquoted(&mut self) -> Option<Sub> {
        self.at += 1;
        let mut inner = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '`' => break,
                '\\' => match self.peek() {
                    Some(n @ ('`' | '\\' | '$')) => {
                        inner.push(n);
                        self.at += 1;
                    }
                    _ => inner.push('\\'),
                },
                c => inner.push(c),
            }
        }
        Some(Sub::Command(inner))
    }
}

/// The position of the `closer` that ends what began before `from`; quotes, escapes and nested pairs are skipped.
fn balanced(text: &str, from: usize, opener: char, closer: char) -> Option<usize> {
    let mut depth = 0_usize;
    let mut chars = text[from..].char_indices();
    let mut quote = None;
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') | (Some('`'), '`') => quote = None,
            (Some('\''), _) => {}
            (_, '\\') => {
                chars.next();
            }
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, c) if c == closer && depth == 0 => return Some(from + at),
            (None, c) if c == closer => depth -= 1,
            (None, c) if c == opener => depth += 1,
            _ => {}
        }
    }
    None
}

/// The `)` that ends a command substitution whose text starts at `from`. Patterns of `case` hold a `)` of their own;
/// should `case` turn out to be an argument, a second reading without it decides.
fn command_end(text: &str, from: usize) -> Option<usize> {
    scan_command(text, from, true).or_else(|| scan_command(text, from, false))
}

fn scan_command(text: &str, from: usize, cases: bool) -> Option<usize> {
    let mut scan = Scan { text, at: from, open: Vec::new(), here: Vec::new() };
    while let Some(c) = text[scan.at..].chars().next() {
        if c == ')' {
            match scan.open.last() {
                None => return Some(scan.at),
                Some('(') => {
                    scan.open.pop();
                }
                Some(_) => {}
            }
            scan.at += 1;
        } else {
            scan.step(c, cases);
        }
    }
    None
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// `(` or `c` for `case`.
    open: Vec<char>,
    /// Here-documents announced on this line: end tag, whether tabs are stripped.
    here: Vec<(String, bool)>,
}

impl Scan<'_> {
    fn step(&mut self, c: char, cases: bool) {
        let rest = &self.text[self.at..];
        match c {
            '\\' => self.at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '\'' => self.skip_to(1, '\''),
            '`' => self.skip_quoted('`'),
            '"' => self.skip_double(),
            '(' => {
                self.open.push('(');
                self.at += 1;
            }
            '\n' => self.newline(),
            '#' if self.at_word_start() => {
                self.at += rest.find('\n').unwrap_or(rest.len());
            }
            '<' if rest.starts_with("<<<") => self.at += 3,
            '<' if rest.starts_with("<<") => self.here_tag(),
            c if c.is_ascii_alphabetic() && self.at_word_start() => self.keyword(cases),
            c => self.at += c.len_utf8(),
        }
        self.at = self.at.min(self.text.len());
    }

    fn at_word_start(&self) -> bool {
        let before = self.text[..self.at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '`'))
    }

    fn skip_to(&mut self, opening: usize, closer: char) {
        let inner = &self.text[self.at + opening..];
        self.at += opening + inner.find(closer).map_or(inner.len(), |at| at + 1);
    }

    fn skip_quoted(&mut self, closer: char) {
        let mut chars = self.text[self.at + 1..].char_indices();
        let start = self.at + 1;
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if c == closer {
                self.at = start + at + 1;
                return;
            }
        }
        self.at = self.text.len();
    }

    /// A double-quoted string, inside which `$( )` may hold quotes of its own.
    fn skip_double(&mut self) {
        self.at += 1;
        while let Some(c) = self.text[self.at..].chars().next() {
            let rest = &self.text[self.at..];
            match c {
                '"' => {
                    self.at += 1;
                    return;
                }
                '\\' => self.at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                '`' => self.skip_quoted('`'),
                '$' if rest.starts_with("$(") => {
                    let end = nested_end(self.text, self.at + 2);
                    self.at = end.map_or(self.text.len(), |end| end + 1);
                }
                c => self.at += c.len_utf8(),
            }
        }
    }

    fn here_tag(&mut self) {
        let rest = &self.text[self.at + 2..];
        let strip = rest.starts_with('-');
        let tag = rest[usize::from(strip)..].trim_start_matches([' ', '\t']);
        let length = tag
            .find(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '<' | '>' | '(' | ')'))
            .unwrap_or(tag.len());
        let name: String = tag[..length].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        self.at = self.text.len() - tag.len() + length;
        if !name.is_empty() {
            self.here.push((name, strip));
        }
    }

    fn newline(&mut self) {
        self.at += 1;
        for (tag, strip) in std::mem::take(&mut self.here) {
            while self.at < self.text.len() {
                let rest = &self.text[self.at..];
                let line = rest.split('\n').next().unwrap_or(rest);
                self.at = (self.at + line.len() + 1).min(self.text.len());
                let line = if strip { line.trim_start_matches('\t') } else { line };
                if line == tag {
                    break;
                }
            }
        }
    }

    fn keyword(&mut self, cases: bool) {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        match &rest[..length] {
            "case" if cases => self.open.push('c'),
            "esac" if cases && self.open.last() == Some(&'c') => {
                self.open.pop();
            }
            _ => {}
        }
        self.at += length;
    }
}

/// How deep quotes and substitutions in one word may alternate; past it the rest of the text is taken as inside.
const ALTERNATIONS_MAX: usize = 40;

/// The end of a `$(` inside double quotes, without recursion: a stack of what is open.
fn nested_end(text: &str, from: usize) -> Option<usize> {
    let mut open: Vec<char> = vec!['('];
    let mut chars = text[from..].char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        let top = *open.last()?;
        match (top, c) {
            (_, '\\') if top != '\'' => {
                chars.next();
            }
            ('\'', '\'') | ('"', '"') => {
                open.pop();
            }
            ('(', '\'' | '"') => open.push(c),
            ('(', '(') => open.push('('),
            ('"', '(') if before == '$' => open.push('('),
            ('(', ')') => {
                open.pop();
                if open.is_empty() {
                    return Some(from + at);
                }
            }
            _ => {}
        }
        if open.len() > ALTERNATIONS_MAX {
            return None;
        }
        before = c;
    }
    None
}

/// The text that `$'...'` stands for.
fn decode_ansi(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(kind) = chars.next() else {
            out.push('\\');
            break;
        };
        match kind {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'e' | 'E' => out.push('\u{1b}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            'x' => out.extend(number(&mut chars, 16, 2, String::new())),
            'u' => out.extend(number(&mut chars, 16, 4, String::new())),
            'U' => out.extend(number(&mut chars, 16, 8, String::new())),
            '0'..='7' => out.extend(number(&mut chars, 8, 2, kind.to_string())),
            'c' => out.extend(chars.next().and_then(|c| char::from_u32(u32::from(c) & 0x1f))),
            other => out.push(other),
        }
    }
    out
}

fn number(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    radix: u32,
    most: usize,
    mut digits: String,
) -> Option<char> {
    let already = digits.len();
    while digits.len() < most + already
        && let Some(c) = chars.next_if(|c| c.is_digit(radix))
    {
        digits.push(c);
    }
    u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<String> {
        items(text, Mode::Word)
            .into_iter()
            .filter_map(|item| match item {
                Item::Sub { what: Sub::Command(inner), .. } => Some(inner),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn substitutions_end_where_bash_ends_them() {
        assert_eq!(commands("$(echo \")\" '(' )x"), ["echo \")\" '(' "]);
        assert_eq!(commands("\"$(echo \"$(echo \")\")\")\"$(b)"), ["echo \"$(echo \")\")\"", "b"]);
        assert_eq!(commands("$(case a in a) echo;; esac)$(b)"), ["case a in a) echo;; esac", "b"]);
        assert_eq!(commands("$(echo case)$(b)"), ["echo case", "b"]);
        assert_eq!(commands("\"$(cat <<'EOF'\nit's (here\nEOF\n)\""), ["cat <<'EOF'\nit's (here\nEOF\n"]);
        assert_eq!(commands("`a \\`b\\``"), ["a `b`"]);
        assert_eq!(commands("'$(a)'"), Vec::<String>::new());
    }

    #[test]
    fn ansi_quotes_decode() {
        assert_eq!(decode_ansi(r"\x72\155\u0041\n\'"), "rmA\n'");
    }
}
