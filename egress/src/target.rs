//! A URL that may be called: parsed once, normalised, its literal address held against the rule.
//! In: text. Out: a [`Target`] that the client takes. Resolves no names; the dialler checks what a name stands for.

use std::net::IpAddr;

use http::Uri;
use url::{Host, Url};

use crate::{Refused, Rule};

/// The longest URL that is accepted, in bytes.
const URL_BYTES_MAX: usize = 8 * 1024;

/// A URL that may be called, as far as that can be said without DNS.
///
/// Odd spellings of an address (`http://2130706433/`, `http://0x7f.1/`) have become the plain one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    uri: Uri,
}

impl Target {
    /// The normalised URL.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// Text that is no URL which may be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("not a url: {reason}: write it like https://example.com/path")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// Another scheme than `http` and `https`, or `http` where only `https` may be called.
    #[error("the scheme `{scheme}` is not called: use https")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// A user name or password inside.
    #[error("the url holds a user name or password: send them as a header of the endpoint")]
    Credentials,
    /// Its host is an address that must not be dialled.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Rule {
    /// Makes a target of `text`: what is asked when an endpoint is created, tested and used.
    ///
    /// # Errors
    /// [`UrlError`] when the text is no URL that may be called.
    pub fn check_url(&self, text: &str) -> Result<Target, UrlError> {
        let malformed = |reason: &str| UrlError::Malformed {
            reason: reason.to_owned(),
        };
        if text.len() > URL_BYTES_MAX {
            return Err(malformed("longer than 8192 bytes"));
        }
        let mut url = Url::parse(text).map_err(|error| malformed(&error.to_string()))?;
        let scheme_passes = match url.scheme() {
            "https" => true,
            "http" => !self.https_only,
            _ => false,
        };
        if !scheme_passes {
            return Err(UrlError::Scheme {
                scheme: url.scheme().to_owned(),
            });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(IpAddr::V4(address))?,
            Some(Host::Ipv6(address)) => self.check_address(IpAddr::V6(address))?,
            Some(Host::Domain(name)) if !name.is_empty() => {}
            _ => return Err(malformed("no host")),
        }
        if url.port() == Some(0) {
            return Err(malformed("port 0"));
        }
        url.set_fragment(None);
        let uri = url
            .as_str()
            .parse()
            .map_err(|error: http::uri::InvalidUri| malformed(&error.to_string()))?;
        Ok(Target { uri })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let outcome = match Rule::default().check_url(text) {
            Ok(target) => target.uri().to_string(),
            Err(UrlError::Malformed { .. }) => "malformed".into(),
            Err(UrlError::Scheme { .. }) => "scheme".into(),
            Err(UrlError::Credentials) => "credentials".into(),
            Err(UrlError::Refused(refused)) => format!("refused {}", refused.address),
        };
        assert_eq!(outcome, expected, "{text}");
    }

    #[test]
    fn urls_are_normalised_before_they_are_judged() {
        for (text, expected) in [
            ("https://example.com/a?b=c#d", "https://example.com/a?b=c"),
            ("https://EXAMPLE.com", "https://example.com/"),
            ("http://example.com:8080/x", "http://example.com:8080/x"),
            ("http://2130706433/", "refused 127.0.0.1"),
            ("http://0x7f.1/", "refused 127.0.0.1"),
            ("http://0177.0.0.1/", "refused 127.0.0.1"),
            ("http://127.1/", "refused 127.0.0.1"),
            ("http://１２７.0.0.1/", "refused 127.0.0.1"),
            ("http://[::ffff:7f00:1]/", "refused ::ffff:127.0.0.1"),
            ("http://[::1]:80/", "refused ::1"),
            (
                "http://169.254.169.254/latest/meta-data",
                "refused 169.254.169.254",
            ),
            ("ftp://example.com/", "scheme"),
            ("file:///etc/passwd", "scheme"),
            ("https://user:secret@example.com/", "credentials"),
            ("https://user@example.com/", "credentials"),
            ("https://", "malformed"),
            ("https://example.com:0/", "malformed"),
            ("example.com", "malformed"),
            ("http://256.256.256.256/", "malformed"),
            ("", "malformed"),
        ] {
            check(text, expected);
        }
        check(
            &format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX)),
            "malformed",
        );
    }

    #[test]
    fn https_only_refuses_plain_http() {
        let rule = Rule {
            https_only: true,
            ..Rule::default()
        };
        assert!(matches!(
            rule.check_url("http://example.com/"),
            Err(UrlError::Scheme { .. })
        ));
        assert!(rule.check_url("https://example.com/").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_literal_slips_through(text in "(https?://)?[\\PC]{0,60}") {
            if let Ok(target) = Rule::default().check_url(&text) {
                let host = target.uri().host().expect("a target has a host").trim_matches(['[', ']']);
                if let Ok(address) = host.parse::<IpAddr>() {
                    proptest::prop_assert!(Rule::default().check_address(address).is_ok(), "{address}");
                }
            }
        }
    }
}
