//! Maps: the closed list of what can be done to a picked text. In: a text. Out: another, or none where the text is not
//! of the kind (a JSON path into no JSON, a host's label of nothing). Pure, but for the key that `hmac` is given.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::encoding::{Encoding, decode_base64};
use crate::glob::Glob;
use crate::json::{Document, Json, Span};
use crate::path::Path;
use crate::signature::hash::Hash;

/// One map of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Map {
    Lower,
    Upper,
    Trim,
    Before(String),
    After(String),
    BeforeLast(String),
    AfterLast(String),
    Between(String, String),
    FirstLabel,
    LastSegment,
    Origin,
    QueryParam(String),
    UrlDecode,
    Strip(String),
    Json(Path),
    Base64Json(Path),
    Base64Decode,
    Sha256Hex,
    Sha1Hex,
    Sha256,
    Sha1,
    Sha256Base64,
    Hex,
    Base64,
    Crc32Decimal,
    FirstKey(Vec<Glob>),
    Keys,
    WithPort,
    WithoutPort,
    Default(String),
    Hmac(Hash, Encoding),
}

/// Text on its way through maps.
pub(crate) type Text<'r> = Cow<'r, [u8]>;

/// What maps are given beside the text.
#[derive(Clone, Copy)]
pub(crate) struct Given<'k> {
    /// The key that `hmac` is keyed with.
    pub key: Option<&'k [u8]>,
    pub limits: Config,
}

impl Map {
    /// Applies the map.
    pub fn apply<'r>(&self, text: Text<'r>, given: Given<'_>) -> Option<Text<'r>> {
        let depth_max = given.limits.json_depth_max;
        match self {
            Map::Lower => Some(lowered(text)),
            Map::Upper => Some(text.to_ascii_uppercase().into()),
            Map::Trim => Some(cut(text, |text| Some(text.trim_ascii()))?),
            Map::Before(mark) => cut(text, |text| text.get(..find(text, mark)?)),
            Map::After(mark) => cut(text, |text| text.get(find(text, mark)? + mark.len()..)),
            Map::BeforeLast(mark) => cut(text, |text| text.get(..find_last(text, mark)?)),
            Map::AfterLast(mark) => cut(text, |text| text.get(find_last(text, mark)? + mark.len()..)),
            Map::Between(open, close) => cut(text, |text| between(text, open, close)),
            Map::FirstLabel => cut(text, |text| text.split(|byte| *byte == b'.').next()),
            Map::LastSegment => cut(text, last_segment),
            Map::Origin => cut(text, origin),
            Map::QueryParam(name) => query_param(&text, name, given.limits).map(Cow::Owned),
            Map::UrlDecode => Some(percent_encoding::percent_decode(&text).collect::<Vec<_>>().into()),
            Map::Strip(prefix) => cut(text, |text| {
                Some(text.strip_prefix(prefix.as_bytes()).unwrap_or(text))
            }),
            Map::Json(path) => json_text(&text, path, depth_max),
            Map::Base64Json(path) => json_text(&decode_base64(&text)?, path, depth_max),
            Map::Base64Decode => decode_base64(&text).map(Cow::Owned),
            Map::Sha256Hex => Some(hex::encode(Sha256::digest(&text)).into_bytes().into()),
            Map::Sha1Hex => Some(hex::encode(Sha1::digest(&text)).into_bytes().into()),
            Map::Sha256 => Some(Sha256::digest(&text).to_vec().into()),
            Map::Sha1 => Some(Sha1::digest(&text).to_vec().into()),
            Map::Sha256Base64 => Some(STANDARD.encode(Sha256::digest(&text)).into_bytes().into()),
            Map::Hex => Some(hex::encode(&text).into_bytes().into()),
            Map::Base64 => Some(STANDARD.encode(&text).into_bytes().into()),
            Map::Crc32Decimal => Some(crc32(&text).to_string().into_bytes().into()),
            Map::Keys | Map::FirstKey(_) => {
                let document = Document::parse(&text, depth_max).ok()?;
                let json = document.over(&text);
                self.apply_to_object(json, json.root()).map(Cow::Owned)
            }
            Map::WithPort => with_port(&text).map(Cow::Owned),
            Map::WithoutPort => without_port(&text).map(Cow::Owned),
            Map::Default(_) => Some(text),
            Map::Hmac(hash, encoding) => {
                let code = hash.mac(given.key?, &[text]);
                Some(encoding.encode(&code).into_bytes().into())
            }
        }
    }

    /// `keys` and `first_key` of an object that is parsed already.
    pub fn apply_to_object(&self, json: Json<'_>, object: Span) -> Option<Vec<u8>> {
        let members = json.members(object);
        let names: Vec<_> = members.iter().filter_map(|(key, _)| json.name(*key)).collect();
        match self {
            Map::Keys => Some(names.join(",").into_bytes()),
            Map::FirstKey(globs) => globs.iter().find_map(|glob| {
                let name = names.iter().find(|name| glob.fits(name.as_bytes()))?;
                Some(name.as_bytes().to_vec())
            }),
            _ => None,
        }
    }
}

/// A part of a text, borrowed where the text is.
fn cut<'r>(text: Text<'r>, part: impl for<'t> Fn(&'t [u8]) -> Option<&'t [u8]>) -> Option<Text<'r>> {
    match text {
        Cow::Borrowed(text) => part(text).map(Cow::Borrowed),
        Cow::Owned(text) => part(&text).map(|part| Cow::Owned(part.to_vec())),
    }
}

fn find(text: &[u8], mark: &str) -> Option<usize> {
    memchr::memmem::find(text, mark.as_bytes())
}

fn find_last(text: &[u8], mark: &str) -> Option<usize> {
    memchr::memmem::rfind(text, mark.as_bytes())
}

fn between<'t>(text: &'t [u8], open: &str, close: &str) -> Option<&'t [u8]> {
    let rest = text.get(find(text, open)? + open.len()..)?;
    rest.get(..find(rest, close)?)
}

fn lowered(text: Text<'_>) -> Text<'_> {
    match std::str::from_utf8(&text) {
        Ok(lower) if lower.chars().any(char::is_uppercase) => lower.to_lowercase().into_bytes().into(),
        _ => text,
    }
}

fn last_segment(text: &[u8]) -> Option<&[u8]> {
    let path = text.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    path.strip_suffix(b"/")
        .unwrap_or(path)
        .rsplit(|byte| *byte == b'/')
        .next()
}

/// `scheme://host[:port]` of a URL.
fn origin(url: &[u8]) -> Option<&[u8]> {
    let host = find(url, "://")? + 3;
    let rest = url.get(host..)?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    if end == 0 { None } else { url.get(..host + end) }
}

fn query_param(url: &[u8], name: &str, limits: Config) -> Option<Vec<u8>> {
    let query = url.get(find(url, "?")? + 1..)?;
    let query = query.split(|byte| *byte == b'#').next()?;
    crate::form::Form::urlencoded(query, limits.form_fields_max)
        .ok()?
        .get(query, name)
        .map(<[u8]>::to_vec)
}

/// Where the authority of an `http` or `https` URL ends, and its scheme's default port.
fn authority(url: &[u8]) -> Option<(usize, &'static [u8])> {
    let port: &[u8] = match url {
        _ if url.starts_with(b"https://") => b":443",
        _ if url.starts_with(b"http://") => b":80",
        _ => return None,
    };
    Some((origin(url)?.len(), port))
}

fn with_port(url: &[u8]) -> Option<Vec<u8>> {
    let (end, port) = authority(url)?;
    let (head, tail) = url.split_at_checked(end)?;
    let has_port = head
        .rsplit(|byte| matches!(byte, b']' | b'/'))
        .next()
        .is_some_and(|host| host.contains(&b':'));
    Some(if has_port {
        url.to_vec()
    } else {
        [head, port, tail].concat()
    })
}

fn without_port(url: &[u8]) -> Option<Vec<u8>> {
    let (end, port) = authority(url)?;
    let (head, tail) = url.split_at_checked(end)?;
    Some([head.strip_suffix(port).unwrap_or(head), tail].concat())
}

fn json_text<'r>(text: &[u8], path: &Path, depth_max: u32) -> Option<Text<'r>> {
    let document = Document::parse(text, depth_max).ok()?;
    let json = document.over(text);
    json.text(path.find(json, json.root())?)
        .map(|text| Cow::Owned(text.into_owned()))
}

/// CRC-32 (IEEE), a bit at a time: only one in some thousand requests asks for it.
fn crc32(text: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            (crc >> 1) ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    };
    !text.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(map: &Map, text: &str, expected: Option<&str>) {
        let given = Given {
            key: Some(b"key"),
            limits: Config::default(),
        };
        let mapped = map.apply(Cow::Borrowed(text.as_bytes()), given);
        let mapped = mapped.map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(mapped.as_deref(), expected, "{map:?} of {text:?}");
    }

    #[test]
    fn maps_do_what_the_grammar_says() {
        let dot = || ".".to_owned();
        check(&Map::Lower, "ÀB", Some("àb"));
        check(&Map::Trim, " a ", Some("a"));
        check(&Map::Before(dot()), "a.b.c", Some("a"));
        check(&Map::After(dot()), "a.b.c", Some("b.c"));
        check(&Map::BeforeLast(dot()), "a.b.c", Some("a.b"));
        check(&Map::AfterLast(dot()), "a.b.c", Some("c"));
        check(&Map::Before(dot()), "abc", None);
        check(
            &Map::Between("/calendars/".into(), "/".into()),
            "x/calendars/me/events",
            Some("me"),
        );
        check(&Map::FirstLabel, "shop.example.com", Some("shop"));
        check(
            &Map::LastSegment,
            "https://a.example/accounts/42/?x=1",
            Some("42"),
        );
        check(
            &Map::Origin,
            "https://a.example:8443/x?y",
            Some("https://a.example:8443"),
        );
        check(&Map::Origin, "a.example", None);
        check(
            &Map::QueryParam("id".into()),
            "https://a.example/?x=1&id=a%20b#f",
            Some("a b"),
        );
        check(&Map::UrlDecode, "a%40b+c", Some("a@b+c"));
        check(&Map::Strip("sha256=".into()), "abc", Some("abc"));
    }

    #[test]
    fn maps_parse_hash_and_rewrite() {
        check(
            &Map::Json(Path::parse("a[0]").expect("a path")),
            r#"{"a":["x"]}"#,
            Some("x"),
        );
        check(
            &Map::Base64Json(Path::parse("a").expect("a path")),
            "eyJhIjoxfQ==",
            Some("1"),
        );
        check(&Map::Base64Json(Path::default()), "no base64!", None);
        check(&Map::Crc32Decimal, "123456789", Some("3421780262"));
        check(&Map::Keys, r#"{"a":1,"b":2}"#, Some("a,b"));
        let globs = vec![Glob::new("x"), Glob::new("*_events")];
        check(
            &Map::FirstKey(globs),
            r#"{"a":1,"tweet_events":[]}"#,
            Some("tweet_events"),
        );
        check(
            &Map::WithPort,
            "https://a.example/x",
            Some("https://a.example:443/x"),
        );
        check(
            &Map::WithPort,
            "http://a.example:8080/x",
            Some("http://a.example:8080/x"),
        );
        check(
            &Map::WithoutPort,
            "https://a.example:443/x",
            Some("https://a.example/x"),
        );
        check(
            &Map::Sha1Hex,
            "abc",
            Some("a9993e364706816aba3e25717850c26c9cd0d89d"),
        );
        let answer = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        let fox = "The quick brown fox jumps over the lazy dog";
        check(&Map::Hmac(Hash::Sha256, Encoding::Hex), fox, Some(answer));
    }
}
