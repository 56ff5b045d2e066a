//! HTTP headers as they were received: order, repetition and bytes kept. Names are lower case, as HTTP/2 sends them.
//! In metadata a value that is UTF-8 is a text, any other is `{"base64": …}`. Parses nothing further.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::{Text, json_text};

/// The value of one header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderText(Box<[u8]>);

impl HeaderText {
    /// Takes the bytes as received (without surrounding white space).
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The value, when it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The value's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for HeaderText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

/// How a value that is no text is written.
#[derive(Serialize)]
struct Bytes {
    base64: String,
}

impl Serialize for HeaderText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(text) => serializer.serialize_str(text),
            None => Bytes {
                base64: STANDARD.encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Reads either form without keeping it in between: every message has a dozen of these.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = HeaderText;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a header's value: a text, or bytes as {\"base64\": …}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HeaderText, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<HeaderText, A::Error> {
        let mut value = None;
        while let Some(name) = fields.next_key::<Text<'de>>()? {
            if name.as_str() == "base64" {
                let encoded = fields.next_value::<Text<'de>>()?;
                let bytes = STANDARD.decode(encoded.as_str()).map_err(A::Error::custom)?;
                value = Some(HeaderText(bytes.into()));
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        value.ok_or_else(|| A::Error::missing_field("base64"))
    }
}

/// All headers of one request, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub Vec<(String, HeaderText)>);

impl Headers {
    /// The first value of `name` (lower case), when it is UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(have, _)| have == name)
            .and_then(|(_, value)| value.as_str())
    }

    /// Every UTF-8 value of `name` (lower case), in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .iter()
            .filter(move |(have, _)| have == name)
            .filter_map(|(_, value)| value.as_str())
    }

    /// Writes them as metadata has them.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (at, (name, value)) in self.0.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"[" } else { b",[" });
            json_text::text(out, name.as_bytes(), name);
            out.push(b',');
            json_text::text(out, value.as_bytes(), value);
            out.push(b']');
        }
        out.push(b']');
    }

    /// Appends a header; the name is lowered.
    pub fn push(&mut self, name: &str, value: impl Into<HeaderText>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_survive() {
        let mut headers = Headers::default();
        headers.push("X-Name", "Zoë");
        headers.push("x-raw", HeaderText::new(vec![0xff, 0x00]));
        let json = serde_json::to_string(&headers).expect("headers are JSON");
        assert_eq!(json, r#"[["x-name","Zoë"],["x-raw",{"base64":"/wA="}]]"#);
        let read: Headers = serde_json::from_str(&json).expect("what was written");
        assert_eq!(read, headers);
        assert_eq!((read.get("x-name"), read.get("x-raw")), (Some("Zoë"), None));
    }
}
