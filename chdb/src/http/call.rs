//! What a request asks for, apart from its body.
//!
//! In: method, URL, headers. Out: a [`Call`]: the query of the URL, its parameters, settings, formats, compression, credentials.
//! Names are those of ClickHouse's HTTP interface; every name that is none of its own is a setting, which the engine checks.

use http::{HeaderMap, Method, Uri};

use crate::exception::{Exception, codes};
use crate::http::access::Credentials;
use crate::http::coding::Coding;

/// What a request asks for, apart from its body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) query: String,
    pub(crate) query_id: String,
    pub(crate) database: Option<String>,
    /// The output format where the statement names none; also an insert's.
    pub(crate) default_format: Option<String>,
    /// Values of `{name:Type}`, in ClickHouse's escaped text.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) settings: Vec<(String, String)>,
    /// GET changes nothing.
    pub(crate) is_readonly: bool,
    /// Answer in ClickHouse's compressed blocks.
    pub(crate) compress: bool,
    /// The body comes in ClickHouse's compressed blocks.
    pub(crate) decompress: bool,
    /// How the body is coded on the way here.
    pub(crate) body_coding: Coding,
    /// How the client would like the answer coded.
    pub(crate) answer_coding: Coding,
    pub(crate) wait_end_of_query: bool,
    pub(crate) credentials: Credentials,
}

/// Names of the interface that are accepted and change nothing here.
const IGNORED: [&str; 6] = [
    "stacktrace",
    "buffer_size",
    "quota_key",
    "client_protocol_version",
    "framing",
    "session_timeout",
];
const SESSION: [&str; 4] = ["session_id", "session_check", "close_session", "role"];

impl Call {
    pub(crate) fn parse(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Call, Exception> {
        let header = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let given: Vec<(String, String)> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        let find = |name: &str| {
            given
                .iter()
                .rev()
                .find(|(own, _)| own == name)
                .map(|(_, value)| value.as_str())
        };
        let is_on = |name| find(name).is_some_and(is_true);
        let mut call = Call {
            query: String::new(),
            query_id: uuid::Uuid::new_v4().to_string(),
            database: header("x-clickhouse-database").filter(|name| !name.is_empty()),
            default_format: header("x-clickhouse-format").filter(|name| !name.is_empty()),
            parameters: Vec::new(),
            settings: Vec::new(),
            is_readonly: *method == Method::GET || *method == Method::HEAD,
            compress: false,
            decompress: false,
            body_coding: Coding::of_body(headers)?,
            answer_coding: if is_off(find("enable_http_compression")) {
                Coding::Identity
            } else {
                Coding::of_answer(headers)
            },
            wait_end_of_query: is_on("wait_end_of_query") || is_on("http_wait_end_of_query"),
            credentials: Credentials::of(headers, find("user"), find("password"))?,
        };
        for (name, value) in given {
            call.set(name, value)?;
        }
        Ok(call)
    }

    /// Takes one parameter of the URL, or one field of a form.
    pub(crate) fn set(&mut self, name: String, value: String) -> Result<(), Exception> {
        let filled = |value: String| Some(value).filter(|value| !value.is_empty());
        match name.as_str() {
            "query" => self.query.push_str(&value),
            "query_id" => self.query_id = filled(value).unwrap_or_else(|| self.query_id.clone()),
            "database" => self.database = filled(value),
            "default_format" => self.default_format = filled(value),
            "compress" => self.compress = is_true(&value),
            "decompress" => self.decompress = is_true(&value),
            "user" | "password" | "wait_end_of_query" => {}
            known if IGNORED.contains(&known) => {}
            known if SESSION.contains(&known) => {
                let sentence =
                    format!("The embedded engine keeps neither sessions nor roles: leave `{known}` out.");
                return Err(Exception::new(codes::NOT_IMPLEMENTED, sentence));
            }
            _ => match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None => self.settings.push((setting(name)?, value)),
            },
        }
        Ok(())
    }

    /// What to run in a fresh session before the query.
    pub(crate) fn prelude(&self) -> Vec<String> {
        let mark = self.mark();
        // bodies are read, not mapped: mapped pages would count as this process's memory
        let own = [
            ("implicit_select", "0"),
            ("storage_file_read_method", "pread"),
            ("log_comment", &mark),
        ];
        let own = own.map(|(name, value)| assignment(name, value));
        let given = self
            .settings
            .iter()
            .filter(|(name, _)| name != "log_comment")
            .map(|(name, value)| assignment(name, value));
        let assignments: Vec<String> = own.into_iter().chain(given).collect();
        let mut prelude = vec![format!("SET {}", assignments.join(", "))];
        if let Some(database) = &self.database {
            prelude.push(format!(
                "USE `{}`",
                database.replace('\\', "\\\\").replace('`', "\\`")
            ));
        }
        if self.is_readonly && !self.settings.iter().any(|(name, _)| name == "readonly") {
            prelude.push("SET readonly = 2".to_owned());
        }
        prelude
    }

    /// The mark by which the running query is found: the engine gives ids of its own, but shows this setting with them.
    pub(crate) fn mark(&self) -> String {
        match self.settings.iter().rev().find(|(name, _)| name == "log_comment") {
            Some((_, comment)) => format!("{comment} query_id={}", self.query_id),
            None => self.query_id.clone(),
        }
    }
}

/// `name = 'value'` for a `SET`.
fn assignment(name: &str, value: &str) -> String {
    format!("{name} = {}", text_literal(value))
}

/// `value` as a string of ClickHouse's SQL.
pub(crate) fn text_literal(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn setting(name: String) -> Result<String, Exception> {
    if !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Ok(name);
    }
    Err(Exception::new(
        (115, "UNKNOWN_SETTING"),
        format!("Setting {name} is neither a builtin setting nor started with a known prefix."),
    ))
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}

fn is_off(value: Option<&str>) -> bool {
    value.is_some_and(|value| !is_true(value))
}
