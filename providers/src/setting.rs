//! Settings of a scheme that stand in the definition, or that an integration may choose by a constant. In: a request's
//! constants. Out: the setting; a constant that is none of the known words is the integration's fault and refused.

use tidegate_schemas::Reason;

use crate::body::ParsedRequest;
use crate::verdict::Refusal;

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting<T> {
    /// Stands in the definition.
    Fixed(T),
    /// The integration's constant `name`, else the default.
    Cfg { name: String, default: T },
}

impl<T: Copy> Setting<T> {
    /// The setting for this request.
    pub fn of(&self, request: &ParsedRequest<'_>, read: impl Fn(&str) -> Option<T>) -> Result<T, Refusal> {
        match self {
            Setting::Fixed(setting) => Ok(*setting),
            Setting::Cfg { name, default } => match request.cfg(name) {
                None => Ok(*default),
                Some(text) => read(text).ok_or_else(|| unusable(name, text)),
            },
        }
    }
}

/// The refusal of a constant that cannot be used.
pub(crate) fn unusable(name: &str, text: &str) -> Refusal {
    Refusal::new(
        Reason::SecretUnusable,
        format!("the integration's cfg `{name}` cannot be `{text}`"),
    )
}

/// Reads one word of an enum, as a definition would spell it.
pub(crate) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}
