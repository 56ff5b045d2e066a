//! A body that is a form (`multipart/form-data`), by which clients send a query with long parameters.
//!
//! In: the body and its content type. Out: the fields' names and values, as if they stood in the URL. Files (ClickHouse's external tables) are refused.

use crate::exception::{Exception, codes};

/// The boundary, when `content_type` names a form in parts.
pub(crate) fn boundary(content_type: Option<&str>) -> Option<String> {
    let (kind, rest) = content_type?.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = rest
        .split(';')
        .find_map(|part| part.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"').to_owned())
}

/// The fields of `body`.
pub(crate) fn fields(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, Exception> {
    let broken = |what: &str| {
        Exception::new(
            codes::BAD_ARGUMENTS,
            format!("The form in the body is broken: {what}."),
        )
    };
    let mark = format!("--{boundary}");
    let mut rest = body
        .get(find(body, mark.as_bytes()).ok_or_else(|| broken("its boundary is missing"))?..)
        .unwrap_or_default();
    let separator = format!("\r\n{mark}");
    let mut fields = Vec::new();
    loop {
        rest = rest.get(mark.len()..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(fields);
        }
        let part = rest
            .strip_prefix(b"\r\n")
            .ok_or_else(|| broken("a boundary does not end its line"))?;
        let length = find(part, separator.as_bytes()).ok_or_else(|| broken("a part does not end"))?;
        let (head, value) = split(part.get(..length).unwrap_or_default())
            .ok_or_else(|| broken("a part has no empty line"))?;
        let head = String::from_utf8_lossy(head);
        if head.contains("filename=") {
            return Err(Exception::new(
                codes::NOT_IMPLEMENTED,
                "External tables in a form are not supported by the embedded engine.",
            ));
        }
        let name = name(&head).ok_or_else(|| broken("a part has no name"))?;
        fields.push((name, String::from_utf8_lossy(value).into_owned()));
        rest = part.get(length + 2..).unwrap_or_default();
    }
}

fn split(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = find(part, b"\r\n\r\n")?;
    Some((part.get(..at)?, part.get(at + 4..)?))
}

fn name(head: &str) -> Option<String> {
    let disposition = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let value = disposition
        .split(';')
        .find_map(|part| part.trim().strip_prefix("name="))?;
    Some(value.trim_matches('"').to_owned())
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_files_refused() {
        let boundary = boundary(Some("multipart/form-data; boundary=\"x-y\"")).unwrap();
        let body = "--x-y\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a:String}\r\n\
                    --x-y\r\ncontent-disposition: form-data; name=\"param_a\"\r\nContent-Type: text/plain\r\n\r\n1\r\n2\r\n--x-y--\r\n";
        let wanted = [("query", "SELECT {a:String}"), ("param_a", "1\r\n2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(body.as_bytes(), &boundary).unwrap(), wanted);
        let file =
            "--x-y\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t.csv\"\r\n\r\n1\r\n--x-y--\r\n";
        assert_eq!(fields(file.as_bytes(), &boundary).unwrap_err().code(), 48);
        for broken in ["", "--x-y", "--x-y\r\n\r\n", "--x-y\r\nA: b\r\n\r\n1\r\n--x-y--"] {
            assert_eq!(
                fields(broken.as_bytes(), &boundary).unwrap_err().code(),
                36,
                "{broken:?}"
            );
        }
    }
}
