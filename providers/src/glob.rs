//! Patterns in which `*` stands for any text. In: a pattern and a text. Out: whether it fits whole.

/// A pattern, cut at its stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Vec<u8>>);

impl Glob {
    /// Reads a pattern; one without stars fits only itself.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.split('*').map(|part| part.as_bytes().to_vec()).collect())
    }

    /// Whether the whole text fits. Linear: the first place of each part is as good as any later one.
    pub fn fits(&self, text: &[u8]) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|only| only == text);
        };
        let Some(rest) = text.strip_prefix(first.as_slice()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_slice()) else {
            return false;
        };
        for part in middle {
            let Some(at) = memchr::memmem::find(rest, part) else {
                return false;
            };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        true
    }

    /// Whether a host name fits, where each star stands within one label.
    pub fn fits_host(pattern: &str, host: &str) -> bool {
        let (mut patterns, mut labels) = (pattern.split('.'), host.split('.'));
        loop {
            match (patterns.next(), labels.next()) {
                (None, None) => return true,
                (Some(pattern), Some(label))
                    if !label.is_empty() && Glob::new(pattern).fits(label.as_bytes()) => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        let check = |pattern: &str, text: &str, expected| {
            assert_eq!(
                Glob::new(pattern).fits(text.as_bytes()),
                expected,
                "{pattern} on {text}"
            );
        };
        check("*.deleted", "contact.deleted", true);
        check("*.deleted", "contact.deleted.soon", false);
        check("whsec_*", "whsec_", true);
        check("*Deleted*", "BlobDeleted", true);
        check("a*b*c", "abbc", true);
        check("a*a", "a", false);
        check("exact", "exact", true);
        check("exact", "exactly", false);
        check("*", "", true);
    }

    #[test]
    fn a_star_in_a_host_is_one_label() {
        assert!(Glob::fits_host("sns.*.example.com", "sns.eu-west-1.example.com"));
        assert!(!Glob::fits_host("sns.*.example.com", "sns.a.b.example.com"));
        assert!(!Glob::fits_host("*.example.com", "example.com"));
        assert!(!Glob::fits_host("*.example.com", ".example.com"));
        assert!(!Glob::fits_host("*.example.com", "a.example.com.evil.test"));
    }
}
