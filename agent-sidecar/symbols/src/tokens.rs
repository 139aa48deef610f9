//! Hashes over tokens and the shape of the tree: what is left of a text when white space and comments do not count.
//! Shape is in because white space can carry it (`return` and a line break, indented blocks). It refuses to know
//! languages.

use std::hash::{DefaultHasher, Hasher};

/// What goes into a hash. A text is hashed once, however many definitions it stands in.
#[derive(Clone, Copy)]
pub(crate) struct Token(u64);

impl Token {
    pub(crate) const CLOSE: Self = Self(3);

    pub(crate) fn text(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self(hasher.finish())
    }

    pub(crate) fn open(kind: u16) -> Self {
        Self((u64::from(kind) + 1) << 32)
    }

    pub(crate) fn number(number: u64) -> Self {
        Self(number)
    }
}

/// What one hash is made of, in order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tokens(u64);

impl Tokens {
    pub(crate) fn add(&mut self, token: Token) {
        // Odd, without a pattern (the golden ratio): every bit of what was before reaches the high ones, and the turn
        // brings them back.
        self.0 = (self.0.rotate_left(23) ^ token.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Words of a comment, however it is broken into lines.
    pub(crate) fn words(&mut self, bytes: &[u8]) {
        let words = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.for_each(|word| self.add(Token::text(word)));
        self.add(Token::CLOSE);
    }

    pub(crate) fn hash(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_ends_of_tokens_count() {
        let hash = |texts: &[&str]| {
            let mut tokens = Tokens::default();
            texts.iter().for_each(|text| tokens.add(Token::text(text.as_bytes())));
            tokens.hash()
        };
        let all = [hash(&[]), hash(&["a"]), hash(&["a", "b"]), hash(&["b", "a"]), hash(&["ab"]), hash(&["a", "a"])];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
