//! A text read from JSON without a copy: borrowed from what it was read from, its own only where it was escaped
//! there. In: a JSON string. Out: the text. Holds no limit on its length.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that borrows from what it was read from where it can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'a> From<Text<'a>> for String {
    fn from(text: Text<'a>) -> Self {
        text.0.into_owned()
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Reading).map(Self)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_copied_only_where_it_was_escaped() {
        let check = |json: &str, text: &str, is_borrowed: bool| {
            let read: Text<'_> = serde_json::from_str(json).expect("a JSON string");
            assert_eq!(
                (read.as_str(), matches!(read.0, Cow::Borrowed(_))),
                (text, is_borrowed)
            );
            assert_eq!(serde_json::to_string(&read).expect("a text"), json);
        };
        check(r#""plain Zoë""#, "plain Zoë", true);
        check(r#""two\nlines""#, "two\nlines", false);
        assert!(serde_json::from_str::<Text<'_>>("7").is_err());
    }
}
