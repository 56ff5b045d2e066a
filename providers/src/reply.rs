//! What the provider is answered: the standard reply, a definition's own, a handshake's. In: a verified request. Out: a
//! status, headers and a body, and what else a handshake asks of the caller. Sends nothing.

use tidegate_schemas::Secret;

use crate::condition::Condition;
use crate::pick::Scope;
use crate::template::Template;
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

/// How an answer is written.
#[derive(Debug)]
pub(crate) struct ReplyRule {
    pub when: Option<Condition>,
    pub status: u16,
    pub content_type: Option<String>,
    pub body: ReplyBody,
    pub headers: Vec<(String, Template)>,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    Empty,
    Text(Template),
    Json(JsonTemplate),
}

/// JSON whose texts are templates.
#[derive(Debug)]
pub(crate) enum JsonTemplate {
    Object(Vec<(String, JsonTemplate)>),
    Array(Vec<JsonTemplate>),
    Text(Template),
    Plain(serde_json::Value),
}

impl Reply {
    /// An empty answer of this status.
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

impl ReplyRule {
    /// Writes the answer; a header whose template is absent is left out, an absent text is empty.
    pub fn render(&self, scope: &Scope<'_>) -> Reply {
        let (body, usual) = match &self.body {
            ReplyBody::Empty => (Vec::new(), None),
            ReplyBody::Text(template) => (
                template
                    .render(scope)
                    .map(|text| text.into_owned())
                    .unwrap_or_default(),
                Some("text/plain"),
            ),
            ReplyBody::Json(template) => (
                template.render(scope).to_string().into_bytes(),
                Some("application/json"),
            ),
        };
        let content_type = self.content_type.as_deref().or(usual);
        let typed = content_type.map(|value| ("content-type".to_owned(), value.to_owned()));
        let written = self.headers.iter().filter_map(|(name, template)| {
            let value = template.render_str(scope)?;
            let is_header_text = value.chars().all(|letter| letter == '\t' || !letter.is_control());
            is_header_text.then(|| (name.clone(), value.into_owned()))
        });
        Reply {
            status: self.status,
            headers: typed.into_iter().chain(written).collect(),
            body,
        }
    }

    /// Every template in it.
    pub fn templates(&self) -> Vec<&Template> {
        let mut templates: Vec<_> = self.headers.iter().map(|(_, template)| template).collect();
        match &self.body {
            ReplyBody::Empty => {}
            ReplyBody::Text(template) => templates.push(template),
            ReplyBody::Json(json) => json.templates(&mut templates),
        }
        templates
    }
}

impl JsonTemplate {
    fn render(&self, scope: &Scope<'_>) -> serde_json::Value {
        match self {
            JsonTemplate::Plain(value) => value.clone(),
            JsonTemplate::Array(elements) => elements.iter().map(|element| element.render(scope)).collect(),
            JsonTemplate::Object(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), member.render(scope)))
                .collect(),
            JsonTemplate::Text(template) => template.render_str(scope).unwrap_or_default().into(),
        }
    }

    fn templates<'t>(&'t self, found: &mut Vec<&'t Template>) {
        match self {
            JsonTemplate::Plain(_) => {}
            JsonTemplate::Array(elements) => elements.iter().for_each(|element| element.templates(found)),
            JsonTemplate::Object(members) => members.iter().for_each(|(_, member)| member.templates(found)),
            JsonTemplate::Text(template) => found.push(template),
        }
    }
}
