//! The URL of a request: which integration it is for, and which connection, if the URL names one.
//! In: path and query as received. Out: [`Target`], or the reason why the URL is none of ours. Looks nothing up.

use percent_encoding::percent_decode_str;
use tidegate_schemas::{EnvironmentId, Reason};

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The environment.
    pub environment: EnvironmentId,
    /// The integration's key.
    pub integration: String,
    /// The connection, by path or by `?connection=` / `?nangoConnectionId=`.
    pub connection: Option<String>,
}

/// Reads `/webhook/{environment}/{integration}[/{connection}]`.
///
/// # Errors
/// [`Reason::UnknownRoute`] for any other path, [`Reason::UnknownEnvironment`] when the second segment is no UUID.
pub fn target(path: &str, query: &str) -> Result<Target, Reason> {
    let rest = path.strip_prefix("/webhook/").ok_or(Reason::UnknownRoute)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let mut segments = rest.split('/');
    let environment = segments.next().unwrap_or_default();
    let integration = segments
        .next()
        .map(decoded)
        .filter(|key| !key.is_empty())
        .ok_or(Reason::UnknownRoute)?;
    let connection = segments.next().map(decoded).filter(|id| !id.is_empty());
    if segments.next().is_some() {
        return Err(Reason::UnknownRoute);
    }
    let environment = environment.parse().map_err(|_| Reason::UnknownEnvironment)?;
    Ok(Target {
        environment,
        integration,
        connection: connection.or_else(|| connection_in(query)),
    })
}

fn connection_in(query: &str) -> Option<String> {
    if query.is_empty() {
        return None;
    }
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| matches!(&**name, "connection" | "nangoConnectionId") && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: &str = "0192f0c1-0000-7000-8000-0000000000e1";

    fn check(path: &str, query: &str, expected: Result<(&str, Option<&str>), Reason>) {
        let found = target(&path.replace("ENV", ENVIRONMENT), query);
        let found = found
            .as_ref()
            .map(|t| (t.integration.as_str(), t.connection.as_deref()))
            .map_err(|r| *r);
        assert_eq!(found, expected, "{path}?{query}");
    }

    #[test]
    fn urls_name_integration_and_connection() {
        check("/webhook/ENV/crm", "", Ok(("crm", None)));
        check("/webhook/ENV/crm/", "", Ok(("crm", None)));
        check("/webhook/ENV/crm/c-1", "", Ok(("crm", Some("c-1"))));
        check("/webhook/ENV/crm/c%2F1", "", Ok(("crm", Some("c/1"))));
        check("/webhook/ENV/crm", "a=b&connection=c+1", Ok(("crm", Some("c 1"))));
        check(
            "/webhook/ENV/crm",
            "nangoConnectionId=c-2",
            Ok(("crm", Some("c-2"))),
        );
        check(
            "/webhook/ENV/crm/path",
            "connection=query",
            Ok(("crm", Some("path"))),
        );
        check("/webhook/ENV/crm", "connection=", Ok(("crm", None)));
    }

    #[test]
    fn other_urls_are_refused() {
        check("/", "", Err(Reason::UnknownRoute));
        check("/webhook", "", Err(Reason::UnknownRoute));
        check("/webhook/ENV", "", Err(Reason::UnknownRoute));
        check("/webhook/ENV/", "", Err(Reason::UnknownRoute));
        check("/webhook/ENV//c", "", Err(Reason::UnknownRoute));
        check("/webhook/ENV/crm/c/more", "", Err(Reason::UnknownRoute));
        check("/webhook/not-a-uuid/crm", "", Err(Reason::UnknownEnvironment));
    }
}
