//! JSON from agents, read strictly: a key that stands twice is an error, because the agent and we could each believe another
//! of the two. Depth is limited by the parser, size by the socket.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Parses one JSON object.
///
/// # Errors
/// If the bytes are no JSON object, nest too deeply, or name a key twice.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let Strict(value) = serde_json::from_slice(bytes)?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(serde_json::Error::custom(format!("expected an object, got {}", kind(&other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder).map(Self)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("key {key:?} stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_an_error_at_any_depth() {
        assert!(object(br#"{"a":1,"a":2}"#).is_err());
        assert!(object(br#"{"a":{"b":[{"c":1,"c":1}]}}"#).is_err());
        assert!(object(br#"{"a":{"b":1},"b":1}"#).is_ok());
    }

    #[test]
    fn depth_truncation_and_other_shapes_are_errors_and_never_a_crash() {
        let deep = format!("{}{}{}", r#"{"a":"#, "[".repeat(10_000), "]".repeat(10_000));
        assert!(object(deep.as_bytes()).is_err());
        let whole = br#"{"hook_event_name":"PreToolUse","tool_input":{"file_path":"/p/\u00e9"},"n":[1,2.5,null,true]}"#;
        assert!(object(whole).is_ok());
        for cut in 0..whole.len() {
            assert!(object(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for other in [&b""[..], b"null", b"[]", b"7", b"\"x\"", b"\xff\xfe", b"{\"a\":\"\xff\"}"] {
            assert!(object(other).is_err());
        }
    }
}
