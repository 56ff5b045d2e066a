//! An error of a query, as ClickHouse words it and as its HTTP interface answers it.
//!
//! In: the engine's error text, or a code with a sentence of ours. Out: [`Exception`]: code, text, HTTP status.
//! It decides nothing about where in a response the text goes: that is [`crate::http`].

use std::borrow::Cow;

use http::StatusCode;

/// ClickHouse's codes that this crate gives itself, with their names.
pub(crate) mod codes {
    pub(crate) const BAD_ARGUMENTS: (u32, &str) = (36, "BAD_ARGUMENTS");
    pub(crate) const CHECKSUM_DOESNT_MATCH: (u32, &str) = (40, "CHECKSUM_DOESNT_MATCH");
    pub(crate) const NOT_IMPLEMENTED: (u32, &str) = (48, "NOT_IMPLEMENTED");
    pub(crate) const SYNTAX_ERROR: (u32, &str) = (62, "SYNTAX_ERROR");
    pub(crate) const CANNOT_WRITE: (u32, &str) = (75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR");
    pub(crate) const UNKNOWN_TYPE_OF_QUERY: (u32, &str) = (78, "UNKNOWN_TYPE_OF_QUERY");
    pub(crate) const CANNOT_DECOMPRESS: (u32, &str) = (271, "CANNOT_DECOMPRESS");
    pub(crate) const TOO_MANY_QUERIES: (u32, &str) = (202, "TOO_MANY_SIMULTANEOUS_QUERIES");
    pub(crate) const SOCKET_TIMEOUT: (u32, &str) = (209, "SOCKET_TIMEOUT");
    pub(crate) const NETWORK_ERROR: (u32, &str) = (210, "NETWORK_ERROR");
    pub(crate) const SAME_QUERY_ID: (u32, &str) = (216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING");
    pub(crate) const QUERY_IS_TOO_LARGE: (u32, &str) = (229, "QUERY_IS_TOO_LARGE");
    pub(crate) const OUTFILE_REFUSED: (u32, &str) = (358, "INTO_OUTFILE_NOT_ALLOWED");
    pub(crate) const TOO_MANY_ROWS_OR_BYTES: (u32, &str) = (396, "TOO_MANY_ROWS_OR_BYTES");
    pub(crate) const EXCESSIVE_SEMICOLON: (u32, &str) = (477, "INVALID_USAGE_OF_INPUT");
    pub(crate) const UNKNOWN_COMPRESSION: (u32, &str) = (89, "UNKNOWN_COMPRESSION_METHOD");
    pub(crate) const AUTHENTICATION_FAILED: (u32, &str) = (516, "AUTHENTICATION_FAILED");
    pub(crate) const REQUIRED_PASSWORD: (u32, &str) = (194, "REQUIRED_PASSWORD");
    pub(crate) const LOGICAL_ERROR: (u32, &str) = (49, "LOGICAL_ERROR");
}

/// An error of a query: ClickHouse's code and its whole first line, `Code: 62. DB::Exception: … (SYNTAX_ERROR)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception {
    code: u32,
    text: String,
}

impl Exception {
    /// One of ours: `code` with its name, and a sentence that ends with a full stop, as ClickHouse's do.
    pub(crate) fn new((code, name): (u32, &str), sentence: impl AsRef<str>) -> Self {
        Exception {
            code,
            text: format!("Code: {code}. DB::Exception: {} ({name})", sentence.as_ref()),
        }
    }

    /// The engine's own text, tidied: the head doubled by a wrapped exception once, and no word of the file that the rows were passed in.
    pub(crate) fn from_engine(text: &str) -> Self {
        let text = text.trim_end();
        let Some((code, rest)) = code_of(text) else {
            return Exception::new(codes::LOGICAL_ERROR, text);
        };
        let head = &text[..text.len() - rest.len()];
        let rest = rest.strip_prefix(head).unwrap_or(rest);
        Exception {
            code,
            text: format!("{head}{}", without_file(rest)),
        }
    }

    pub(crate) fn code(&self) -> u32 {
        self.code
    }

    /// The text with the version behind it, as ClickHouse ends every error that it sends over HTTP.
    pub(crate) fn body(&self, version: &str) -> String {
        format!("{} (version {version} (embedded build))\n", self.text)
    }

    /// The status that ClickHouse's HTTP interface gives this code.
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            // unknown user, wrong password, access denied, role not granted, authentication failed
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            // what the text of the query or of the rows got wrong
            6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 => StatusCode::BAD_REQUEST,
            117 | 123 | 167 | 168 | 223 | 321 | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
            // what does not exist: function, identifier, type, storage, table, format, kind of query, database, setting, role
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            // cannot open a file, too many queries, a silent client, no thread left
            76 | 202 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            159 => StatusCode::REQUEST_TIMEOUT,
            381 => StatusCode::LENGTH_REQUIRED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The code at the head of an engine's text, and what follows `Code: N. DB::Exception: `.
fn code_of(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.strip_prefix("Code: ")?.split_once('.')?;
    let code = digits.parse().ok()?;
    let rest = rest.trim_start();
    let rest = rest
        .split_once("Exception: ")
        .filter(|(class, _)| !class.contains(' '))
        .map_or(rest, |(_, rest)| rest);
    Some((code, rest))
}

fn without_file(text: &str) -> Cow<'_, str> {
    let mut tidied = Cow::Borrowed(text);
    while let Some(from) = tidied.find("(in file/uri /proc/self/fd/") {
        let Some(length) = tidied[from..].find("): ") else {
            break;
        };
        tidied.to_mut().replace_range(from..from + length + 3, "");
    }
    tidied
}
