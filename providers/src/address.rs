//! Which addresses may be called for a key or a confirmation: `https`, a closed list of hosts, a pattern of paths. In: a
//! URL that a stranger may have written. Out: yes or no. Dials nothing; the SSRF rule comes on top.

use crate::glob::Glob;

/// A closed rule of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AddressRule {
    /// Host patterns, each `*` within one label; empty: any host (the address is the definition's or the user's own).
    pub hosts: Vec<String>,
    /// A pattern of the path.
    pub path: Option<Glob>,
}

impl AddressRule {
    /// Whether the address may be called. The authority must be a plain host name: no user, no port, no escapes.
    pub fn allows(&self, url: &str) -> bool {
        let Some(rest) = url.strip_prefix("https://") else {
            return false;
        };
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return false;
        }
        if self.hosts.is_empty() {
            return !host.is_empty() && !host.contains('@');
        }
        let plain = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let host = host.to_ascii_lowercase();
        let path = path.split(['?', '#']).next().unwrap_or_default();
        plain
            && self.hosts.iter().any(|pattern| Glob::fits_host(pattern, &host))
            && self
                .path
                .as_ref()
                .is_none_or(|pattern| pattern.fits(path.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_addresses_of_the_rule_pass() {
        let rule = AddressRule {
            hosts: vec!["sns.*.example.com".into()],
            path: Some(Glob::new("*.pem")),
        };
        let check = |url: &str, expected: bool| assert_eq!(rule.allows(url), expected, "{url}");
        check("https://sns.eu.example.com/key.pem", true);
        check("https://SNS.eu.example.com/key.pem?x=1", true);
        check("http://sns.eu.example.com/key.pem", false);
        check("https://sns.eu.example.com/key.txt", false);
        check("https://sns.eu.example.com@evil.test/key.pem", false);
        check("https://evil.test/sns.eu.example.com/key.pem", false);
        check("https://sns.eu.example.com:8443/key.pem", false);
        check("https://sns.eu.example.com\\@evil.test/key.pem", false);
        check("https://sns.eu.example.com.evil.test/key.pem", false);
        check("https://sns.a.b.example.com/key.pem", false);
        check("https:///key.pem", false);
        assert!(AddressRule::default().allows("https://tenant.example.com:8443/keys"));
        assert!(!AddressRule::default().allows("https://user@example.com/keys"));
    }
}
