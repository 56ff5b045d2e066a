//! Templates: text with `{selector}`, optional ones (`{selector?}`) and segments left out whole (`[…]`). And values: the
//! first template of a list that is present. In: a scope. Out: a text, borrowed where a lone selector yields it.

use std::borrow::Cow;

use crate::condition::Condition;
use crate::map::Text;
use crate::pick::{Scope, into_str};
use crate::selector::{Selector, Source, Terms};

/// A text with selectors in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Pick { selector: Selector, optional: bool },
    Segment(Template),
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str, terms: Terms<'_>) -> Result<Self, String> {
        let mut reader = Reader {
            text,
            rest: text,
            terms,
        };
        let template = reader.pieces(false)?;
        if reader.rest.is_empty() {
            Ok(template)
        } else {
            Err(format!("the template `{text}` has a `]` too many"))
        }
    }

    /// The template that is a selector alone.
    pub fn lone(selector: Selector) -> Self {
        Self(vec![Piece::Pick {
            selector,
            optional: false,
        }])
    }

    /// Collects what the template writes, piece by piece, uncopied; an absent selector is the error.
    pub fn collect<'r>(&'r self, scope: &Scope<'r>, out: &mut Vec<Text<'r>>) -> Result<(), &'r Selector> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push(Cow::Borrowed(text.as_bytes())),
                Piece::Pick { selector, optional } => match selector.pick(scope) {
                    Some(text) => out.push(text),
                    None if *optional || selector.is_whole_body() => {}
                    None => return Err(selector),
                },
                Piece::Segment(inner) => {
                    let length = out.len();
                    if inner.collect(scope, out).is_err() {
                        out.truncate(length);
                    }
                }
            }
        }
        Ok(())
    }

    /// What the template writes; none when it is absent or writes nothing.
    pub fn render<'r>(&'r self, scope: &Scope<'r>) -> Option<Text<'r>> {
        match self.0.as_slice() {
            [Piece::Literal(text)] => return (!text.is_empty()).then_some(Cow::Borrowed(text.as_bytes())),
            [Piece::Pick { selector, .. }] => return selector.pick(scope),
            _ => {}
        }
        let mut written = Written::default();
        self.write(scope, &mut written)?;
        (!written.text.is_empty() || written.pending.is_some()).then(|| Cow::Owned(written.finish()))
    }

    /// Writes on; none when a selector is absent. Of the many alternatives of a value most are absent at their first
    /// selector: until one is there, nothing is allocated.
    fn write<'r>(&'r self, scope: &Scope<'r>, written: &mut Written<'r>) -> Option<()> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => written.literal(text),
                Piece::Pick { selector, optional } => match selector.pick(scope) {
                    Some(text) => written.push(&text),
                    None if *optional || selector.is_whole_body() => {}
                    None => return None,
                },
                Piece::Segment(inner) => {
                    let length = written.flushed();
                    if inner.write(scope, written).is_none() {
                        written.text.truncate(length);
                        written.pending = None;
                    }
                }
            }
        }
        Some(())
    }

    /// What the template writes, as UTF-8.
    pub fn render_str<'r>(&'r self, scope: &Scope<'r>) -> Option<Cow<'r, str>> {
        self.render(scope).and_then(into_str)
    }

    /// Whether it writes the raw body, its hash, or all fields of a form.
    pub fn binds_body(&self) -> bool {
        self.selectors().iter().any(|selector| selector.binds_body())
    }

    /// Every selector in it.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(_) => {}
                Piece::Pick { selector, .. } => found.push(selector),
                Piece::Segment(inner) => found.extend(inner.selectors()),
            }
        }
        found
    }
}

impl Selector {
    /// Whether it is `{body}`, which a template writes even when it is empty.
    fn is_whole_body(&self) -> bool {
        self.source == Source::RawBody && self.maps.is_empty()
    }
}

/// Text that is being written; one literal waits until something follows it.
#[derive(Default)]
struct Written<'r> {
    text: Vec<u8>,
    pending: Option<&'r str>,
}

impl<'r> Written<'r> {
    fn literal(&mut self, text: &'r str) {
        self.flush();
        self.pending = Some(text);
    }

    fn push(&mut self, text: &[u8]) {
        self.flush();
        self.text.extend_from_slice(text);
    }

    fn flush(&mut self) {
        if let Some(text) = self.pending.take() {
            self.text.reserve(text.len() + 32);
            self.text.extend_from_slice(text.as_bytes());
        }
    }

    /// How much is written, with nothing waiting that could be lost when a segment is taken back.
    fn flushed(&mut self) -> usize {
        self.flush();
        self.text.len()
    }

    fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.text
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    terms: Terms<'t>,
}

impl Reader<'_> {
    fn pieces(&mut self, in_segment: bool) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        while let Some(letter) = self.rest.chars().next() {
            let after = self.rest.get(letter.len_utf8()..).unwrap_or_default();
            let doubled = matches!(letter, '{' | '}' | '[' | ']') && after.starts_with(letter);
            if doubled && !(letter == ']' && in_segment) {
                literal.push(letter);
                self.rest = after.get(1..).unwrap_or_default();
                continue;
            }
            match letter {
                '{' | '[' => flush(&mut literal, &mut pieces),
                ']' if in_segment => break,
                '}' | ']' => return Err(format!("the template `{}` has a `{letter}` too many", self.text)),
                _ => {}
            }
            self.rest = after;
            match letter {
                '{' => pieces.push(self.pick()?),
                '[' => {
                    let inner = self.pieces(true)?;
                    let closed = self.rest.strip_prefix(']');
                    self.rest = closed.ok_or_else(|| format!("the template `{}` lacks a `]`", self.text))?;
                    pieces.push(Piece::Segment(inner));
                }
                _ => literal.push(letter),
            }
        }
        flush(&mut literal, &mut pieces);
        Ok(Template(pieces))
    }

    /// Reads a selector up to the brace that closes it; one in quotes does not.
    fn pick(&mut self) -> Result<Piece, String> {
        let mut quoted = false;
        let end = self.rest.char_indices().find(|(_, letter)| {
            quoted ^= *letter == '"';
            *letter == '}' && !quoted
        });
        let (end, _) = end.ok_or_else(|| format!("the template `{}` lacks a `}}`", self.text))?;
        let inside = self.rest.get(..end).unwrap_or_default();
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        let (selector, optional) = match inside.strip_suffix('?') {
            Some(selector) => (selector, true),
            None => (inside, false),
        };
        let selector = Selector::parse(selector, self.terms)?;
        Ok(Piece::Pick { selector, optional })
    }
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal)));
    }
}

/// The first of several templates that is present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Value(pub Vec<Choice>);

/// A template of a value, and when it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub when: Option<Condition>,
    pub template: Template,
}

impl Value {
    /// The value's text; never an empty one.
    pub fn pick<'r>(&'r self, scope: &Scope<'r>) -> Option<Text<'r>> {
        let counting = self
            .0
            .iter()
            .filter(|choice| choice.when.as_ref().is_none_or(|when| when.holds(scope)));
        counting.filter_map(|choice| choice.template.render(scope)).next()
    }

    /// The value as UTF-8.
    pub fn pick_str<'r>(&'r self, scope: &Scope<'r>) -> Option<Cow<'r, str>> {
        self.pick(scope).and_then(into_str)
    }

    /// Every selector of its templates.
    pub fn selectors(&self) -> Vec<&Selector> {
        self.0
            .iter()
            .flat_map(|choice| choice.template.selectors())
            .collect()
    }
}
