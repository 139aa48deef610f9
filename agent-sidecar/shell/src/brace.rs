//! Brace expansion: `a{b,c}` and `{1..3}` into several words, before anything else is expanded, as bash does.
//! It works on lexed items, so quoted braces stay. Next: `expand`.

use crate::lex::Item;

/// Most words that one word may become; past it, none is expanded and the word is taken as it is.
const WORDS_MAX: usize = 256;

/// All words that `items` stands for; none if there are more than can be looked at.
pub(crate) fn expand(items: Vec<Item>) -> Option<Vec<Vec<Item>>> {
    if !items.iter().any(|item| is(item, '{')) {
        return Some(vec![items]);
    }
    let mut done = Vec::new();
    let mut open = vec![items];
    while let Some(word) = open.pop() {
        match split(&word) {
            None => done.push(word),
            Some(words) => open.extend(words.into_iter().rev()),
        }
        if done.len() + open.len() > WORDS_MAX {
            return None;
        }
    }
    Some(done)
}

fn is(item: &Item, wanted: char) -> bool {
    matches!(item, Item::Char { c, quoted: false } if *c == wanted)
}

/// Expands the first brace expression of a word.
fn split(word: &[Item]) -> Option<Vec<Vec<Item>>> {
    let starts = word.iter().enumerate().filter(|(_, item)| is(item, '{')).map(|(at, _)| at);
    for start in starts.take(WORDS_MAX) {
        let Some((end, commas)) = matching(word, start) else {
            continue;
        };
        let members =
            if commas.is_empty() { sequence(&word[start + 1..end]) } else { Some(list(word, start, end, &commas)) };
        if let Some(members) = members {
            return Some(
                members.into_iter().map(|member| [&word[..start], &member, &word[end + 1..]].concat()).collect(),
            );
        }
    }
    None
}

fn matching(word: &[Item], start: usize) -> Option<(usize, Vec<usize>)> {
    let mut depth = 0_usize;
    let mut commas = Vec::new();
    for (at, item) in word.iter().enumerate().skip(start + 1) {
        if is(item, '{') {
            depth += 1;
        } else if is(item, '}') && depth > 0 {
            depth -= 1;
        } else if is(item, '}') {
            return Some((at, commas));
        } else if is(item, ',') && depth == 0 {
            commas.push(at);
        }
    }
    None
}

fn list(word: &[Item], start: usize, end: usize, commas: &[usize]) -> Vec<Vec<Item>> {
    let mut from = start + 1;
    let mut members = Vec::new();
    for &at in commas.iter().chain([&end]) {
        members.push(word[from..at].to_vec());
        from = at + 1;
    }
    members
}

fn sequence(inner: &[Item]) -> Option<Vec<Vec<Item>>> {
    let text: Option<String> = inner
        .iter()
        .map(|item| match item {
            Item::Char { c, quoted: false } => Some(*c),
            _ => None,
        })
        .collect();
    let text = text?;
    let mut parts = text.split("..");
    let (from, to, step) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let step = step.map_or(Some(1), |step| step.parse::<i64>().ok())?;
    let words = numbers(from, to, step).or_else(|| letters(from, to, step))?;
    Some(words.iter().map(|word| plain(word)).collect())
}

fn numbers(from: &str, to: &str, step: i64) -> Option<Vec<String>> {
    let (first, last) = (from.parse::<i64>().ok()?, to.parse::<i64>().ok()?);
    let padded = |text: &str| text.trim_start_matches('-').starts_with('0') && text.len() > 1;
    let width = if padded(from) || padded(to) { from.len().max(to.len()) } else { 0 };
    let values = steps(first, last, step)?;
    Some(values.iter().map(|n| format!("{n:0width$}")).collect())
}

fn letters(from: &str, to: &str, step: i64) -> Option<Vec<String>> {
    let letter = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(i64::from(*byte)),
        _ => None,
    };
    let values = steps(letter(from)?, letter(to)?, step)?;
    values.into_iter().map(|n| u8::try_from(n).ok().map(|byte| char::from(byte).to_string())).collect()
}

fn steps(first: i64, last: i64, step: i64) -> Option<Vec<i64>> {
    let step = i128::from(step.unsigned_abs().max(1));
    let (first, last) = (i128::from(first), i128::from(last));
    let count = (last - first).abs() / step;
    if count >= i128::try_from(WORDS_MAX).ok()? {
        return None;
    }
    let sign = if last < first { -1 } else { 1 };
    (0..=count).map(|n| i64::try_from(first + sign * step * n).ok()).collect()
}

fn plain(text: &str) -> Vec<Item> {
    text.chars().map(|c| Item::Char { c, quoted: false }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::{Mode, items};

    fn words(text: &str) -> Vec<String> {
        expand(items(text, Mode::Word))
            .unwrap_or_default()
            .into_iter()
            .map(|word| {
                word.iter()
                    .filter_map(|item| match item {
                        Item::Char { c, .. } => Some(*c),
                        _ => None,
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn braces_expand_as_in_bash() {
        assert_eq!(words("a{b,c{d,e}}f"), ["abf", "acdf", "acef"]);
        assert_eq!(words("{1..3}"), ["1", "2", "3"]);
        assert_eq!(words("{08..10}"), ["08", "09", "10"]);
        assert_eq!(words("{c..a}"), ["c", "b", "a"]);
        assert_eq!(words("{a}"), ["{a}"]);
        assert_eq!(words("'{a,b}'"), ["{a,b}"]);
        assert_eq!(words("x{,.bak}"), ["x", "x.bak"]);
        assert_eq!(words("{1..99999999999999999999}"), ["{1..99999999999999999999}"]);
        assert!(words("{1..100000}").len() <= 1);
    }
}
