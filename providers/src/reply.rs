//! What the provider is answered: the standard reply, a definition's own, a handshake's. In: a verified request. Out: a
//! status, headers and a body, and what else a handshake asks of the caller. Sends nothing.

use tidegate_schemas::Secret;

use crate::verdict::Refusal;

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers, among them the content type.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a handshake asks for.
pub struct Answer {
    /// What to answer.
    pub reply: Reply,
    /// A secret that was delivered: to be stored durably before answering.
    pub store: Option<Store>,
    /// An address to be called after answering, under the SSRF rule.
    pub call: Option<Call>,
}

/// A handshake that is not answered as it hoped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeRefusal {
    /// What to answer.
    pub reply: Reply,
    /// Why.
    pub refusal: Refusal,
}

/// A secret that a handshake delivered.
pub struct Store {
    /// The secret.
    pub secret: Secret,
    /// Whose it is.
    pub at: SecretAt,
}

/// A confirmation that the caller makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The `https` address to GET; it has passed the definition's host rule.
    pub url: String,
}

/// Where secrets sit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretAt {
    /// At the integration.
    #[default]
    Integration,
    /// At each connection: identify first, then verify with that connection's secret.
    Connection,
}

/// Whose secret is awaited, as the registry knows: only then is a delivered one stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Awaiting {
    /// The integration awaits one.
    pub integration: bool,
    /// The connection that the URL names awaits one.
    pub connection: bool,
}
