//! What programs print that only turn one text into another: decoders of base64 and hex, `rev`, `tr`, and the escapes of
//! `printf` and `echo -e`. A text that is not plain UTF-8 afterwards is unknown. It runs nothing.

use base64::Engine as _;

use crate::calls::Call;
use crate::field::Field;
use crate::shell::Flow;

pub(super) fn output(call: &Call<'_>) -> Flow {
    let Flow::Text(text) = call.stdin else {
        return Flow::Unknown;
    };
    let words: Option<Vec<&str>> = call.args.iter().map(Field::known).collect();
    let Some(words) = words else {
        return Flow::Unknown;
    };
    let has = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let decoded = match call.name {
        "base64" if has(&["-d", "-D", "--decode", "-di", "-id", "-dw0"]) => base64_text(text),
        "basenc" if has(&["--base64"]) && has(&["-d", "--decode"]) => base64_text(text),
        "openssl" if has(&["base64", "-base64", "-a"]) && has(&["-d"]) => base64_text(text),
        "xxd" if reverses(&words) => hex_text(text),
        "rev" if words.is_empty() => Some(text.lines().map(|l| l.chars().rev().collect::<String>() + "\n").collect()),
        "tr" => translated(&words, text),
        _ => None,
    };
    decoded.map_or(Flow::Unknown, Flow::Text)
}

fn reverses(words: &[&str]) -> bool {
    let letters: String = words.iter().filter_map(|word| word.strip_prefix('-')).collect();
    letters.contains('r') && letters.contains('p')
}

/// Base64, with blanks and missing padding forgiven as the tools do or nearly do.
pub(crate) fn base64_text(text: &str) -> Option<String> {
    let clean: String = text.chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    let clean = clean.replace('-', "+").replace('_', "/");
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(clean).ok()?;
    String::from_utf8(bytes).ok()
}

pub(crate) fn hex_text(text: &str) -> Option<String> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .map(|d| u8::try_from(d?).ok())
        .collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| Some(pair[0] << 4 | *pair.get(1)?)).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}

/// `tr` between two sets of the same length.
fn translated(words: &[&str], text: &str) -> Option<String> {
    if let ["-d", set] = words {
        let set = set_of(set)?;
        return Some(text.chars().filter(|c| !set.contains(c)).collect());
    }
    let [from, to] = words else {
        return None;
    };
    let (from, mut to) = (set_of(from)?, set_of(to)?);
    let last = *to.last()?;
    to.resize(from.len().max(to.len()), last);
    Some(text.chars().map(|c| from.iter().position(|f| *f == c).map_or(c, |at| to[at])).collect())
}

fn set_of(text: &str) -> Option<Vec<char>> {
    if text.contains('[') || text.starts_with('-') {
        return None;
    }
    let chars: Vec<char> = escapes(text)?.chars().collect();
    let mut set = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if chars.get(at + 1) == Some(&'-') && at + 2 < chars.len() {
            set.extend((chars[at]..=chars[at + 2]).take(256));
            at += 3;
        } else {
            set.push(chars[at]);
            at += 1;
        }
    }
    Some(set)
}

/// Backslash escapes as `printf` decodes them; none if one is not known.
pub(crate) fn escapes(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let (byte, len) = escape(&bytes[at + 1..])?;
        out.push(byte);
        at += 1 + len;
    }
    String::from_utf8(out).ok()
}

/// The byte of one escape, and how long its text is.
fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    let plain = match rest.first()? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 7,
        b'b' => 8,
        b'e' => 27,
        b'\\' => b'\\',
        b'"' => b'"',
        b'\'' => b'\'',
        b'x' => return number(&rest[1..], 16, 2).map(|(byte, len)| (byte, len + 1)),
        b'0'..=b'7' => return number(rest, 8, if rest[0] == b'0' { 4 } else { 3 }),
        _ => return None,
    };
    Some((plain, 1))
}

fn number(rest: &[u8], radix: u32, digits_max: usize) -> Option<(u8, usize)> {
    let len = rest.iter().take(digits_max).take_while(|b| char::from(**b).is_digit(radix)).count();
    let text = std::str::from_utf8(&rest[..len]).ok()?;
    let value = u32::from_str_radix(text, radix).ok()?;
    Some((u8::try_from(value & 0xff).ok()?, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded_as_the_tools_do() {
        assert_eq!(base64_text("cm0gLXJmIC8=\n").as_deref(), Some("rm -rf /"));
        assert_eq!(base64_text("cm0gLXJmIC8").as_deref(), Some("rm -rf /"));
        assert_eq!(base64_text("%%%"), None);
        assert_eq!(hex_text("726d 202d7266 202f").as_deref(), Some("rm -rf /"));
        assert_eq!(hex_text("7"), None);
        assert_eq!(escapes(r"\x72\155 -rf \057\n").as_deref(), Some("rm -rf /\n"));
        assert_eq!(escapes(r"\q"), None);
        assert_eq!(translated(&["a-z", "n-za-m"], "ez").as_deref(), Some("rm"));
        assert_eq!(translated(&["-d", "x"], "rxm").as_deref(), Some("rm"));
    }
}
