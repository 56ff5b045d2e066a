//! What a field of an entity may hold, whatever else there is.
//! In: one entity. Out: the first field that cannot work, and how to mend it. Looks at no other entity and at no
//! provider's definition.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::WriteError;
use crate::config::Config;
use crate::entity::{Connection, Endpoint, Entity, FloodSettings, Integration, RateLimit, StoredSecret};

/// Bytes of a Standard Webhooks secret behind `whsec_`.
const WHSEC_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Headers that the forwarder sets itself.
const OWN_HEADERS: [&str; 6] = [
    "content-length",
    "content-type",
    "host",
    "connection",
    "transfer-encoding",
    "upgrade",
];

/// A field and what is wrong with it.
type Problem = (String, String);

/// Checks `entity`; its secrets must be open. `wider` is how its integration controls floods, if it has one.
pub(super) fn check(entity: &mut Entity, wider: &FloodSettings, config: &Config) -> Result<(), WriteError> {
    let reference = entity.reference();
    let invalid = |(field, problem): Problem| WriteError::Invalid {
        entity: reference.clone(),
        field,
        problem,
    };
    for (purpose, secret) in entity.secrets_mut() {
        let field = purpose.trim_end_matches(':').to_owned();
        check_secret(field, secret).map_err(&invalid)?;
    }
    let name_max = config.name_bytes_max;
    let checked = match entity {
        Entity::Layout(_) => Ok(()),
        Entity::Environment(environment) => name("name", &environment.name, name_max),
        Entity::Integration(integration) => check_integration(integration, name_max),
        Entity::Connection(connection) => check_connection(connection, wider, name_max),
        Entity::Endpoint(endpoint) => check_endpoint(endpoint, name_max),
        Entity::ApiKey(key) => name("name", &key.name, name_max),
    };
    checked.map_err(invalid)
}

fn check_secret(field: String, secret: &StoredSecret) -> Result<(), Problem> {
    if secret.secret().is_empty() {
        return Err((field, "is empty: an empty secret would prove nothing".into()));
    }
    let ends_early = secret
        .not_after
        .is_some_and(|end| secret.not_before.is_some_and(|start| end <= start));
    if ends_early {
        return Err((
            field,
            "ends before it begins: not_after must be later than not_before".into(),
        ));
    }
    Ok(())
}

fn check_integration(integration: &Integration, name_max: usize) -> Result<(), Problem> {
    name("key", &integration.key, name_max)?;
    let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    if !integration.key.chars().all(unreserved) || integration.key.chars().all(|c| c == '.') {
        let problem = "stands in a URL: use letters, digits, `-`, `_`, `.` and `~`";
        return Err(("key".into(), problem.into()));
    }
    name("provider", &integration.provider, name_max)?;
    if let Some(url) = &integration.public_url {
        http_url("public_url", url)?;
    }
    integration.flood.check(&FloodSettings::default())?;
    if integration.rate_limit.is_some_and(RateLimit::is_zero) {
        return Err((
            "rate_limit".into(),
            "is zero: give at least 1, or leave it out for no limit".into(),
        ));
    }
    Ok(())
}

fn check_connection(connection: &Connection, wider: &FloodSettings, name_max: usize) -> Result<(), Problem> {
    name("id", &connection.id, name_max)?;
    connection.details.flood.check(wider)?;
    if connection.details.flood.integration_rate.is_some() {
        let problem =
            "stands at a connection: set it at the integration, or `rate` for this connection alone";
        return Err(("flood.integration_rate".into(), problem.into()));
    }
    connection
        .properties
        .keys()
        .try_for_each(|property| name("properties", property, name_max))
}

fn check_endpoint(endpoint: &Endpoint, name_max: usize) -> Result<(), Problem> {
    name("name", &endpoint.name, name_max)?;
    http_url("url", &endpoint.url)?;
    if endpoint.timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(("timeout".into(), "is zero: leave it out for the default".into()));
    }
    for secret in &endpoint.secrets {
        if !is_signing_secret(secret) {
            let problem = "is no Standard Webhooks secret: give `whsec_` and the base64 of 24 to 64 random bytes, or \
                           leave it out to have one generated";
            return Err(("secrets".into(), problem.into()));
        }
    }
    for header in &endpoint.headers {
        let field = format!("headers.{}", header.name);
        let token = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "!#$%&'*+-.^_`|~".contains(c);
        if header.name.is_empty() || !header.name.chars().all(token) {
            return Err((field, "is no header name in lower case".into()));
        }
        if OWN_HEADERS.contains(&header.name.as_str()) || header.name.starts_with("webhook-") {
            return Err((field, "is set by the forwarder itself: leave it out".into()));
        }
        let printable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        if !header.value.secret().expose().iter().all(printable) {
            return Err((field, "has a control character in its value".into()));
        }
    }
    Ok(())
}

/// Whether the forwarder can sign with it: `whsec_…`, or `whsk_…` for ed25519.
fn is_signing_secret(secret: &StoredSecret) -> bool {
    let Ok(text) = std::str::from_utf8(secret.secret().expose()) else {
        return false;
    };
    let decoded = |text: &str| {
        STANDARD
            .decode(text)
            .or_else(|_| STANDARD_NO_PAD.decode(text))
            .ok()
    };
    if let Some(key) = text.strip_prefix("whsec_") {
        return decoded(key).is_some_and(|key| WHSEC_BYTES.contains(&key.len()));
    }
    let key = text.strip_prefix("whsk_").and_then(decoded);
    key.is_some_and(|key| matches!(key.len(), 32 | 64))
}

fn name(field: &str, text: &str, bytes_max: usize) -> Result<(), Problem> {
    let problem = if text.trim().is_empty() {
        "is empty".to_owned()
    } else if text.len() > bytes_max {
        format!("has {} bytes, at most {bytes_max} are taken", text.len())
    } else if text.chars().any(char::is_control) {
        "has a control character".to_owned()
    } else {
        return Ok(());
    };
    Err((field.to_owned(), problem))
}

fn http_url(field: &str, text: &str) -> Result<(), Problem> {
    let refuse = |problem: String| Err((field.to_owned(), problem));
    let url = match url::Url::parse(text) {
        Ok(url) => url,
        Err(error) => return refuse(format!("is no URL ({error}): give https://host/path")),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse(format!(
            "has the scheme `{}`: give an http or https URL",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("holds a user or password: send an `authorization` header instead".into());
    }
    if url.fragment().is_some() {
        return refuse("has a fragment (#…), which is never sent: leave it out".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_schemas::{EnvironmentId, IntegrationId, Secret, UnixMillis};

    use super::*;
    use crate::entity::{Environment, StaticHeader};

    const NOW: UnixMillis = UnixMillis(1);

    fn stored(text: &str) -> StoredSecret {
        StoredSecret::new(Secret::new(text))
    }

    /// Checks an endpoint and an integration after a change of each; gives the field complained of.
    fn field(entity: Entity) -> Option<String> {
        match check(&mut { entity }, &FloodSettings::default(), &Config::default()) {
            Ok(()) => None,
            Err(WriteError::Invalid { field, problem, .. }) => {
                assert!(!problem.contains("plaintext"), "{problem}");
                Some(field)
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn endpoint(change: impl FnOnce(&mut Endpoint)) -> Option<String> {
        let mut endpoint = Endpoint::new(
            EnvironmentId::new(NOW),
            "main",
            "https://example.com/hook?a=1",
            NOW,
        );
        change(&mut endpoint);
        field(Entity::Endpoint(endpoint))
    }

    fn integration(change: impl FnOnce(&mut Integration)) -> Option<String> {
        let mut integration = Integration::new(EnvironmentId::new(NOW), "crm-1.eu_west~x", "any", NOW);
        change(&mut integration);
        field(Entity::Integration(integration))
    }

    fn header(name: &str, value: &str) -> StaticHeader {
        StaticHeader {
            name: name.into(),
            value: stored(value),
        }
    }

    #[test]
    fn endpoints() {
        let whsec = format!("whsec_{}", STANDARD.encode([1; 24]));
        assert_eq!(endpoint(|_| ()), None);
        assert_eq!(endpoint(|e| e.secrets = vec![stored(&whsec)]), None);
        assert_eq!(
            endpoint(|e| e.headers = vec![header("authorization", "Bearer plaintext")]),
            None
        );
        let cases: [(&str, Option<String>); 13] = [
            ("name", endpoint(|e| e.name = " ".into())),
            ("name", endpoint(|e| e.name = "a\nb".into())),
            ("url", endpoint(|e| e.url = "ftp://example.com".into())),
            ("url", endpoint(|e| e.url = "example.com".into())),
            (
                "url",
                endpoint(|e| e.url = "https://user:plaintext@example.com".into()),
            ),
            ("url", endpoint(|e| e.url = "https://example.com/#x".into())),
            ("timeout", endpoint(|e| e.timeout = Some(Duration::ZERO))),
            ("secrets", endpoint(|e| e.secrets = vec![stored("plaintext")])),
            (
                "secrets",
                endpoint(|e| e.secrets = vec![stored("whsec_c2hvcnQ=")]),
            ),
            ("secret", endpoint(|e| e.secrets = vec![stored("")])),
            (
                "headers.Host",
                endpoint(|e| e.headers = vec![header("Host", "x")]),
            ),
            (
                "headers.webhook-id",
                endpoint(|e| e.headers = vec![header("webhook-id", "x")]),
            ),
            (
                "headers.x-a",
                endpoint(|e| e.headers = vec![header("x-a", "x\r\ny: z")]),
            ),
        ];
        for (expected, found) in cases {
            assert_eq!(found.as_deref(), Some(expected));
        }
    }

    #[test]
    fn integrations() {
        assert_eq!(integration(|_| ()), None);
        let none = RateLimit {
            per_second: 0,
            burst: 1,
        };
        let mut backwards = stored("plaintext");
        (backwards.not_before, backwards.not_after) = (Some(UnixMillis(5)), Some(UnixMillis(5)));
        let cases: [(&str, Option<String>); 7] = [
            ("key", integration(|i| i.key = "a/b".into())),
            ("key", integration(|i| i.key = "..".into())),
            ("key", integration(|i| i.key = "k".repeat(256))),
            ("provider", integration(|i| i.provider = String::new())),
            (
                "public_url",
                integration(|i| i.public_url = Some("nowhere".into())),
            ),
            ("rate_limit", integration(|i| i.rate_limit = Some(none))),
            ("secret", integration(|i| i.secrets = vec![backwards])),
        ];
        for (expected, found) in cases {
            assert_eq!(found.as_deref(), Some(expected));
        }
    }

    #[test]
    fn environments_and_connections() {
        assert_eq!(
            field(Entity::Environment(Environment::new("", NOW))).as_deref(),
            Some("name")
        );
        let connection = Connection::new(IntegrationId::new(NOW), "acme", NOW);
        assert_eq!(
            field(Entity::Connection(connection.clone().with_property("", "x"))).as_deref(),
            Some("properties")
        );
        assert_eq!(
            field(Entity::Connection(connection.with_property("account", ""))),
            None
        );
        let nameless = Connection::new(IntegrationId::new(NOW), "", NOW);
        assert_eq!(field(Entity::Connection(nameless)).as_deref(), Some("id"));
    }
}
