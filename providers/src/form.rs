//! Forms: urlencoded and multipart bodies as named fields, in order. In: the body and its content type. Out: fields with
//! decoded text and the place of the raw value, so that a field can be masked. Bounded in fields; reads no files' types.

use std::borrow::Cow;
use std::ops::Range;

/// Why a body is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormError {
    /// It has more fields than is allowed.
    TooManyFields,
    /// It is no multipart body of its content type.
    Broken,
}

/// The fields of a form.
#[derive(Debug)]
pub(crate) struct Form {
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: Text,
    value: Text,
    raw: Range<usize>,
}

/// Text that stands in the body, or had to be decoded.
#[derive(Debug)]
enum Text {
    Raw(Range<usize>),
    Decoded(Vec<u8>),
}

impl Text {
    fn of<'r>(&'r self, body: &'r [u8]) -> &'r [u8] {
        match self {
            Text::Raw(range) => body.get(range.clone()).unwrap_or_default(),
            Text::Decoded(bytes) => bytes,
        }
    }
}

impl Form {
    /// Reads an urlencoded body.
    pub fn urlencoded(body: &[u8], fields_max: usize) -> Result<Self, FormError> {
        let mut fields = Vec::new();
        let mut start = 0;
        for pair in body.split(|byte| *byte == b'&') {
            let end = start + pair.len();
            if fields.len() >= fields_max && !pair.is_empty() {
                return Err(FormError::TooManyFields);
            }
            if !pair.is_empty() {
                let equals = memchr::memchr(b'=', pair).map_or(end, |at| start + at);
                let raw = (equals + 1).min(end)..end;
                fields.push(Field {
                    name: decoded(body, start..equals),
                    value: decoded(body, raw.clone()),
                    raw,
                });
            }
            start = end + 1;
        }
        Ok(Self { fields })
    }

    /// Reads a multipart body by its content type's boundary.
    pub fn multipart(body: &[u8], content_type: &str, fields_max: usize) -> Result<Self, FormError> {
        Self::parts(body, content_type, fields_max).ok_or(FormError::Broken)?
    }

    fn parts(body: &[u8], content_type: &str, fields_max: usize) -> Option<Result<Self, FormError>> {
        let boundary = parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())?;
        let delimiter = format!("--{boundary}");
        let mut fields = Vec::new();
        let mut found = memchr::memmem::find_iter(body, delimiter.as_bytes());
        let mut start = found.next()? + delimiter.len();
        for next in found {
            if let Some(field) = part(body, start..next) {
                fields.push(field);
            }
            if fields.len() > fields_max {
                return Some(Err(FormError::TooManyFields));
            }
            start = next + delimiter.len();
        }
        body.get(start..)?
            .starts_with(b"--")
            .then_some(Ok(Self { fields }))
    }

    /// The first field of that name.
    pub fn get<'r>(&'r self, body: &'r [u8], name: &str) -> Option<&'r [u8]> {
        self.named(body, name).next().map(|field| field.value.of(body))
    }

    /// Where the raw values of the fields of that name stand.
    pub fn places(&self, body: &[u8], name: &str) -> impl Iterator<Item = Range<usize>> {
        self.named(body, name).map(|field| field.raw.clone())
    }

    fn named(&self, body: &[u8], name: &str) -> impl Iterator<Item = &Field> {
        self.fields
            .iter()
            .filter(move |field| field.name.of(body) == name.as_bytes())
    }

    /// Every field in order: name and value.
    pub fn fields<'r>(&'r self, body: &'r [u8]) -> impl Iterator<Item = (&'r [u8], &'r [u8])> + 'r {
        self.fields
            .iter()
            .map(move |field| (field.name.of(body), field.value.of(body)))
    }

    /// All fields sorted by name in byte order, name and value joined; a repeated name's values sorted, each once.
    pub fn sorted(&self, body: &[u8]) -> Vec<u8> {
        let mut pairs: Vec<_> = self.fields(body).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
            .into_iter()
            .flat_map(|(name, value)| [name, value])
            .flatten()
            .copied()
            .collect()
    }
}

fn decoded(body: &[u8], range: Range<usize>) -> Text {
    let raw = body.get(range.clone()).unwrap_or_default();
    match plus_decoded(raw) {
        Cow::Borrowed(_) => Text::Raw(range),
        Cow::Owned(bytes) => Text::Decoded(bytes),
    }
}

/// Decodes `%41` and `+`; what is no escape stays as it is.
pub(crate) fn plus_decoded(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let spaced: Vec<u8> = raw
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}

/// The value of `name=value` or `name="value"` behind the first `;` of a header.
pub(crate) fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
}

/// Reads one part: its headers, a blank line, its value. The line break before the next delimiter belongs to neither.
fn part(body: &[u8], range: Range<usize>) -> Option<Field> {
    let bytes = body.get(range.clone())?;
    let bytes = bytes
        .strip_suffix(b"\r\n")
        .or_else(|| bytes.strip_suffix(b"\n"))
        .unwrap_or(bytes);
    let (blank, length) = memchr::memmem::find(bytes, b"\r\n\r\n")
        .map(|at| (at, 4))
        .or_else(|| memchr::memmem::find(bytes, b"\n\n").map(|at| (at, 2)))?;
    let headers = std::str::from_utf8(bytes.get(..blank)?).ok()?;
    let disposition = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    let name = parameter(disposition, "name")?;
    let raw = range.start + blank + length..range.start + bytes.len();
    Some(Field {
        name: Text::Decoded(name.as_bytes().to_vec()),
        value: Text::Raw(raw.clone()),
        raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(form: Result<Form, FormError>, body: &[u8], expected: &[(&str, &str)]) {
        let form = form.expect("a form");
        let fields: Vec<_> = form
            .fields(body)
            .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
            .collect();
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
            .collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn fields_are_decoded_in_order() {
        let body = b"a=1&contact%5Bid%5D=a+b%26&&empty=&alone&bad=%zz";
        let expected = [
            ("a", "1"),
            ("contact[id]", "a b&"),
            ("empty", ""),
            ("alone", ""),
            ("bad", "%zz"),
        ];
        check(Form::urlencoded(body, 10), body, &expected);
    }

    #[test]
    fn parts_are_read_by_their_boundary() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"a\":\r\n1}\r\n--x\r\n\
            content-disposition: form-data; name=empty\r\n\r\n\r\n--x--\r\n";
        let form = Form::multipart(body, "multipart/form-data; boundary=\"x\"", 10);
        assert_eq!(
            form.as_ref()
                .ok()
                .and_then(|form| form.places(body, "json").next()),
            Some(52..61)
        );
        check(form, body, &[("json", "{\"a\":\r\n1}"), ("empty", "")]);
        let broken = |body: &[u8], content_type: &str| {
            let error = Form::multipart(body, content_type, 10).expect_err("no form");
            assert_eq!(error, FormError::Broken);
        };
        broken(body, "multipart/form-data");
        broken(b"--x\r\n", "multipart/form-data; boundary=x");
    }

    #[test]
    fn sorting_joins_names_and_values_each_once() {
        let body = b"b=2&a=z&a=y&a=z";
        assert_eq!(
            Form::urlencoded(body, 10).expect("a form").sorted(body),
            b"ayazb2"
        );
    }

    #[test]
    fn too_many_fields_are_no_form() {
        let fields = |count: usize| Form::urlencoded("a&".repeat(count).as_bytes(), 10).map(|_| ());
        assert_eq!(fields(10), Ok(()));
        assert_eq!(fields(11), Err(FormError::TooManyFields));
        let parts = |count: usize| {
            let part = "--x\nContent-Disposition: form-data; name=n\n\nv\n";
            let body = format!("{}--x--", part.repeat(count));
            Form::multipart(body.as_bytes(), "multipart/form-data; boundary=x", 10).map(|_| ())
        };
        assert_eq!(parts(10), Ok(()));
        assert_eq!(parts(11), Err(FormError::TooManyFields));
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(form) = Form::urlencoded(&body, 10) {
                prop_assert!(form.fields(&body).count() <= body.len());
            }
            let mut parts = b"--b\r\nContent-Disposition: form-data; name=n\r\n\r\n".to_vec();
            parts.extend_from_slice(&body);
            parts.extend_from_slice(b"\r\n--b--");
            for content_type in ["multipart/form-data; boundary=b", "multipart/mixed; boundary=\"\"", ";"] {
                if let Ok(form) = Form::multipart(&parts, content_type, 10) {
                    prop_assert!(form.fields(&parts).count() >= 1);
                }
            }
        }
    }
}
