//! Replies, as ClickHouse words and labels them.
//!
//! In: a result or an exception. Out: status, `X-ClickHouse-*` headers, content type, and the text by which an error in mid-stream is told.
//! It sends nothing and knows no query.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};

use crate::exception::Exception;
use crate::http::coding::Coding;
use crate::http::stream::ReplyBody;
use crate::library::Counts;

const SERVER_NAME: &str = "tidegate";

/// What every reply to a query says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) query_id: String,
    pub(crate) time_zone: String,
    /// The format of the result; `None` where there is none.
    pub(crate) format: Option<String>,
    pub(crate) coding: Coding,
}

impl Label {
    /// A reply with these headers and nothing in it.
    fn reply(&self, status: StatusCode) -> Response<ReplyBody> {
        let mut reply = Response::new(ReplyBody::empty());
        *reply.status_mut() = status;
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                reply.headers_mut().insert(HeaderName::from_static(name), value);
            }
        };
        set("x-clickhouse-server-display-name", SERVER_NAME);
        if !self.query_id.is_empty() {
            set("x-clickhouse-query-id", &self.query_id);
        }
        set("x-clickhouse-timezone", &self.time_zone);
        if let Some(format) = &self.format {
            set("x-clickhouse-format", format);
        }
        reply
    }

    /// A reply that begins with success. `tag` marks an exception that may come behind it.
    pub(crate) fn success(&self, counts: Counts, tag: Option<&str>) -> Response<ReplyBody> {
        let mut reply = self.reply(StatusCode::OK);
        let headers = reply.headers_mut();
        headers.insert(
            "x-clickhouse-summary",
            HeaderValue::from_str(&summary(counts)).expect("a summary is digits and punctuation"),
        );
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(content_type(self.format.as_deref().unwrap_or_default())),
        );
        if let Some(name) = self.coding.name() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        if let Some(tag) = tag {
            headers.insert(
                "x-clickhouse-exception-tag",
                HeaderValue::from_str(tag).expect("a tag is letters"),
            );
        }
        reply
    }

    /// The reply to what failed before any of its result was sent.
    pub(crate) fn failure(&self, exception: &Exception, version: &str) -> Response<ReplyBody> {
        let label = Label {
            format: None,
            ..self.clone()
        };
        let mut reply = label.reply(exception.status());
        let headers = reply.headers_mut();
        headers.insert("x-clickhouse-exception-code", HeaderValue::from(exception.code()));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=UTF-8"),
        );
        if exception.status() == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\""),
            );
        }
        *reply.body_mut() = ReplyBody::whole(exception.body(version));
        reply
    }
}

/// A short text with a status: the answers that need no query.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Response<ReplyBody> {
    let mut reply = Response::new(ReplyBody::whole(text));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    reply.headers_mut().insert(
        "x-clickhouse-server-display-name",
        HeaderValue::from_static(SERVER_NAME),
    );
    reply
}

/// What ends a result that failed in the middle: the text between marks that no row can hold, with its length.
pub(crate) fn mid_stream(exception: &Exception, version: &str, tag: &str) -> String {
    let message = exception.body(version);
    format!(
        "\r\n__exception__\r\n{tag}\r\n{message}{} {tag}\r\n__exception__\r\n",
        message.len()
    )
}

/// `X-ClickHouse-Summary`: numbers as text, as ClickHouse writes them.
fn summary(counts: Counts) -> String {
    let Counts {
        rows_returned,
        rows_read,
        bytes_read,
        rows_written,
        bytes_written,
        seconds,
    } = counts;
    let (rows_read, bytes_read) = (rows_read.max(rows_written), bytes_read.max(bytes_written));
    let result_rows = rows_returned.max(rows_written);
    let elapsed = std::time::Duration::try_from_secs_f64(seconds)
        .unwrap_or_default()
        .as_nanos();
    format!(
        r#"{{"read_rows":"{rows_read}","read_bytes":"{bytes_read}","written_rows":"{rows_written}","written_bytes":"{bytes_written}","total_rows_to_read":"0","result_rows":"{result_rows}","result_bytes":"0","elapsed_ns":"{elapsed}"}}"#
    )
}

/// The content type of a format, in any case.
fn content_type(format: &str) -> &'static str {
    let format = format.to_ascii_lowercase();
    let begins = |start: &str| format.starts_with(start);
    match format.as_str() {
        "json"
        | "jsoncompact"
        | "jsonstrings"
        | "jsoncompactstrings"
        | "jsoncolumns"
        | "jsoncompactcolumns"
        | "jsonobjecteachrow"
        | "jsoncolumnswithmetadata" => "application/json; charset=UTF-8",
        "xml" => "application/xml; charset=UTF-8",
        "csv" => "text/csv; charset=UTF-8; header=absent",
        "csvwithnames" | "csvwithnamesandtypes" => "text/csv; charset=UTF-8; header=present",
        "" | "tabseparated" | "tsv" | "tabseparatedraw" | "tsvraw" | "raw" => {
            "text/tab-separated-values; charset=UTF-8"
        }
        "vertical" | "markdown" | "values" | "lineasstring" | "template" | "customseparated" => {
            "text/plain; charset=UTF-8"
        }
        "sqlinsert" => "text/plain; charset=UTF-8",
        _ if begins("jsoneachrow")
            || begins("jsoncompacteachrow")
            || begins("jsonstringseachrow")
            || begins("jsoncompactstringseachrow") =>
        {
            "application/x-ndjson; charset=UTF-8"
        }
        _ if begins("tabseparated") || begins("tsv") => "text/tab-separated-values; charset=UTF-8",
        _ if begins("pretty") => "text/plain; charset=UTF-8",
        _ => "application/octet-stream",
    }
}
