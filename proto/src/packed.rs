//! Messages of the wire as bytes, where they go through the store and not over a connection: what a coordinator asks
//! a sidecar (`Ask`), and what that answers (`Answer`). Whoever packs and unpacks need not know how.

use prost::Message;

/// Bytes that are no such message: of another version, or of nobody we know.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be read")]
pub struct Unreadable(#[source] prost::DecodeError);

#[must_use]
pub fn pack(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// # Errors
/// If the bytes are no such message.
pub fn unpack<M: Message + Default>(bytes: &[u8]) -> Result<M, Unreadable> {
    M::decode(bytes).map_err(Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn what_was_packed_comes_out_and_other_bytes_are_refused() {
        let request = v1::LogRequest { session: "0a1b".into(), limit: 7, ..Default::default() };
        let ask = v1::Ask { what: Some(v1::ask::What::Log(request)) };
        assert_eq!(unpack::<v1::Ask>(&pack(&ask)).expect("reads"), ask);
        assert!(unpack::<v1::Ask>(b"\xff\xff\xff").is_err());
    }
}
