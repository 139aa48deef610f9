//! `sed`: files edited in place, and whether its script could write elsewhere or run commands, read from the script's
//! own grammar.

use crate::calls::Call;
use crate::field::Field;
use crate::findings::Findings;
use crate::model::How;
use crate::options::{Parsed, Spec};

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) -> bool {
    if call.name != "sed" {
        return false;
    }
    let (args, suffix) = bsd_suffix(call.args);
    let spec = Spec::new("e:f:i?l:n", &["--expression", "--file", "--line-length"]);
    let parsed = Parsed::new(&args, spec);
    if parsed.has(&["--version", "--help"]) {
        return true;
    }
    let mut scripts = parsed.values(&["-e", "--expression"]);
    let mut files = parsed.operands.as_slice();
    let from_file = parsed.has(&["-f", "--file"]);
    if scripts.is_empty()
        && !from_file
        && let Some((script, rest)) = files.split_first()
    {
        scripts.push(script);
        files = rest;
    }
    let plain = scripts.iter().all(|script| script.known().is_some_and(is_plain));
    if !plain && !parsed.has(&["--sandbox"]) {
        call.unforeseen("has a script that may write or run something else", out);
    }
    if from_file {
        for file in parsed.values(&["-f", "--file"]) {
            out.read(file, call.cwd);
        }
        call.unforeseen("takes its script from a file", out);
    }
    if files.iter().any(Field::may_be_option) || scripts.iter().any(|script| script.splits()) {
        call.dynamic(out);
    }
    let in_place = parsed.has(&["-i", "--in-place"]) || parsed.has(&["-I"]);
    for file in files {
        if in_place {
            call.write(file, How::Write, out);
        } else {
            out.read(file, call.cwd);
        }
    }
    let attached = parsed.value(&["-i", "--in-place"]).and_then(Field::known);
    if let Some(suffix) = suffix.as_deref().or(attached).filter(|suffix| !suffix.is_empty()) {
        backups(call, files, suffix, out);
    }
    true
}

fn backups(call: &Call<'_>, files: &[Field], suffix: &str, out: &mut Findings) {
    if suffix.contains(['*', '/']) {
        call.unforeseen("keeps backups under names of their own", out);
        return;
    }
    for file in files {
        let mut backup = file.clone();
        backup.push_text(suffix);
        call.write(&backup, How::Create, out);
    }
}

/// BSD writes `-i ''` or `-i .bak`: the suffix is a word of its own, which GNU would take for the script.
fn bsd_suffix(args: &[Field]) -> (Vec<Field>, Option<String>) {
    let at = args.iter().position(|arg| matches!(arg.known(), Some("-i" | "-I" | "-ni" | "-Ei" | "-nEi" | "-Eni")));
    if let Some(at) = at
        && let Some(suffix) = args.get(at + 1).and_then(Field::known)
        && (suffix.is_empty() || suffix.starts_with('.') && suffix[1..].chars().all(char::is_alphanumeric))
    {
        let mut rest = args.to_vec();
        rest.remove(at + 1);
        return (rest, Some(suffix.to_owned()));
    }
    (args.to_vec(), None)
}

/// Whether a script only edits: no `w`, no `e`, nothing this reader does not understand.
pub(super) fn is_plain(script: &str) -> bool {
    let mut reader = Reader { chars: script.chars().collect(), at: 0 };
    while reader.at < reader.chars.len() {
        if !reader.command() {
            return false;
        }
    }
    true
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn command(&mut self) -> bool {
        self.skip(|c| c.is_whitespace() || matches!(c, ';' | '}'));
        if self.peek().is_none() {
            return true;
        }
        if !self.addresses() {
            return false;
        }
        let Some(name) = self.peek() else {
            return false;
        };
        self.at += 1;
        match name {
            '{' => true,
            's' => self.substitute(),
            'y' => self.delimited(2) && self.ends(),
            'd' | 'D' | 'p' | 'P' | 'n' | 'N' | 'g' | 'G' | 'h' | 'H' | 'x' | '=' | 'z' | 'F' => self.ends(),
            'q' | 'Q' | 'l' | 'L' => {
                self.skip(|c| c == ' ' || c.is_ascii_digit());
                self.ends()
            }
            'b' | 't' | 'T' | ':' => {
                self.skip(|c| !matches!(c, ';' | '\n' | '}'));
                true
            }
            'a' | 'i' | 'c' | 'r' | 'R' | '#' => {
                self.rest_of_text();
                true
            }
            _ => false,
        }
    }

    fn addresses(&mut self) -> bool {
        loop {
            self.skip(|c| c == ' ' || c == '\t' || c.is_ascii_digit() || matches!(c, '$' | ',' | '~' | '+' | '!'));
            match self.peek() {
                Some('/') => {
                    if !self.delimited(1) {
                        return false;
                    }
                }
                Some('\\') => {
                    self.at += 1;
                    if !self.delimited(1) {
                        return false;
                    }
                }
                _ => return true,
            }
            self.skip(|c| matches!(c, 'I' | 'M'));
        }
    }

    /// Skips `count` parts between the delimiter that comes next.
    fn delimited(&mut self, count: usize) -> bool {
        let Some(delimiter) = self.peek() else {
            return false;
        };
        if delimiter == '\\' || delimiter == '\n' {
            return false;
        }
        self.at += 1;
        let mut left = count;
        while let Some(c) = self.peek() {
            self.at += 1;
            if c == '\\' {
                self.at += 1;
            } else if c == delimiter {
                left -= 1;
                if left == 0 {
                    return true;
                }
            }
        }
        false
    }

    fn substitute(&mut self) -> bool {
        if !self.delimited(2) {
            return false;
        }
        self.skip(|c| matches!(c, 'g' | 'p' | 'i' | 'I' | 'm' | 'M') || c.is_ascii_digit());
        self.ends()
    }

    fn ends(&mut self) -> bool {
        self.skip(|c| c == ' ' || c == '\t');
        matches!(self.peek(), None | Some(';' | '\n' | '}' | '#'))
    }

    /// Text up to a line end that is not escaped.
    fn rest_of_text(&mut self) {
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\\' => self.at += 1,
                '\n' => return,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn scripts_that_write_or_run_are_not_plain() {
        for plain in [
            "s/a/b/",
            "s|a/w x|b|g",
            "/x/d",
            "1,5p",
            "$!N;P;D",
            "s/a/b/;s/c/d/gI",
            "/a/,/b/{s/x/y/;p}",
            "1i\\\nhello w",
            "\\,x,d",
            "y/ab/cd/",
            "$a text with w file",
            ":a;N;$!ba;s/\\n/ /g",
            "s/\\//w/",
            "2q",
            "/w file/p",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in
            ["s/a/b/w out", "w out", "s/a/b/e", "e ls", "1w x", "/x/w y", "s/a/b/gw out", "s/a", "v x;Z", "p;W f"]
        {
            assert!(!is_plain(other), "{other}");
        }
    }
}
