//! The elements that a request holds: every path of `each` walked, with the objects above each element kept in reach.
//! In: the document. Out: elements in order, at most so many. Without `each` the request is one element.

use crate::glob::Glob;
use crate::json::{Json, Kind, Span};
use crate::path::{Path, Step, fitting};

/// One element of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element {
    /// Where it stands in the document; none when there is no document.
    pub span: Option<Span>,
    /// The object that holds its array.
    pub parent: Option<Span>,
    /// The object above that.
    pub grandparent: Option<Span>,
    /// Its place in its array.
    pub index: u32,
    /// The name that a `*` met on the way.
    pub key: Option<Span>,
}

impl Element {
    /// The one element of a request that is no batch.
    pub fn whole(span: Option<Span>) -> Self {
        Self {
            span,
            parent: None,
            grandparent: None,
            index: 0,
            key: None,
        }
    }
}

/// Where a definition says that elements stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Each {
    /// All of these that are there.
    pub paths: Vec<Path>,
    /// Whether the document is the one element when no array is there.
    pub or_whole: bool,
}

/// Why no elements can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EachError {
    /// No array stands where one should.
    Missing,
    /// There are more than so many.
    TooMany,
}

impl Each {
    /// The elements of a document.
    pub fn elements(&self, json: Option<Json<'_>>, most: usize) -> Result<Vec<Element>, EachError> {
        let root = json.map(Json::root);
        if self.paths.is_empty() {
            return Ok(vec![Element::whole(root)]);
        }
        let Some(json) = json else {
            return Err(EachError::Missing);
        };
        let mut walk = Walk {
            json,
            most,
            found: Vec::new(),
            any_array: false,
        };
        for path in &self.paths {
            walk.go(&path.0, json.root(), Above::default())?;
        }
        match (walk.any_array, self.or_whole) {
            (true, _) => Ok(walk.found),
            (false, true) => Ok(vec![Element::whole(root)]),
            (false, false) => Err(EachError::Missing),
        }
    }
}

struct Walk<'r> {
    json: Json<'r>,
    most: usize,
    found: Vec<Element>,
    any_array: bool,
}

/// What lies above the place that a walk has reached.
#[derive(Clone, Copy, Default)]
struct Above {
    nearest: Option<Span>,
    next: Option<Span>,
    of_element: Option<(Option<Span>, Option<Span>)>,
    index: u32,
    key: Option<Span>,
}

impl Above {
    fn below(self, object: Span) -> Self {
        Self {
            nearest: Some(object),
            next: self.nearest,
            ..self
        }
    }
}

impl Walk<'_> {
    fn go(&mut self, steps: &[Step], at: Span, above: Above) -> Result<(), EachError> {
        let Some((step, rest)) = steps.split_first() else {
            return self.take(at, above);
        };
        match step {
            Step::Each => self.go_each(rest, at, above),
            Step::Glob(glob) => self.go_fitting(glob, rest, (at, above)),
            Step::Name(_) | Step::Index(_) | Step::Dynamic(_) => {
                let one = Path(vec![step.clone()]);
                match one.find(self.json, at) {
                    Some(value) => self.go(rest, value, above.below(at)),
                    None => Ok(()),
                }
            }
        }
    }

    fn go_each(&mut self, rest: &[Step], array: Span, above: Above) -> Result<(), EachError> {
        let room = self.most.saturating_sub(self.found.len()).saturating_add(1);
        let Some(elements) = self.json.elements(array, room) else {
            return Ok(());
        };
        self.any_array = true;
        for (index, element) in (0..).zip(elements) {
            let of_element = Some((above.nearest, above.next));
            self.go(
                rest,
                element,
                Above {
                    index,
                    of_element,
                    ..above
                },
            )?;
        }
        Ok(())
    }

    fn go_fitting(
        &mut self,
        glob: &Glob,
        rest: &[Step],
        (at, above): (Span, Above),
    ) -> Result<(), EachError> {
        for (key, value) in fitting(self.json, at, glob) {
            if self.json.kind(value) == Kind::Array || rest.first() != Some(&Step::Each) {
                self.go(
                    rest,
                    value,
                    Above {
                        key: Some(key),
                        ..above.below(at)
                    },
                )?;
            }
        }
        Ok(())
    }

    fn take(&mut self, at: Span, above: Above) -> Result<(), EachError> {
        if self.found.len() >= self.most {
            return Err(EachError::TooMany);
        }
        let (parent, grandparent) = above.of_element.unwrap_or_default();
        self.found.push(Element {
            span: Some(at),
            parent,
            grandparent,
            index: above.index,
            key: above.key,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn check(text: &str, (paths, or_whole): (&[&str], bool), expected: Result<&[(&str, &str)], EachError>) {
        let document = Document::parse(text.as_bytes(), 128).expect("valid");
        let json = document.over(text.as_bytes());
        let paths = paths
            .iter()
            .map(|path| Path::parse(path).expect("a path"))
            .collect();
        let found = Each { paths, or_whole }.elements(Some(json), 4).map(|elements| {
            let raw =
                |span: Option<Span>| span.map_or("", |at| std::str::from_utf8(json.raw(at)).expect("UTF-8"));
            elements
                .iter()
                .map(|element| (raw(element.span), raw(element.parent)))
                .collect::<Vec<_>>()
        });
        assert_eq!(
            found.as_deref(),
            expected.as_ref().map(|expected| *expected),
            "{paths:?}",
            paths = text
        );
    }

    #[test]
    fn elements_are_found_with_what_holds_them() {
        check("[1,2]", (&["[]"], false), Ok(&[("1", ""), ("2", "")]));
        check(
            r#"{"e":[{"c":["x"]},{"c":[]}]}"#,
            (&["e[].c[]"], false),
            Ok(&[("\"x\"", r#"{"c":["x"]}"#)]),
        );
        check(
            r#"{"e":[{"r":1}]}"#,
            (&["e[].r"], false),
            Ok(&[("1", r#"{"e":[{"r":1}]}"#)]),
        );
        check(
            r#"{"a_events":[1],"x":2}"#,
            (&["*_events[]"], false),
            Ok(&[("1", r#"{"a_events":[1],"x":2}"#)]),
        );
        check(
            r#"{"a":[1],"b":[2]}"#,
            (&["a[]", "b[]"], false),
            Ok(&[("1", r#"{"a":[1],"b":[2]}"#), ("2", r#"{"a":[1],"b":[2]}"#)]),
        );
        check(r#"{"a":1}"#, (&["[]"], true), Ok(&[(r#"{"a":1}"#, "")]));
        check(r#"{"e":[]}"#, (&["e[]"], false), Ok(&[]));
        check(r#"{"f":[]}"#, (&["e[]"], false), Err(EachError::Missing));
        check("[1,2,3,4,5]", (&["[]"], false), Err(EachError::TooMany));
    }
}
