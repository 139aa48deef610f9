//! From text to syntax tree, behind bounds that keep the grammar from overflowing its stack (which would end the
//! process), from taking exponential time, and from panicking. It knows nothing of what commands do.
//! Next: `walk` goes over the tree.

use std::borrow::Cow;

use brush_parser::{ParserOptions, Token, ast};

/// Tokens that open something the grammar recurses into. Counted, not balanced: a closing word can be an argument
/// (`echo }`), so balance could be faked. Real commands have a few dozen.
const OPENERS_MAX: usize = 400;
/// `$(`, `${`, `$[` anywhere, quoted or not: the tokenizer recurses into them.
const EXPANSIONS_MAX: usize = 400;
/// A `case` whose last arm lacks `;;`, and a process substitution that does not parse, are each read twice a level.
const READ_TWICE_MAX: usize = 10;
/// Each parenthesis left open before the next `;` doubles the time of the attempt to read `((` as arithmetic.
const ARITHMETIC_OPEN_MAX: usize = 10;
/// `a[` at the start of a word is tried as an array element, each nested expansion with some twenty rules.
const SUBSCRIPT_NESTING_MAX: usize = 3;
/// File descriptor numbers longer than this do not fit the parser's integer, which would panic.
const DESCRIPTOR_DIGITS_MAX: usize = 9;

/// Why a text was not parsed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("nested too deep: more than {0} openings")]
    Openings(usize),
    #[error("too many nested `case` or `<( )`")]
    ReadTwice,
    #[error("an opening parenthesis is never closed")]
    Unclosed,
    #[error("parentheses nested too deep")]
    Parentheses,
    #[error("array subscript nested too deep")]
    Subscript,
    #[error("file descriptor number too long")]
    Descriptor,
    #[error("syntax: {0}")]
    Syntax(String),
}

/// Parses `text` as bash does by default, without extended patterns; then with them, for scripts that turn them on.
pub(crate) fn parse(text: &str) -> Result<ast::Program, Refusal> {
    if expansions(text) > EXPANSIONS_MAX {
        return Err(Refusal::Openings(EXPANSIONS_MAX));
    }
    let text = finished(text);
    attempt(&text, false).or_else(|first| match first {
        Refusal::Syntax(_) | Refusal::Unclosed => attempt(&text, true).map_err(|_| first),
        bound => Err(bound),
    })
}

/// With an empty line for each here-document that may be open at the end. The tokenizer takes `<<` before blanks and an
/// operator, within `$( )`, for a here-document with an empty tag, and at the end of its input looks for that tag
/// forever, until memory is gone (0.4.0).
fn finished(text: &str) -> Cow<'_, str> {
    let open = text.matches("<<").count();
    if open == 0 {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.to_owned() + &"\n".repeat(open + 2))
}

fn attempt(text: &str, extended_patterns: bool) -> Result<ast::Program, Refusal> {
    let options = ParserOptions { enable_extended_globbing: extended_patterns, ..ParserOptions::default() };
    let tokens = brush_parser::uncached_tokenize_str(text, &options.tokenizer_options())
        .map_err(|error| Refusal::Syntax(error.to_string()))?;
    bound(&tokens)?;
    if let Some(apart) = told_apart(text, &tokens) {
        return attempt(&apart, extended_patterns);
    }
    brush_parser::parse_tokens(&tokens, &options).map_err(|error| Refusal::Syntax(error.to_string()))
}

/// `( (` is a subshell in a subshell, and the grammar takes it for `((`: a command that does nothing goes between. None if
/// there is no such place.
fn told_apart(text: &str, tokens: &[Token]) -> Option<String> {
    let open = |token: &Token| is_operator(token, "(");
    let apart = tokens.windows(2).filter(|pair| open(&pair[0]) && open(&pair[1]));
    let places: Vec<usize> = apart
        .map(|pair| (pair[0].location().end.index, pair[1].location().start.index))
        .filter(|(end, start)| end != start)
        .map(|(_, start)| start)
        .collect();
    if places.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len() + places.len() * 4);
    for (at, c) in text.chars().enumerate() {
        if places.contains(&at) {
            out.push_str(":; ");
        }
        out.push(c);
    }
    Some(out)
}

/// How deep the grammar may recurse in `text` at most. Seen before anything is parsed, so it counts what only looks like an
/// opening too.
pub(crate) fn levels(text: &str) -> usize {
    let tests = text.contains("[[");
    let opens =
        |byte: &u8| matches!(byte, b'(' | b'{' | b'[' | b'`' | b'!' | b'\\') || tests && matches!(byte, b'&' | b'|');
    let words = text.as_bytes().split(|byte| !byte.is_ascii_alphabetic());
    let words = words.filter(|word| str::from_utf8(word).is_ok_and(is_opening_word)).count();
    (text.bytes().filter(|byte| opens(byte)).count() + words).min(OPENERS_MAX + EXPANSIONS_MAX)
}

fn expansions(text: &str) -> usize {
    let bytes = text.as_bytes();
    bytes.windows(2).filter(|pair| pair[0] == b'$' && matches!(pair[1], b'(' | b'{' | b'[')).count()
}

fn bound(tokens: &[Token]) -> Result<(), Refusal> {
    let tests = tokens.iter().any(|token| token.to_str() == "[[");
    let openers = tokens.iter().filter(|token| opens(token, tests)).count();
    if openers > OPENERS_MAX {
        return Err(Refusal::Openings(OPENERS_MAX));
    }
    let read_twice = tokens
        .iter()
        .zip(tokens.iter().skip(1).map(Some).chain([None]))
        .filter(|(token, next)| is_read_twice(token, *next))
        .count();
    if read_twice > READ_TWICE_MAX {
        return Err(Refusal::ReadTwice);
    }
    bound_parentheses(tokens)?;
    bound_words(tokens)
}

/// Within `[[ ]]`, each `&&` and `||` is a level too.
fn opens(token: &Token, tests: bool) -> bool {
    match token {
        Token::Operator(text, _) => text == "(" || tests && matches!(text.as_str(), "&&" | "||"),
        Token::Word(text, _) => matches!(text.as_str(), "{" | "[[" | "!") || is_opening_word(text),
    }
}

fn is_opening_word(text: &str) -> bool {
    matches!(text, "if" | "elif" | "while" | "until" | "for" | "case" | "do" | "function" | "coproc" | "select")
}

fn is_read_twice(token: &Token, next: Option<&Token>) -> bool {
    match token {
        Token::Word(text, _) => text == "case",
        Token::Operator(text, _) => {
            matches!(text.as_str(), "<" | ">") && next.is_some_and(|next| is_operator(next, "("))
        }
    }
}

fn is_operator(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Operator(text, _) if text == wanted)
}

/// No valid text leaves a parenthesis open, so refusing loses nothing; `((` additionally must not look ahead over many
/// that are still open at the next `;`.
fn bound_parentheses(tokens: &[Token]) -> Result<(), Refusal> {
    let mut open = 0_usize;
    for token in tokens {
        if is_operator(token, "(") {
            open += 1;
        } else if is_operator(token, ")") {
            open = open.saturating_sub(1);
        }
    }
    if open > 0 {
        return Err(Refusal::Unclosed);
    }
    let mut doubled = false;
    let mut unclosed = 0_usize;
    for pair in tokens.windows(2) {
        if is_operator(&pair[0], ";") {
            (doubled, unclosed) = (false, 0);
        }
        doubled |= is_operator(&pair[0], "(") && is_operator(&pair[1], "(");
        if is_operator(&pair[0], "(") {
            unclosed += 1;
        } else if is_operator(&pair[0], ")") {
            unclosed = unclosed.saturating_sub(1);
        }
        if doubled && is_operator(&pair[1], ";") && unclosed > ARITHMETIC_OPEN_MAX {
            return Err(Refusal::Parentheses);
        }
    }
    Ok(())
}

fn bound_words(tokens: &[Token]) -> Result<(), Refusal> {
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(text, _) = token else {
            continue;
        };
        if subscript_nesting(text) > SUBSCRIPT_NESTING_MAX {
            return Err(Refusal::Subscript);
        }
        let number = text.bytes().all(|byte| byte.is_ascii_digit());
        let redirects = matches!(tokens.get(at + 1), Some(Token::Operator(op, to))
            if op.starts_with(['<', '>']) && to.start.index == token.location().end.index);
        if number && redirects && text.len() > DESCRIPTOR_DIGITS_MAX {
            return Err(Refusal::Descriptor);
        }
    }
    Ok(())
}

fn subscript_nesting(word: &str) -> usize {
    let name = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(word.len());
    let Some(subscript) = word[name..].strip_prefix('[') else {
        return 0;
    };
    if name == 0 || word.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    let end = subscript.find("]=").unwrap_or(subscript.len());
    let inside = &subscript[..end];
    inside.bytes().filter(|byte| matches!(byte, b'[' | b'{' | b'(' | b'`')).count() + inside.matches('"').count() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_nesting_is_refused_before_it_can_overflow() {
        for opener in ["{ ", "( ", "if ", "$(", "${a:-", "! ", "while ", "echo <("] {
            assert!(parse(&opener.repeat(5000)).is_err(), "{opener}");
        }
    }

    #[test]
    fn deepest_accepted_nesting_parses_on_the_stack_we_give() {
        let text = format!("{}true{}", "{ ".repeat(OPENERS_MAX), "; }".repeat(OPENERS_MAX));
        assert!(crate::stack::with_room(levels(&text), || parse(&text).is_ok()));
    }

    #[test]
    fn unclosed_parentheses_do_not_take_exponential_time() {
        for text in [
            "(".repeat(60),
            format!("{}a; b{}", "( ".repeat(60), " )".repeat(60)),
            format!("echo {}a{}", "a[${b".repeat(40), "}]".repeat(40)),
            format!("x{}a{}=1", "[${b".repeat(40), "}]".repeat(40)),
            format!("{}:{}", "case a in a) ".repeat(60), " esac".repeat(60)),
            format!("{}:", "cat <(".repeat(60)),
        ] {
            let _ = parse(&text);
        }
    }

    #[test]
    fn empty_here_document_tags_do_not_loop_forever() {
        for text in ["$(<< (i ", "cat <<''", "$(( $((1)) << (2) ))", "$(<< ;<< (<<-;", "cat <<\"\" <<'' <<\\"] {
            let _ = parse(text);
        }
    }

    #[test]
    fn long_descriptor_number_is_refused_not_a_panic() {
        assert_eq!(parse("99999999999>x").unwrap_err(), Refusal::Descriptor);
        assert!(parse("echo 99999999999 > x").is_ok());
        assert!(parse("echo 1700000000000").is_ok());
    }
}
