//! Paths into JSON: `a.b[0].c`, `["any name"]`, `*_events`, `<a.b>` for a key that a value names, `[]` for every element.
//! In: text, then a document. Out: the place of a value.

use crate::glob::Glob;
use crate::json::{Json, Kind, Span};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member of this name.
    Name(String),
    /// The members whose names fit; where one is picked, the first.
    Glob(Glob),
    /// The element at this place.
    Index(usize),
    /// The member whose name is found at this path, from where the whole path begins.
    Dynamic(Path),
    /// Every element (only in `each`).
    Each,
}

/// A path, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(pub Vec<Step>);

impl Path {
    /// Reads a path; an empty one is the value itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = match rest.as_bytes().first() {
                Some(b'[') => bracket(rest)?,
                Some(b'<') => {
                    let (inside, after) = enclosed(rest, '<', '>')?;
                    (Step::Dynamic(Path::parse(inside)?), after)
                }
                _ => {
                    let end = rest.find(['.', '[', '<']).unwrap_or(rest.len());
                    let (name, after) = rest.split_at(end);
                    if name.is_empty() {
                        return Err(format!("the path `{text}` has an empty name"));
                    }
                    (named(name), after)
                }
            };
            steps.push(step);
            rest = match after.strip_prefix('.') {
                Some("") => return Err(format!("the path `{text}` ends in a dot")),
                Some(next) => next,
                None if after.is_empty() || after.starts_with(['[', '<']) => after,
                None => return Err(format!("the path `{text}` lacks a dot before `{after}`")),
            };
        }
        Ok(Self(steps))
    }

    /// Whether the path goes through every element of an array.
    pub fn has_each(&self) -> bool {
        self.0.contains(&Step::Each)
    }

    /// The value that the path leads to.
    pub fn find(&self, json: Json<'_>, from: Span) -> Option<Span> {
        self.0.iter().try_fold(from, |at, step| match step {
            Step::Name(name) => json.member(at, name),
            Step::Index(n) => json.element(at, *n),
            Step::Glob(glob) => fitting(json, at, glob).into_iter().next().map(|(_, value)| value),
            Step::Dynamic(path) => {
                let name = json.text(path.find(json, from)?)?;
                json.member(at, std::str::from_utf8(&name).ok()?)
            }
            Step::Each => None,
        })
    }
}

/// The members whose names fit: key and value.
pub(crate) fn fitting(json: Json<'_>, object: Span, glob: &Glob) -> Vec<(Span, Span)> {
    if json.kind(object) != Kind::Object {
        return Vec::new();
    }
    let mut members = json.members(object);
    members.retain(|(key, _)| json.name(*key).is_some_and(|name| glob.fits(name.as_bytes())));
    members
}

fn named(name: &str) -> Step {
    if name.contains('*') {
        Step::Glob(Glob::new(name))
    } else {
        Step::Name(name.to_owned())
    }
}

fn bracket(text: &str) -> Result<(Step, &str), String> {
    if let Some(quoted) = text.strip_prefix("[\"") {
        let (name, after) = quoted
            .split_once("\"]")
            .ok_or_else(|| format!("`{text}` lacks its `\"]`"))?;
        return Ok((Step::Name(name.to_owned()), after));
    }
    let (inside, after) = enclosed(text, '[', ']')?;
    if inside.is_empty() {
        return Ok((Step::Each, after));
    }
    let place = inside
        .parse()
        .map_err(|_| format!("`[{inside}]` is no place; write [0], [] or [\"name\"]"))?;
    Ok((Step::Index(place), after))
}

/// The text inside the bracket that `text` begins with, and what follows; brackets of that kind may nest.
pub(crate) fn enclosed(text: &str, open: char, close: char) -> Result<(&str, &str), String> {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        if letter == open {
            depth += 1;
        } else if letter == close {
            depth -= 1;
            if depth == 0 {
                let inside = text.get(open.len_utf8()..at).unwrap_or_default();
                return Ok((inside, text.get(at + close.len_utf8()..).unwrap_or_default()));
            }
        }
    }
    Err(format!("`{text}` lacks its `{close}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    #[test]
    fn paths_lead_to_values() {
        let text = r#"{"a":{"b":[{"c":1}],"x.y":2},"payload":{"order":{"entity":{"id":"o"}}},"contains":["order"],"my_events":[3]}"#;
        let document = Document::parse(text.as_bytes(), 128).expect("valid");
        let json = document.over(text.as_bytes());
        let check = |path: &str, expected: Option<&str>| {
            let found = Path::parse(path).expect(path).find(json, json.root());
            assert_eq!(
                found
                    .map(|at| String::from_utf8_lossy(json.raw(at)).into_owned())
                    .as_deref(),
                expected,
                "{path}"
            );
        };
        check("a.b[0].c", Some("1"));
        check("a[\"x.y\"]", Some("2"));
        check("payload.<contains[0]>.entity.id", Some("\"o\""));
        check("*_events[0]", Some("3"));
        check("payload.*.entity.id", Some("\"o\""));
        check("a.b.c", None);
        check("a.<missing>", None);
        check("", Some(text));
    }

    #[test]
    fn broken_paths_are_named() {
        for bad in ["a..b", "a.", ".a", "a[x]", "a[", "a<b", "a]b[0]c", "[\"a"] {
            let read = Path::parse(bad);
            assert!(
                read.is_err() || bad == "a]b[0]c" && read.is_err(),
                "{bad}: {read:?}"
            );
        }
    }
}
