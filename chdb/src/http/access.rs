//! Who asks.
//!
//! In: a request's headers and URL parameters. Out: nothing, or ClickHouse's refusal. One user, one password, compared in constant time;
//! there are no roles and no rights: whoever has the password may do everything.

use base64::Engine as _;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::Config;
use crate::exception::{Exception, codes};

/// User and password as given; each may come by header, by basic authorization or in the URL, but only one way at once.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    user: Option<String>,
    password: Option<String>,
}

impl Credentials {
    pub(crate) fn of(
        headers: &HeaderMap,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Result<Credentials, Exception> {
        let header = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let by_header = Credentials {
            user: header("x-clickhouse-user"),
            password: header("x-clickhouse-key"),
        };
        let by_url = Credentials {
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
        };
        let basic = headers
            .get(AUTHORIZATION)
            .map(|value| basic(value.as_bytes()))
            .transpose()?;
        let given: Vec<Credentials> = [Some(by_header), basic, Some(by_url)]
            .into_iter()
            .flatten()
            .filter(Credentials::is_given)
            .collect();
        if given.len() > 1 {
            let sentence = "Invalid authentication: it is not allowed to use several ways of authentication simultaneously.";
            return Err(Exception::new(codes::AUTHENTICATION_FAILED, sentence));
        }
        Ok(given.into_iter().next().unwrap_or_default())
    }

    fn is_given(&self) -> bool {
        self.user.is_some() || self.password.is_some()
    }

    /// Whether these are the user's.
    pub(crate) fn check(&self, config: &Config) -> Result<(), Exception> {
        let user = self
            .user
            .as_deref()
            .filter(|user| !user.is_empty())
            .unwrap_or("default");
        let password = self.password.as_deref().unwrap_or_default();
        let matches = config.password.matches(password) || config.password.is_empty();
        if user == config.user && matches {
            return Ok(());
        }
        let sentence = format!(
            "{user}: Authentication failed: password is incorrect, or there is no user with such name."
        );
        let code = if self.is_given() {
            codes::AUTHENTICATION_FAILED
        } else {
            codes::REQUIRED_PASSWORD
        };
        Err(Exception::new(code, sentence))
    }
}

fn basic(value: &[u8]) -> Result<Credentials, Exception> {
    let refused = || {
        Exception::new(
            codes::AUTHENTICATION_FAILED,
            "Invalid authentication: only basic authorization is understood.",
        )
    };
    let text = std::str::from_utf8(value).map_err(|_| refused())?;
    let (scheme, encoded) = text.split_once(' ').ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(refused());
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .map_err(|_| refused())?;
    let decoded = String::from_utf8(decoded).map_err(|_| refused())?;
    let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
    Ok(Credentials {
        user: Some(user.to_owned()),
        password: Some(password.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Password;
    use http::HeaderValue;

    fn check(
        header: &[(&'static str, &'static str)],
        url: (Option<&str>, Option<&str>),
        wanted: Result<(), u32>,
    ) {
        let headers: HeaderMap = header
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let config = Config {
            password: Password::new("right"),
            ..Config::default()
        };
        let found = Credentials::of(&headers, url.0, url.1).and_then(|given| given.check(&config));
        assert_eq!(
            found.map_err(|refusal| refusal.code()),
            wanted,
            "{header:?} {url:?}"
        );
    }

    #[test]
    fn each_way_works_alone() {
        let none = (None, None);
        check(&[("x-clickhouse-key", "right")], none, Ok(()));
        check(
            &[("x-clickhouse-user", "default"), ("x-clickhouse-key", "right")],
            none,
            Ok(()),
        );
        check(&[("authorization", "Basic ZGVmYXVsdDpyaWdodA==")], none, Ok(()));
        check(&[], (Some("default"), Some("right")), Ok(()));
        check(&[], none, Err(194));
        check(&[("x-clickhouse-key", "wrong")], none, Err(516));
        check(
            &[("x-clickhouse-user", "other"), ("x-clickhouse-key", "right")],
            none,
            Err(516),
        );
        check(&[("authorization", "Bearer x")], none, Err(516));
        check(
            &[
                ("authorization", "Basic ZGVmYXVsdDpyaWdodA=="),
                ("x-clickhouse-key", "right"),
            ],
            none,
            Err(516),
        );
        check(&[("authorization", "Basic !")], none, Err(516));
    }
}
