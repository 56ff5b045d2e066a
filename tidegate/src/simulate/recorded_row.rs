//! A row of the view `requests`, as ClickHouse prints it in JSON. In: one line. Out: the request's metadata, as far as a
//! row tells it: the registered URL is not in it.

use anyhow::Context as _;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_schemas::{
    EnvironmentId, Headers, Pointer, RequestId, RequestKind, RequestMeta, UnixMillis, WRITE_VERSION,
};

use super::recording::Recorded;

/// The columns that matter.
#[derive(Deserialize)]
pub struct Row {
    request_id: RequestId,
    environment: EnvironmentId,
    integration: String,
    provider: String,
    kind: RequestKind,
    #[serde(default)]
    connection: String,
    method: String,
    path: String,
    #[serde(default)]
    query: String,
    #[serde(default, deserialize_with = "pairs")]
    headers: Headers,
    /// As text.
    pub body: Option<String>,
    /// Encoded, where it may be no text.
    pub body_base64: Option<String>,
    body_bytes: Number,
    status: u16,
    received_at: Moment,
    #[serde(default)]
    request_partition: u32,
    #[serde(default)]
    request_offset: Number,
}

/// A whole number, which ClickHouse may put into quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Quoted(String),
}

/// A time: milliseconds since 1970, or as ClickHouse writes one, in UTC.
#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Millis(u64),
    Text(String),
}

impl Default for Number {
    fn default() -> Self {
        Number::Plain(0)
    }
}

impl Number {
    fn read(&self) -> anyhow::Result<u64> {
        match self {
            Number::Plain(number) => Ok(*number),
            Number::Quoted(text) => text.parse().with_context(|| format!("`{text}` is no number")),
        }
    }
}

impl Moment {
    fn read(&self) -> anyhow::Result<UnixMillis> {
        let text = match self {
            Moment::Millis(millis) => return Ok(UnixMillis(*millis)),
            Moment::Text(text) => text,
        };
        let wrong = || format!("`{text}` is no time such as 2026-11-30 12:00:00.000");
        let time = match text.parse::<jiff::Timestamp>() {
            Ok(time) => time,
            Err(_) => {
                let civil: jiff::civil::DateTime = text.parse().with_context(wrong)?;
                civil
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .with_context(wrong)?
                    .timestamp()
            }
        };
        u64::try_from(time.as_millisecond())
            .map(UnixMillis)
            .with_context(wrong)
    }
}

impl Row {
    /// The request with its body.
    ///
    /// # Errors
    /// A time or number that is none.
    pub fn recorded(self, body: Bytes) -> anyhow::Result<Recorded> {
        let pointer = Pointer {
            partition: self.request_partition,
            offset: self.request_offset.read()?,
        };
        let meta = RequestMeta {
            v: WRITE_VERSION,
            kind: self.kind,
            id: self.request_id,
            environment: self.environment,
            integration: self.integration,
            provider: self.provider,
            connection: Some(self.connection).filter(|connection| !connection.is_empty()),
            method: self.method,
            path: self.path,
            query: self.query,
            url: String::new(),
            headers: self.headers,
            received_at: self.received_at.read()?,
            remote: None,
            body_bytes: self.body_bytes.read()?,
            status: self.status,
            refusal: None,
            detail: String::new(),
            spilled: false,
            replay: None,
        };
        Ok(Recorded { meta, body, pointer })
    }
}

/// A map whose names may repeat.
fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Headers, D::Error> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Headers;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("a map of headers")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Headers, A::Error> {
            let mut headers = Headers::default();
            while let Some((name, value)) = entries.next_entry::<String, String>()? {
                headers.push(&name, value.as_str());
            }
            Ok(headers)
        }
    }

    from.deserialize_map(Pairs)
}
