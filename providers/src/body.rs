//! A request with its body, parsed when it is first asked for and at most once: as a form, a JSON document (which may be
//! nested in a field), a JWT's claims, the elements of a batch. In: the request and its definition's `[body]`. Out: views
//! of it. What cannot be parsed is a refusal that splitting reports; until then it is merely absent.

use std::cell::OnceCell;
use std::ops::Range;

use serde::Deserialize;
use tidegate_schemas::{PayloadKind, Reason};

use crate::config::JSON_DEPTH_LIMIT;
use crate::definition::Definition;
use crate::each::EachError;
pub(crate) use crate::each::Element;
use crate::encoding::Encoding;
use crate::form::{Form, FormError};
use crate::json::{Document, Json, JsonError};
use crate::pick::{Scope, Where};
use crate::request::RawRequest;
use crate::selector::Selector;
use crate::verdict::Refusal;

/// The default of [`ParsedRequest::with_events_max`].
pub const EVENTS_PER_REQUEST_MAX: usize = 10_000;

/// A request whose body is parsed once, when it is first asked for.
#[derive(Debug)]
pub struct ParsedRequest<'a> {
    /// As received.
    pub raw: RawRequest<'a>,
    pub(crate) definition: &'a Definition,
    events_max: usize,
    form: OnceCell<Option<Result<Form, FormError>>>,
    document: OnceCell<Result<Option<Found>, Refusal>>,
    claims: OnceCell<Option<Nested>>,
    elements: OnceCell<Result<Vec<Element>, Refusal>>,
}

/// The document of a request.
#[derive(Debug)]
enum Found {
    Body(Document),
    Nested(Nested),
}

/// A document that was decoded from a text of the request.
#[derive(Debug)]
struct Nested {
    bytes: Vec<u8>,
    document: Document,
    place: Option<Range<usize>>,
}

/// What a definition says of the body.
#[derive(Debug, Clone, Default)]
pub(crate) struct BodyRules {
    pub kind: BodyKind,
    pub document: Vec<DocumentAt>,
}

/// Where a document stands when the body is none.
#[derive(Debug, Clone)]
pub(crate) enum DocumentAt {
    Picked(Selector),
    Claims,
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BodyKind {
    /// By its content type and its first byte.
    #[default]
    Auto,
    Json,
    Form,
    Text,
}

/// How this body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Empty,
    /// JSON; `said` when the definition or the content type says so, so that anything else is malformed.
    Json {
        said: bool,
    },
    Urlencoded,
    Multipart,
    Other,
}

impl<'a> ParsedRequest<'a> {
    pub(crate) fn new(raw: RawRequest<'a>, definition: &'a Definition) -> Self {
        Self {
            raw,
            definition,
            events_max: EVENTS_PER_REQUEST_MAX,
            form: OnceCell::new(),
            document: OnceCell::new(),
            claims: OnceCell::new(),
            elements: OnceCell::new(),
        }
    }

    /// Refuses a request of more events than this as malformed (`events_per_request_max`, by default 10,000).
    #[must_use]
    pub fn with_events_max(self, events_max: usize) -> Self {
        Self { events_max, ..self }
    }

    fn content_type(&self) -> &str {
        self.raw.headers.get("content-type").unwrap_or_default()
    }

    fn shape(&self) -> Shape {
        let content_type = self.content_type();
        let is = |word: &str| {
            content_type
                .get(..word.len())
                .is_some_and(|have| have.eq_ignore_ascii_case(word))
        };
        let first = self.raw.body.iter().find(|byte| !byte.is_ascii_whitespace());
        let form = if is("multipart/") {
            Shape::Multipart
        } else {
            Shape::Urlencoded
        };
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let said = media_type.ends_with("json");
        match self.definition.body.kind {
            _ if self.raw.body.is_empty() => Shape::Empty,
            BodyKind::Json => Shape::Json { said: true },
            BodyKind::Form => form,
            BodyKind::Text => Shape::Other,
            BodyKind::Auto if is("multipart/") => form,
            BodyKind::Auto if said || matches!(first, Some(b'{' | b'[')) => Shape::Json { said },
            BodyKind::Auto if is("application/x-www-form-urlencoded") => form,
            BodyKind::Auto => Shape::Other,
        }
    }

    /// The form's fields, when the body is a form.
    pub(crate) fn form(&self) -> Option<&Form> {
        self.read_form()?.as_ref().ok()
    }

    fn read_form(&self) -> Option<&Result<Form, FormError>> {
        let (body, most) = (self.raw.body, self.definition.limits.form_fields_max);
        let read = || match self.shape() {
            Shape::Urlencoded => Some(Form::urlencoded(body, most)),
            Shape::Json { said: false } if self.content_type().starts_with("application/x-www-form") => {
                Some(Form::urlencoded(body, most))
            }
            Shape::Multipart => Some(Form::multipart(body, self.content_type(), most)),
            _ => None,
        };
        self.form.get_or_init(read).as_ref()
    }

    fn parse_json(&self, bytes: &[u8], what: &str) -> Result<Document, Refusal> {
        let depth_max = self.definition.limits.json_depth_max.min(JSON_DEPTH_LIMIT);
        Document::parse(bytes, depth_max).map_err(|error| not_json(error, (what, depth_max)))
    }

    fn found(&self) -> Result<Option<&Found>, &Refusal> {
        self.document
            .get_or_init(|| self.find_document())
            .as_ref()
            .map(Option::as_ref)
    }

    fn find_document(&self) -> Result<Option<Found>, Refusal> {
        let shape = self.shape();
        if let Shape::Json { said } = shape {
            match self.parse_json(self.raw.body, "the body") {
                Ok(document) => return Ok(Some(Found::Body(document))),
                Err(refusal) if said => return Err(refusal),
                Err(_) => {}
            }
        }
        for at in &self.definition.body.document {
            let found = match at {
                DocumentAt::Picked(selector) => self.nested_document(selector)?,
                DocumentAt::Claims => self.decode_claims(),
            };
            if let Some(nested) = found {
                return Ok(Some(Found::Nested(nested)));
            }
        }
        match self.read_form() {
            Some(Err(FormError::Broken)) => Err(Refusal::new(
                Reason::BodyNotForm,
                "the body is no multipart form of its content type",
            )),
            Some(Err(FormError::TooManyFields)) => {
                let most = self.definition.limits.form_fields_max;
                let detail = format!("the form has more than {most} fields (providers.form_fields_max)");
                Err(Refusal::new(Reason::BodyNotForm, detail))
            }
            _ => Ok(None),
        }
    }

    fn nested_document(&self, selector: &Selector) -> Result<Option<Nested>, Refusal> {
        let scope = Scope::of(self);
        let Some(text) = selector.pick(&scope) else {
            let broken = || Refusal::new(Reason::BodyNotJson, "the field that should hold JSON does not");
            return if selector.finds_source(&scope) {
                Err(broken())
            } else {
                Ok(None)
            };
        };
        let bytes = text.into_owned();
        let document = self.parse_json(&bytes, "the field that holds the JSON")?;
        let place = if selector.binds_body() {
            Some(0..self.raw.body.len())
        } else {
            selector.place(&scope).into_iter().find_map(|place| match place {
                Where::Body { range, .. } => Some(range),
                _ => None,
            })
        };
        Ok(Some(Nested {
            bytes,
            document,
            place,
        }))
    }

    /// The JSON document.
    pub(crate) fn document(&self) -> Option<Json<'_>> {
        Some(match self.found().ok()?? {
            Found::Body(document) => document.over(self.raw.body),
            Found::Nested(nested) => nested.document.over(&nested.bytes),
        })
    }

    /// The bytes of a nested document, when the document is nested.
    pub(crate) fn nested_bytes(&self) -> Option<&[u8]> {
        match self.found().ok()?? {
            Found::Body(_) => None,
            Found::Nested(nested) => Some(&nested.bytes),
        }
    }

    /// Whether the document is nested, and then the place of the text in the body that it was decoded from.
    pub(crate) fn nested(&self) -> Option<Option<Range<usize>>> {
        match self.found().ok()?? {
            Found::Body(_) => None,
            Found::Nested(nested) => Some(nested.place.clone()),
        }
    }

    /// The claims of the JWT that the definition's scheme reads. Whether they were verified is the caller's to know.
    pub(crate) fn claims(&self) -> Option<Json<'_>> {
        let claims = self.claims.get_or_init(|| self.decode_claims()).as_ref()?;
        Some(claims.document.over(&claims.bytes))
    }

    fn decode_claims(&self) -> Option<Nested> {
        let scope = Scope::of(self);
        let token = self
            .definition
            .verify
            .iter()
            .find_map(|block| block.jwt_token(&scope))?;
        let claims = token.split(|byte| *byte == b'.').nth(1)?;
        let bytes = Encoding::Base64Url.decode(claims)?;
        let document = self.parse_json(&bytes, "the token").ok()?;
        let place = (*token == *self.raw.body).then_some(0..self.raw.body.len());
        Some(Nested {
            bytes,
            document,
            place,
        })
    }

    /// The elements of `each`, or the request as the only one.
    pub(crate) fn elements(&self) -> Result<&[Element], &Refusal> {
        self.elements.get_or_init(|| self.find_elements()).as_deref()
    }

    fn find_elements(&self) -> Result<Vec<Element>, Refusal> {
        self.found().map_err(Clone::clone)?;
        let found = self
            .definition
            .event
            .each
            .elements(self.document(), self.events_max);
        found.map_err(|error| match error {
            EachError::Missing => Refusal::new(
                Reason::EventsMissing,
                "no array stands where the definition's `each` expects one",
            ),
            EachError::TooMany => Refusal::new(
                Reason::TooManyEvents,
                format!("more than {} events in one request", self.events_max),
            ),
        })
    }

    /// Lets go of what was looked up inside one of several elements.
    pub(crate) fn forget(&self, element: Element) {
        if let (Some(json), Some(span)) = (self.document(), element.span)
            && span != json.root()
        {
            json.forget(span);
        }
    }

    /// How the whole body becomes JSON.
    pub(crate) fn payload_kind(&self) -> PayloadKind {
        match self.shape() {
            Shape::Empty => PayloadKind::Headers,
            Shape::Json { .. } if matches!(self.found(), Ok(Some(Found::Body(_)))) => PayloadKind::Json,
            Shape::Urlencoded | Shape::Multipart => PayloadKind::Form,
            _ if self.form().is_some() => PayloadKind::Form,
            _ if std::str::from_utf8(self.raw.body).is_ok() => PayloadKind::Text,
            _ => PayloadKind::Base64,
        }
    }

    /// A constant of the integration, or the definition's default for it.
    pub(crate) fn cfg(&self, name: &str) -> Option<&str> {
        let given = self
            .raw
            .cfg
            .get(name)
            .map(String::as_str)
            .filter(|given| !given.is_empty());
        given.or_else(|| {
            self.definition
                .cfg
                .iter()
                .find(|cfg| cfg.name == name)?
                .default
                .as_deref()
        })
    }
}

fn not_json(error: JsonError, (what, depth_max): (&str, u32)) -> Refusal {
    match error {
        JsonError::Syntax(at) => Refusal::new(
            Reason::BodyNotJson,
            format!("{what} is no JSON from byte {at} on"),
        ),
        JsonError::Depth(at) => Refusal::new(
            Reason::BodyTooDeep,
            format!("{what} nests deeper than {depth_max} at byte {at} (providers.json_depth_max)"),
        ),
    }
}
