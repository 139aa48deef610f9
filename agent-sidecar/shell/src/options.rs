//! Splits a program's words into options and operands by a short specification of which options take a value.
//! Generous on purpose: long options match by prefix, as GNU programs accept. Used by everything that knows a program.

use crate::field::Field;

/// Which options take values: `o` in `short` alone takes none, `o:` takes one, `o?` only an attached one, `o#` only attached
/// digits; `long` names those that take one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec<'s> {
    pub(crate) short: &'s str,
    pub(crate) long: &'s [&'s str],
    /// Stop at the first operand, as programs do that run another one.
    pub(crate) in_order: bool,
}

impl<'s> Spec<'s> {
    pub(crate) const fn new(short: &'s str, long: &'s [&'s str]) -> Self {
        Self { short, long, in_order: false }
    }

    pub(crate) const fn in_order(short: &'s str, long: &'s [&'s str]) -> Self {
        Self { short, long, in_order: true }
    }

    fn value_kind(&self, letter: char) -> char {
        let mut letters = self.short.chars().peekable();
        while let Some(c) = letters.next() {
            if c == letter {
                return match letters.peek() {
                    Some(kind @ (':' | '?' | '#')) => *kind,
                    _ => ' ',
                };
            }
        }
        ' '
    }
}

/// Words sorted into options and operands.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// `-x` or `--name`, with its value.
    pub(crate) options: Vec<(String, Option<Field>)>,
    pub(crate) operands: Vec<Field>,
    /// How many operands stood before `--`; none if there was no `--`.
    pub(crate) before_dashes: Option<usize>,
    /// A word is known only when it runs and could be an option.
    pub(crate) loose: bool,
}

impl Parsed {
    pub(crate) fn new(args: &[Field], spec: Spec<'_>) -> Self {
        let mut out = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let text = arg.prefix();
            if text == "--" && arg.is_known() {
                out.before_dashes = Some(out.operands.len());
                out.operands.extend(args.by_ref().cloned());
            } else if text.starts_with("--") {
                out.long(arg, &mut args, spec);
            } else if text == "-" && !arg.is_known() {
                out.loose = true;
            } else if text.starts_with('-') && text.len() > 1 {
                out.short(arg, &mut args, spec);
            } else {
                out.loose |= arg.may_be_option();
                out.operands.push(arg.clone());
                if spec.in_order {
                    out.operands.extend(args.by_ref().cloned());
                }
            }
        }
        out
    }

    fn long<'a>(&mut self, arg: &Field, args: &mut impl Iterator<Item = &'a Field>, spec: Spec<'_>) {
        let text = arg.prefix();
        if let Some((name, _)) = text.split_once('=') {
            let value = arg.strip_prefix(&format!("{name}="));
            self.options.push((name.to_owned(), value));
            return;
        }
        self.loose |= !arg.is_known();
        let takes = spec.long.iter().any(|long| *long == text || (text.len() > 3 && long.starts_with(text)));
        let value = takes.then(|| args.next().cloned()).flatten();
        self.loose |= value.as_ref().is_some_and(Field::splits);
        self.options.push((text.to_owned(), value));
    }

    fn short<'a>(&mut self, arg: &Field, args: &mut impl Iterator<Item = &'a Field>, spec: Spec<'_>) {
        let mut letters = arg.prefix()[1..].chars().peekable();
        let mut taken = String::from("-");
        while let Some(letter) = letters.next() {
            taken.push(letter);
            let name = format!("-{letter}");
            let attached = arg.strip_prefix(&taken).filter(|rest| !rest.0.is_empty());
            match (spec.value_kind(letter), attached) {
                (':', None) => {
                    let value = args.next().cloned();
                    self.loose |= value.as_ref().is_some_and(Field::splits);
                    return self.options.push((name, value));
                }
                (':' | '?', attached) => return self.options.push((name, attached)),
                ('#', _) => {
                    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                        taken.push(digit);
                    }
                    self.options.push((name, None));
                }
                _ => self.options.push((name, None)),
            }
        }
        self.loose |= !arg.is_known();
    }

    /// Whether one of the options is given. A long one may be abbreviated.
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        self.options.iter().any(|(given, _)| names.iter().any(|name| is_option(given, name)))
    }

    /// The values of all options with one of these names.
    pub(crate) fn values(&self, names: &[&str]) -> Vec<&Field> {
        self.options
            .iter()
            .filter(|(given, _)| names.iter().any(|name| is_option(given, name)))
            .filter_map(|(_, value)| value.as_ref())
            .collect()
    }

    pub(crate) fn value(&self, names: &[&str]) -> Option<&Field> {
        self.values(names).pop()
    }
}

fn is_option(given: &str, name: &str) -> bool {
    given == name || (given.len() > 3 && given.starts_with("--") && name.starts_with(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_values_and_abbreviations_are_understood() {
        let args: Vec<Field> =
            ["-rfofile", "--out=x", "--in-pl", "a", "--", "-b"].into_iter().map(Field::literal).collect();
        let parsed = Parsed::new(&args, Spec::new("o:", &["--output"]));
        assert!(parsed.has(&["-r"]) && parsed.has(&["-f"]) && parsed.has(&["--in-place"]));
        assert_eq!(parsed.value(&["-o"]), Some(&Field::literal("file")));
        assert_eq!(parsed.value(&["--output"]), Some(&Field::literal("x")));
        assert_eq!(parsed.operands.len(), 2);
        assert_eq!(parsed.before_dashes, Some(1));
    }
}
