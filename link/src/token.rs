//! The word that lets a new machine in: one line of text with a secret, where the coordinators are, and the certificate of the
//! authority, so that the machine believes nobody else. A part of it, or another text, is told from a whole one. Whether the
//! secret still counts is the store's to say.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rr_core::id::{FleetName, hex};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::dial::Address;
use crate::identity::Role;

pub const SECRET_BYTES: usize = 32;
/// What every token begins with; the number is the version of what follows.
const PREFIX: &str = "rrjoin1.";
const CHECKSUM_BYTES: usize = 8;
/// A fleet has a few coordinators; a certificate is below 1 KiB.
const ADDRESSES_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 16 << 10;

/// A token, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub secret: [u8; SECRET_BYTES],
    pub fleet: FleetName,
    /// For display: what counts stands in the store.
    pub role: Role,
    pub expires_unix_ms: u64,
    pub addresses: Vec<Address>,
    pub authority: CertificateDer<'static>,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("fleet", &self.fleet).field("role", &self.role).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("this is no join token: it begins with {PREFIX}, and `rrctl join-token create` prints it")]
    NoToken,
    #[error("this token is of another version of railroad: update the older of the two machines")]
    OtherVersion,
    #[error("the token is not whole or was changed on the way: copy it again, all of it ({found} characters came)")]
    NotWhole { found: usize },
    #[error("at most {ADDRESSES_MAX} addresses fit into a token, and there is at least one, all with https://")]
    Addresses,
}

/// What the store keeps of a secret: whoever reads the store cannot join with it.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl JoinToken {
    /// As one line of text.
    ///
    /// # Errors
    /// If it has no address, too many, or one without TLS.
    pub fn text(&self) -> Result<String, TokenError> {
        let fits = (1..=ADDRESSES_MAX).contains(&self.addresses.len());
        if !fits || !self.addresses.iter().all(Address::is_tls) {
            return Err(TokenError::Addresses);
        }
        let mut bytes = self.secret.to_vec();
        bytes.extend(self.expires_unix_ms.to_be_bytes());
        put(&mut bytes, self.fleet.as_str().as_bytes());
        put(&mut bytes, self.role.word().as_bytes());
        let addresses: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        put(&mut bytes, addresses.join(" ").as_bytes());
        put(&mut bytes, &self.authority);
        let sum = Sha256::digest(&bytes);
        bytes.extend(&sum[..CHECKSUM_BYTES]);
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Reads a token as it was pasted: breaks and blanks in it do no harm.
    ///
    /// # Errors
    /// If it is none, or not a whole one.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).take(TEXT_BYTES_MAX).collect();
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            let is_other = text.strip_prefix("rrjoin").is_some_and(|rest| rest.contains('.'));
            return Err(if is_other { TokenError::OtherVersion } else { TokenError::NoToken });
        };
        whole(encoded).ok_or(TokenError::NotWhole { found: text.len() })
    }
}

fn whole(encoded: &str) -> Option<JoinToken> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let (bytes, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
    if Sha256::digest(bytes)[..CHECKSUM_BYTES] != *sum {
        return None;
    }
    let (secret, rest) = bytes.split_first_chunk::<SECRET_BYTES>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let (fleet, rest) = take(rest)?;
    let (role, rest) = take(rest)?;
    let (addresses, rest) = take(rest)?;
    let (authority, rest) = take(rest)?;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let addresses: Option<Vec<_>> = text(addresses)?.split(' ').map(|a| Address::parse(a).ok()).collect();
    rest.is_empty().then_some(JoinToken {
        secret: *secret,
        fleet: FleetName::parse(text(fleet)?).ok()?,
        role: Role::parse(text(role)?).ok()?,
        expires_unix_ms: u64::from_be_bytes(*expires),
        addresses: addresses?.into_iter().filter(Address::is_tls).collect(),
        authority: CertificateDer::from(authority.to_vec()),
    })
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    // Fields are names, addresses and one certificate: far below the limit, which only keeps this total.
    let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&field[..usize::from(length)]);
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            secret: [7; SECRET_BYTES],
            fleet: FleetName::default(),
            role: Role::Agent,
            expires_unix_ms: 1_900_000_000_000,
            addresses: vec![
                Address::parse("https://host-a:7420").unwrap(),
                Address::parse("https://[fd00::1]:9").unwrap(),
            ],
            authority: CertificateDer::from(vec![5; 400]),
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_made_also_with_breaks_in_it() {
        let text = token().text().unwrap();
        assert_eq!(JoinToken::parse(&text), Ok(token()));
        let broken: String = text.chars().flat_map(|c| [c, '\n', ' ']).collect();
        assert_eq!(JoinToken::parse(&broken), Ok(token()));
        assert!(!text.contains(char::is_whitespace));
    }

    #[test]
    fn any_part_of_a_token_and_any_change_in_it_is_told() {
        let text = token().text().unwrap();
        for end in PREFIX.len()..text.len() {
            assert!(matches!(JoinToken::parse(&text[..end]), Err(TokenError::NotWhole { .. })), "{end} characters");
        }
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_ne!(JoinToken::parse(&changed), Ok(token()), "{at}");
            assert!(JoinToken::parse(&changed).is_err(), "{at}");
        }
        assert_eq!(JoinToken::parse(""), Err(TokenError::NoToken));
        assert_eq!(JoinToken::parse("ghp_0123"), Err(TokenError::NoToken));
        assert_eq!(JoinToken::parse("rrjoin2.AAAA"), Err(TokenError::OtherVersion));
    }

    #[test]
    fn a_token_leads_to_coordinators_with_tls_only() {
        let none = JoinToken { addresses: vec![], ..token() };
        let plain = JoinToken { addresses: vec![Address::parse("http://127.0.0.1:1").unwrap()], ..token() };
        for bad in [none, plain] {
            assert_eq!(bad.text(), Err(TokenError::Addresses));
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert!(!format!("{:?}", token()).contains('7'), "{:?}", token());
    }
}
