//! How an event's bytes become its JSON payload. In: the kind, the bytes, the request's headers. Out: JSON, and whether it
//! is base64 (then the wrapper says `payloadEncoding`). Masks nothing: what it is given is masked already.

use std::borrow::Cow;
use std::collections::HashMap;

use tidegate_schemas::{Headers, PayloadKind};

use crate::encoding::Encoding;
use crate::form::Form;

/// Writes the payload as JSON: JSON as it is, a form as an object of its fields (a repeated name as a list), no body as the
/// object of the headers, other text as a string, other bytes as a base64 string.
#[must_use]
pub fn to_json(kind: PayloadKind, bytes: &[u8], headers: &Headers) -> Vec<u8> {
    match kind {
        PayloadKind::Json => bytes.to_vec(),
        PayloadKind::Form => form_object(bytes, headers),
        PayloadKind::Headers => {
            let texts = headers
                .0
                .iter()
                .filter_map(|(name, value)| Some((name.as_str().into(), value.as_str()?.into())));
            object(texts)
        }
        PayloadKind::Text => serde_json::Value::from(String::from_utf8_lossy(bytes))
            .to_string()
            .into_bytes(),
        PayloadKind::Base64 => serde_json::Value::from(Encoding::Base64.encode(bytes))
            .to_string()
            .into_bytes(),
    }
}

fn form_object(bytes: &[u8], headers: &Headers) -> Vec<u8> {
    let content_type = headers.get("content-type").unwrap_or_default();
    let multipart = content_type
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    let form = if multipart {
        Form::multipart(bytes, content_type, usize::MAX)
    } else {
        Form::urlencoded(bytes, usize::MAX)
    };
    match form {
        Err(_) => to_json(PayloadKind::Text, bytes, headers),
        Ok(form) => {
            let fields = form.fields(bytes);
            object(
                fields.map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value))),
            )
        }
    }
}

type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// An object of the fields in their order; the values of a repeated name stand together as a list.
fn object<'a>(fields: impl Iterator<Item = Field<'a>>) -> Vec<u8> {
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
    let mut members: Vec<(Cow<'a, str>, Vec<Cow<'a, str>>)> = Vec::new();
    for (name, value) in fields {
        match places.get(&name).and_then(|place| members.get_mut(*place)) {
            Some((_, values)) => values.push(value),
            None => {
                places.insert(name.clone(), members.len());
                members.push((name, vec![value]));
            }
        }
    }
    let members = members.iter().map(|(name, values)| {
        let value = match values.as_slice() {
            [one] => serde_json::json!(one),
            several => serde_json::json!(several),
        };
        format!("{}:{value}", serde_json::json!(name))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_becomes_json() {
        let check = |kind, content_type: &str, bytes: &[u8], expected: &str| {
            let mut headers = Headers::default();
            headers.push("content-type", content_type);
            let json = String::from_utf8(to_json(kind, bytes, &headers)).expect("JSON is UTF-8");
            assert_eq!(json, expected, "{kind}");
        };
        check(PayloadKind::Json, "", b"{\"a\": 1}", "{\"a\": 1}");
        check(
            PayloadKind::Form,
            "",
            b"b=1&a=x+y&b=2",
            r#"{"b":["1","2"],"a":"x y"}"#,
        );
        let parts = b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--";
        check(
            PayloadKind::Form,
            "multipart/form-data; boundary=x",
            parts,
            r#"{"a":"1"}"#,
        );
        check(
            PayloadKind::Headers,
            "text/none",
            b"",
            r#"{"content-type":"text/none"}"#,
        );
        check(PayloadKind::Text, "", b"<a>\"", r#""<a>\"""#);
        check(PayloadKind::Base64, "", b"\xff\x00", r#""/wA=""#);
    }
}
