//! Picking: what a selector yields of a request, an element of it, a signature's parts. In: a [`Scope`]. Out: a text,
//! borrowed where it stands; nothing where it is missing, `null` or empty.

use std::borrow::Cow;
use std::ops::Range;

use crate::body::{Element, ParsedRequest};
use crate::form::plus_decoded;
use crate::json::{Json, Kind, Span};
use crate::map::{Given, Map, Text};
use crate::path::Path;
use crate::selector::{Name, PartName, Selector, Source};

/// What can be picked from.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'r> {
    pub request: &'r ParsedRequest<'r>,
    /// The element of `each`; without one, `event:` is the document.
    pub element: Option<Element>,
    /// Whether the JWT was verified, so that its claims may be picked.
    pub claims: bool,
    /// The signature's list at hand.
    pub parts: Option<&'r Parts<'r>>,
    /// The name of the list's entry at hand.
    pub entry: Option<&'r str>,
    /// The secret at hand, or the key that the map `hmac` is given.
    pub secret: Option<&'r [u8]>,
}

/// A signature's list, cut.
#[derive(Debug, Default)]
pub(crate) struct Parts<'r> {
    /// Every entry in order: its name, if it has one, and its value.
    pub entries: Vec<(Option<&'r str>, &'r str)>,
}

/// Where a picked value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Where {
    Header(String),
    Query(String),
    /// In the raw body; `quoted` when it is a JSON value that is no string.
    Body {
        range: Range<usize>,
        quoted: bool,
    },
    /// In a document that was nested in a field of the body; that field's place is `outer`.
    Nested {
        range: Range<usize>,
        quoted: bool,
        outer: Option<Range<usize>>,
    },
}

impl<'r> Scope<'r> {
    /// Of the request alone.
    pub fn of(request: &'r ParsedRequest<'r>) -> Self {
        Self {
            request,
            element: None,
            claims: false,
            parts: None,
            entry: None,
            secret: None,
        }
    }

    /// What maps are given.
    fn given(&self) -> Given<'r> {
        Given {
            key: self.secret,
            limits: self.request.definition.limits,
        }
    }

    /// The document and, in it, the element at hand.
    fn event(&self) -> Option<(Json<'r>, Span)> {
        let json = self.request.document()?;
        Some((
            json,
            self.element.map_or(Some(json.root()), |element| element.span)?,
        ))
    }
}

impl Selector {
    /// The text this picks; never an empty one.
    pub fn pick<'r>(&'r self, scope: &Scope<'r>) -> Option<Text<'r>> {
        let (start, maps) = self.begin(scope);
        let picked = maps.iter().fold(start, |text, map| match map {
            Map::Default(text_instead) => text
                .filter(|text| !text.is_empty())
                .or(Some(Cow::Borrowed(text_instead.as_bytes()))),
            map => text.and_then(|text| map.apply(text, scope.given())),
        });
        picked.filter(|text| !text.is_empty())
    }

    /// Whether something stands where this picks, whatever its maps make of it.
    pub fn finds_source(&self, scope: &Scope<'_>) -> bool {
        self.source.text(scope).is_some_and(|text| !text.is_empty())
    }

    /// The text as UTF-8.
    pub fn pick_str<'r>(&'r self, scope: &Scope<'r>) -> Option<Cow<'r, str>> {
        self.pick(scope).and_then(into_str)
    }

    /// Every text this picks: several where it is a pattern of header names.
    pub fn pick_all<'r>(&'r self, scope: &Scope<'r>) -> Vec<Text<'r>> {
        let Source::Headers(glob) = &self.source else {
            return self.pick(scope).into_iter().collect();
        };
        let headers = scope
            .request
            .raw
            .headers
            .0
            .iter()
            .filter(|(name, _)| glob.fits(name.as_bytes()));
        let mapped = headers.filter_map(|(_, value)| {
            let start = Some(Cow::Borrowed(value.as_bytes()));
            self.maps.iter().fold(start, |text, map| {
                text.and_then(|text| map.apply(text, scope.given()))
            })
        });
        mapped.filter(|text| !text.is_empty()).collect()
    }

    /// The source's own text, and the maps that are left to apply.
    fn begin<'r>(&'r self, scope: &Scope<'r>) -> (Option<Text<'r>>, &'r [Map]) {
        let Some((map @ (Map::Keys | Map::FirstKey(_)), rest)) = self.maps.split_first() else {
            return (self.source.text(scope), &self.maps);
        };
        match self.source.json(scope) {
            None => (self.source.text(scope), &self.maps),
            Some((json, at)) => (map.apply_to_object(json, at).map(Cow::Owned), rest),
        }
    }

    /// Where the picked value stands, before any map.
    pub fn place(&self, scope: &Scope<'_>) -> Vec<Where> {
        let raw = &scope.request.raw;
        match &self.source {
            Source::Header(name) => name
                .text(scope)
                .map(|name| Where::Header(name.into_owned()))
                .into_iter()
                .collect(),
            Source::Headers(glob) => {
                let fitting = raw
                    .headers
                    .0
                    .iter()
                    .filter(|(name, _)| glob.fits(name.as_bytes()));
                fitting.map(|(name, _)| Where::Header(name.clone())).collect()
            }
            Source::Query(name) => name
                .text(scope)
                .map(|name| Where::Query(name.into_owned()))
                .into_iter()
                .collect(),
            Source::Form(name) => {
                let (Some(name), Some(form)) = (name.text(scope), scope.request.form()) else {
                    return Vec::new();
                };
                let places = form.places(raw.body, &name);
                places.map(|range| Where::Body { range, quoted: false }).collect()
            }
            Source::Join(selectors) => selectors
                .iter()
                .flat_map(|selector| selector.place(scope))
                .collect(),
            _ => self.json_place(scope).into_iter().collect(),
        }
    }

    /// Where the picked JSON value stands; a string's place is inside its quotes.
    fn json_place(&self, scope: &Scope<'_>) -> Option<Where> {
        if matches!(self.source, Source::Claims(_)) {
            return None;
        }
        let (json, at) = self.source.json(scope)?;
        let mut range = at.range();
        let quoted = json.kind(at) != Kind::Text;
        if !quoted {
            range = range.start + 1..range.end - 1;
        }
        Some(match scope.request.nested() {
            None => Where::Body { range, quoted },
            Some(outer) => Where::Nested { range, quoted, outer },
        })
    }
}

impl Source {
    fn text<'r>(&'r self, scope: &Scope<'r>) -> Option<Text<'r>> {
        let request = scope.request;
        let raw = &request.raw;
        Some(match self {
            Source::Header(name) => Cow::Borrowed(header(scope, &name.text(scope)?)?),
            Source::Headers(glob) => {
                let mut headers = raw.headers.0.iter();
                Cow::Borrowed(headers.find(|(name, _)| glob.fits(name.as_bytes()))?.1.as_bytes())
            }
            Source::Query(name) => query(raw.query, &name.text(scope)?)?,
            Source::Form(name) => Cow::Borrowed(request.form()?.get(raw.body, &name.text(scope)?)?),
            Source::RawBody => Cow::Borrowed(raw.body),
            Source::Body(_)
            | Source::Event(_)
            | Source::Parent(_)
            | Source::Grandparent(_)
            | Source::Claims(_) => {
                let (json, at) = self.json(scope)?;
                json.text(at)?
            }
            Source::Cfg(name) => Cow::Borrowed(request.cfg(name)?.as_bytes()),
            Source::Part(name) => Cow::Borrowed(scope.parts?.get(name)?.as_bytes()),
            Source::Method => Cow::Borrowed(raw.method.as_bytes()),
            Source::Url => Cow::Borrowed(raw.url.as_bytes()),
            Source::UrlPath => Cow::Borrowed(url_path(raw.url).as_bytes()),
            Source::PathSegment(n) => {
                let segment = raw.path.trim_start_matches('/').split('/').nth(*n)?;
                percent_encoding::percent_decode_str(segment).into()
            }
            Source::Index => Cow::Owned(scope.element?.index.to_string().into_bytes()),
            Source::Key => {
                let json = request.document()?;
                Cow::Owned(json.name(scope.element?.key?)?.into_owned().into_bytes())
            }
            Source::Entry => Cow::Borrowed(scope.entry?.as_bytes()),
            Source::Secret => Cow::Borrowed(scope.secret?),
            Source::FormSorted => Cow::Owned(request.form()?.sorted(raw.body)),
            Source::SignedHeaders(list) => Cow::Owned(signed_headers(scope, list)?),
            Source::QueryStringHash(base) => {
                let base = base.as_ref().and_then(|name| request.cfg(name));
                Cow::Owned(crate::query_hash::query_string_hash(raw, base).into_bytes())
            }
            Source::Join(selectors) => {
                let texts = selectors.iter().map(|selector| selector.pick(scope));
                Cow::Owned(texts.collect::<Option<Vec<_>>>()?.concat())
            }
            Source::Literal(text) => Cow::Borrowed(text.as_bytes()),
        })
    }

    /// The JSON value this picks, if it picks one.
    pub fn json<'r>(&self, scope: &Scope<'r>) -> Option<(Json<'r>, Span)> {
        let at = |json: Json<'r>, from: Option<Span>, path: &Path| Some((json, path.find(json, from?)?));
        match self {
            Source::Body(path) => scope
                .request
                .document()
                .and_then(|json| at(json, Some(json.root()), path)),
            Source::Event(path) => scope.event().and_then(|(json, from)| at(json, Some(from), path)),
            Source::Parent(path) => at(scope.request.document()?, scope.element?.parent, path),
            Source::Grandparent(path) => at(scope.request.document()?, scope.element?.grandparent, path),
            Source::Claims(path) if scope.claims => {
                let json = scope.request.claims()?;
                at(json, Some(json.root()), path)
            }
            _ => None,
        }
    }
}

impl Name {
    fn text<'r>(&'r self, scope: &Scope<'r>) -> Option<Cow<'r, str>> {
        match self {
            Name::Fixed(name) => Some(Cow::Borrowed(name)),
            Name::Picked(selector) => selector.pick_str(scope),
        }
    }
}

impl<'r> Parts<'r> {
    fn get(&self, name: &PartName) -> Option<&'r str> {
        match name {
            PartName::Placed(place) => self.entries.get(*place).map(|(_, value)| *value),
            PartName::Named(name) => self
                .entries
                .iter()
                .find(|(have, _)| *have == Some(name.as_str()))
                .map(|(_, value)| *value),
        }
    }
}

/// A text that is UTF-8.
pub(crate) fn into_str(text: Text<'_>) -> Option<Cow<'_, str>> {
    match text {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// The first header of that name, whatever case the name is picked in.
fn header<'r>(scope: &Scope<'r>, name: &str) -> Option<&'r [u8]> {
    let mut headers = scope.request.raw.headers.0.iter();
    headers
        .find(|(have, _)| have.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_bytes())
}

fn query<'r>(query: &'r str, name: &str) -> Option<Text<'r>> {
    query.split('&').find_map(|pair| {
        let (have, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*plus_decoded(have.as_bytes()) == *name.as_bytes()).then(|| plus_decoded(value.as_bytes()))
    })
}

pub(crate) fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

/// The `name:value` lines of the headers that a header lists.
fn signed_headers(scope: &Scope<'_>, list: &str) -> Option<Vec<u8>> {
    let list = std::str::from_utf8(header(scope, list)?).ok()?;
    let mut names: Vec<_> = list
        .split([';', ','])
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    let lines = names.iter().map(|name| {
        let value = header(scope, name).unwrap_or_default().trim_ascii();
        [name.as_bytes(), b":", value].concat()
    });
    Some(lines.collect::<Vec<_>>().join(&b'\n'))
}
