//! JSON read in place: a validating scanner, and an index of the objects that were asked about. In: bytes. Out: spans of
//! values in these bytes. Builds no tree: a body is scanned once, and an object's members again when it is looked into.
//! Depth is bounded; nothing is allocated per value.

mod canonical;
mod lanes;
mod paths;
mod scan;
mod text;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

pub(crate) use canonical::canonical_hash;
pub use paths::JsonPaths;
pub(crate) use text::unescaped;

use self::scan::Scanner;

/// A value's place, as offsets into the document's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// As a range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Why bytes are no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// Not JSON, from this offset on.
    Syntax(usize),
    /// Nested deeper than is allowed, at this offset.
    Depth(usize),
}

#[derive(Debug, Clone, Copy)]
struct Member {
    key: Span,
    escaped: bool,
    value: Span,
}

#[derive(Debug, Clone, Copy)]
struct Indexed {
    start: u32,
    first: u32,
    end: u32,
}

/// The objects that were looked into, with their members.
#[derive(Debug, Default)]
pub(crate) struct Index {
    objects: Vec<Indexed>,
    members: Vec<Member>,
}

/// A validated document; its bytes stay with the caller.
#[derive(Debug)]
pub(crate) struct Document {
    root: Span,
    index: RefCell<Index>,
}

impl Document {
    /// Validates `bytes` whole, nested at most `depth_max` deep; a root object is indexed on the way.
    pub fn parse(bytes: &[u8], depth_max: u32) -> Result<Self, JsonError> {
        if let Err(error) = std::str::from_utf8(bytes) {
            return Err(JsonError::Syntax(error.valid_up_to()));
        }
        if u32::try_from(bytes.len()).is_err() {
            return Err(JsonError::Syntax(bytes.len()));
        }
        let mut index = Index::default();
        let mut scanner = Scanner::new(bytes, depth_max);
        scanner.skip_space();
        let start = scanner.at();
        if scanner.peek() == Some(b'{') {
            index.objects.reserve(8);
            index.members.reserve(32);
            index.add(&mut scanner)?;
        } else {
            scanner.skip_value(0)?;
        }
        let root = span(start..scanner.at());
        scanner.skip_space();
        match scanner.peek() {
            Some(_) => Err(JsonError::Syntax(scanner.at())),
            None => Ok(Self {
                root,
                index: RefCell::new(index),
            }),
        }
    }

    /// The document beside its bytes.
    pub fn over<'r>(&'r self, bytes: &'r [u8]) -> Json<'r> {
        Json {
            bytes,
            root: self.root,
            index: &self.index,
        }
    }
}

impl Index {
    /// Indexes the object at the scanner's place; yields its entry.
    fn add(&mut self, scanner: &mut Scanner<'_>) -> Result<Indexed, JsonError> {
        let start = offset(scanner.at());
        let first = offset(self.members.len());
        scanner.object(|place| {
            self.members.push(Member {
                key: span(place.key),
                escaped: place.escaped,
                value: span(place.value),
            });
        })?;
        let entry = Indexed {
            start,
            first,
            end: offset(self.members.len()),
        };
        self.objects.push(entry);
        Ok(entry)
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a document is shorter than 4 GiB, checked when it is parsed")
}

pub(crate) fn span(place: Range<usize>) -> Span {
    Span {
        start: offset(place.start),
        end: offset(place.end),
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Null,
    Other,
}

/// A document with its bytes, ready to be asked.
#[derive(Clone, Copy)]
pub(crate) struct Json<'r> {
    bytes: &'r [u8],
    root: Span,
    index: &'r RefCell<Index>,
}

impl<'r> Json<'r> {
    /// The outermost value.
    pub fn root(self) -> Span {
        self.root
    }

    /// The bytes of a value, as they stand.
    pub fn raw(self, at: Span) -> &'r [u8] {
        self.bytes.get(at.range()).unwrap_or_default()
    }

    /// What a value is.
    pub fn kind(self, at: Span) -> Kind {
        match self.raw(at).first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b'n') => Kind::Null,
            _ => Kind::Other,
        }
    }

    /// A value as text: a string's content, a number's or boolean's digits, an object's or array's JSON; `null` is none.
    pub fn text(self, at: Span) -> Option<Cow<'r, [u8]>> {
        let raw = self.raw(at);
        match self.kind(at) {
            Kind::Null => None,
            Kind::Text => unescaped(raw.get(1..raw.len().saturating_sub(1))?),
            Kind::Object | Kind::Array | Kind::Other => Some(Cow::Borrowed(raw)),
        }
    }

    /// The member `name` of an object; of repeated names the last, as other parsers have it.
    pub fn member(self, object: Span, name: &str) -> Option<Span> {
        let entry = self.indexed(object)?;
        let index = self.index.borrow();
        let members = index.members.get(entry.first as usize..entry.end as usize)?;
        // Most names differ in length already: that is told without looking at the bytes.
        let fits = |member: &&Member| {
            let length = (member.key.end - member.key.start) as usize;
            if member.escaped {
                unescaped(self.raw(member.key)).is_some_and(|key| *key == *name.as_bytes())
            } else {
                length == name.len() && self.raw(member.key) == name.as_bytes()
            }
        };
        members.iter().rev().find(fits).map(|member| member.value)
    }

    /// Every member of an object in order: its name's place (inside the quotes) and its value's.
    pub fn members(self, object: Span) -> Vec<(Span, Span)> {
        let Some(index) = self.indexed(object) else {
            return Vec::new();
        };
        let all = self.index.borrow();
        let members = all
            .members
            .get(index.first as usize..index.end as usize)
            .unwrap_or_default();
        members.iter().map(|member| (member.key, member.value)).collect()
    }

    /// A name's text.
    pub fn name(self, key: Span) -> Option<Cow<'r, str>> {
        match unescaped(self.raw(key))? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }

    /// The elements of an array, at most `most` of them; `None` when it is no array.
    pub fn elements(self, array: Span, most: usize) -> Option<Vec<Span>> {
        let mut elements = Vec::new();
        let mut scanner = Scanner::validated(self.bytes.get(..array.end as usize)?);
        scanner.jump(array.start as usize);
        let read = scanner.array(|element| {
            elements.push(span(element));
            elements.len() < most
        });
        (self.kind(array) == Kind::Array && read.is_ok()).then_some(elements)
    }

    /// The `n`th element of an array.
    pub fn element(self, array: Span, n: usize) -> Option<Span> {
        self.elements(array, n.checked_add(1)?)?.get(n).copied()
    }

    /// Forgets the objects inside an element that were indexed last, so that a long bundle costs one element's memory.
    /// What lies outside it stays: it is asked about again for the next element.
    pub fn forget(self, element: Span) {
        let mut index = self.index.borrow_mut();
        while let Some(last) = index.objects.last().copied()
            && (element.start..element.end).contains(&last.start)
        {
            index.objects.pop();
            index.members.truncate(last.first as usize);
        }
    }

    fn indexed(self, object: Span) -> Option<Indexed> {
        if self.kind(object) != Kind::Object {
            return None;
        }
        let mut index = self.index.borrow_mut();
        if let Some(known) = index
            .objects
            .iter()
            .rev()
            .find(|known| known.start == object.start)
        {
            return Some(*known);
        }
        let mut scanner = Scanner::validated(self.bytes.get(..object.end as usize)?);
        scanner.jump(object.start as usize);
        index.add(&mut scanner).ok()
    }
}

#[cfg(test)]
mod tests;
