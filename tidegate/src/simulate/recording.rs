//! Requests that were recorded. In: JSON lines, of `tidegate logs requests --whole --json` (or any query of the view
//! `requests`) or of a reader of the topic, such as `kcat -J`; or messages of the topic itself. Out: requests in the order
//! in which they were received, each once. Looks at no body.

use std::collections::HashSet;
use std::io::BufRead;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tidegate_schemas::{Metadata as _, Pointer, RequestId, RequestKind, RequestMeta};

use super::recorded_row::Row;

/// The header in which a message on Kafka carries its metadata.
const HEADER: &str = "tidegate";

/// A request as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its metadata.
    pub meta: RequestMeta,
    /// Its body.
    pub body: Bytes,
    /// Where it lies in the topic.
    pub pointer: Pointer,
}

/// What was recorded.
#[derive(Debug, Default)]
pub struct Recording {
    requests: Vec<Recorded>,
    ids: HashSet<RequestId>,
    /// Only this integration's requests are taken.
    integration: Option<String>,
    /// How many were refused or answered by ingest, or were commands: they hold no events.
    pub passed_over: u64,
    /// How many have lost their body, or a part of it.
    pub bodiless: u64,
    /// How many messages cannot be read.
    pub unreadable: u64,
}

/// A message as a reader of a topic prints it.
#[derive(Deserialize)]
struct Printed {
    #[serde(alias = "value")]
    payload: Option<String>,
    headers: Value,
    #[serde(default)]
    partition: u32,
    #[serde(default)]
    offset: u64,
}

impl Recording {
    /// Nothing yet; `integration` leaves out the requests of all others.
    #[must_use]
    pub fn new(integration: Option<String>) -> Self {
        Self {
            integration,
            ..Self::default()
        }
    }

    /// Reads JSON lines. `name` names them in errors.
    ///
    /// # Errors
    /// A line is none of the forms that are known; it is named.
    pub fn read(&mut self, name: &str, lines: impl BufRead) -> anyhow::Result<()> {
        for (n, line) in (1..).zip(lines.split(b'\n')) {
            let line = line.with_context(|| format!("cannot read {name}"))?;
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.line(&String::from_utf8_lossy(&line))
                    .with_context(|| format!("{name}:{n}"))?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let value: Value =
            serde_json::from_str(line).context("is no JSON: one request a line is expected")?;
        if value.get("headers").is_some() && value.get("request_id").is_none() {
            let printed: Printed = serde_json::from_value(value).context("is no message of a topic")?;
            let meta = metadata(&printed.headers).with_context(|| {
                format!("has no header `{HEADER}`: print the topic with its headers, as `kcat -J` does")
            })?;
            let body = printed.payload.unwrap_or_default();
            let pointer = Pointer {
                partition: printed.partition,
                offset: printed.offset,
            };
            return self.message(meta.as_bytes(), Bytes::from(body), pointer);
        }
        if value.get("request_id").is_none() {
            bail!(
                "is no recorded request: record them with `tidegate logs requests --whole --json`, or read the topic \
                 with `kcat -J`"
            );
        }
        let row: Row = serde_json::from_str(line).context("is no row of `requests`")?;
        let body = match (&row.body, &row.body_base64) {
            (Some(body), _) => body.clone().into_bytes(),
            (None, Some(encoded)) => STANDARD.decode(encoded).context("has a body that is no base64")?,
            (None, None) => bail!("has no body: record with `tidegate logs requests --whole --json`"),
        };
        let recorded = row.recorded(body.into())?;
        self.add(recorded);
        Ok(())
    }

    /// Takes a message of the topic.
    ///
    /// # Errors
    /// It was written by a newer Tidegate.
    pub fn message(&mut self, meta: &[u8], body: Bytes, pointer: Pointer) -> anyhow::Result<()> {
        match RequestMeta::decode(meta) {
            Ok(meta) => self.add(Recorded { meta, body, pointer }),
            Err(error) if error.stops_reader() => return Err(error.into()),
            Err(_) => self.unreadable += 1,
        }
        Ok(())
    }

    fn add(&mut self, recorded: Recorded) {
        let meta = &recorded.meta;
        let other = self
            .integration
            .as_ref()
            .is_some_and(|wanted| *wanted != meta.integration);
        if other {
            return;
        }
        if meta.kind != RequestKind::Received {
            self.passed_over += 1;
        } else if (recorded.body.len() as u64) < meta.body_bytes {
            self.bodiless += 1;
        } else if self.ids.insert(meta.id) {
            self.requests.push(recorded);
        }
    }

    /// The requests, in the order in which they were received.
    #[must_use]
    pub fn requests(&mut self) -> &[Recorded] {
        self.requests
            .sort_by_key(|recorded| (recorded.meta.received_at, recorded.pointer));
        &self.requests
    }
}

/// The metadata among a message's headers: a list of names and values in turn, a list of pairs, or a map.
fn metadata(headers: &Value) -> Option<&str> {
    let named = |entry: &Value| entry.get("key").and_then(Value::as_str) == Some(HEADER);
    match headers {
        Value::Object(map) => map.get(HEADER)?.as_str(),
        Value::Array(list) => {
            let in_turn = list
                .chunks(2)
                .find(|pair| pair.first().and_then(Value::as_str) == Some(HEADER));
            let by_key = || list.iter().find(|entry| named(entry))?.get("value");
            in_turn.and_then(|pair| pair.get(1)).or_else(by_key)?.as_str()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = r#"{"v":1,"kind":"received","id":"0192f0c1-2b3c-7d4e-8f90-123456789abc","environment":"0192f0c1-2b3c-7d4e-8f90-123456789abd","integration":"crm","provider":"any","method":"POST","path":"/w","url":"","headers":[["a","1"],["a","2"]],"received_at":1700000000123,"body_bytes":2,"status":200}"#;

    fn read(lines: &str) -> anyhow::Result<Recording> {
        let mut recording = Recording::new(None);
        recording.read("r.jsonl", lines.as_bytes())?;
        Ok(recording)
    }

    #[test]
    fn every_form_yields_the_same_request() {
        let meta = serde_json::to_string(META).expect("a text");
        let row = r#"{"received_at":"2023-11-14 22:13:20.123","request_id":"0192f0c1-2b3c-7d4e-8f90-123456789abc","environment":"0192f0c1-2b3c-7d4e-8f90-123456789abd","integration":"crm","provider":"any","kind":"received","method":"POST","path":"/w","status":200,"connection":"","body_bytes":"2","request_partition":3,"request_offset":"17","query":"","headers":{"a":"1","a":"2"},"body":"hi"}"#;
        let forms = [
            format!(
                r#"{{"topic":"t","partition":3,"offset":17,"headers":["x","y","tidegate",{meta}],"payload":"hi"}}"#
            ),
            format!(
                r#"{{"partition":3,"offset":17,"headers":[{{"key":"tidegate","value":{meta}}}],"value":"hi"}}"#
            ),
            format!(r#"{{"partition":3,"offset":17,"headers":{{"tidegate":{meta}}},"value":"hi"}}"#),
            row.to_owned(),
        ];
        for form in forms {
            let mut recording = read(&form).unwrap_or_else(|error| panic!("{form}: {error:#}"));
            let [recorded] = recording.requests() else {
                panic!("{form}");
            };
            let expected = RequestMeta::decode(META.as_bytes()).expect("metadata");
            assert_eq!(recorded.meta, expected, "{form}");
            assert_eq!(
                (&recorded.body[..], recorded.pointer.offset),
                (&b"hi"[..], 17),
                "{form}"
            );
        }
    }

    #[test]
    fn what_holds_no_events_is_counted() {
        let printed = |meta: &str| {
            let meta = serde_json::to_string(meta).expect("a text");
            format!(r#"{{"headers":["tidegate",{meta}],"payload":"hi"}}"#)
        };
        let lines = [
            printed(META),
            printed(META),
            String::new(),
            printed(&META.replace("received\",\"id", "refused\",\"id")),
            printed(&META.replace("\"body_bytes\":2", "\"body_bytes\":3")),
            printed("{}"),
        ];
        let mut recording = read(&lines.join("\n")).expect("lines");
        assert_eq!(recording.requests().len(), 1, "the same request counts once");
        assert_eq!(
            (recording.passed_over, recording.bodiless, recording.unreadable),
            (1, 1, 1)
        );
    }

    #[test]
    fn a_line_of_another_form_is_named() {
        let check = |lines: &str, expected: &str| {
            let error = format!("{:#}", read(lines).expect_err(lines));
            assert!(error.contains(expected), "{lines}: {error}");
        };
        check("\nnonsense", "r.jsonl:2: is no JSON");
        check("{}", "r.jsonl:1: is no recorded request");
        check(
            r#"{"headers":["a","b"],"payload":""}"#,
            "has no header `tidegate`",
        );
        let newer = serde_json::to_string(&META.replace("\"v\":1", "\"v\":2")).expect("a text");
        check(&format!(r#"{{"headers":["tidegate",{newer}]}}"#), "upgrade");
        check(r#"{"request_id":"x"}"#, "is no row of `requests`");
    }
}
