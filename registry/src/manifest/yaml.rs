//! YAML as a tree whose nodes know their line.
//! In: the file's text. Out: maps, lists and texts, or the first line that is no YAML. Leaves out what a declarative
//! file has no use for: anchors, tags, several documents.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// How deep maps and lists may be nested.
const DEPTH_MAX: usize = 32;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Scalar {
        text: String,
        /// Whether it was written in quotes or as a block, and is a text whatever it looks like.
        quoted: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Map(Vec<(String, Node)>),
}

/// What is wrong, and in which line.
pub(super) type Wrong = (usize, String);

/// Reads a file's text; an empty one is an empty map.
pub(super) fn parse(text: &str) -> Result<Node, Wrong> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let line = error.marker().line();
            (line, format!("is no YAML: {}", error.info()))
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Node {
        line: 1,
        kind: Kind::Map(Vec::new()),
    }))
}

impl Node {
    /// What it is, in a word.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { text, quoted: false } if is_null(text) => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// Whether nothing was written.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if is_null(text))
    }
}

pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Puts events together, without recursion.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// A map or list that has begun.
struct Open {
    line: usize,
    /// The key that waits for its value.
    key: Option<(String, usize)>,
    collection: Collection,
}

enum Collection {
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Wrong> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((line, "begins a second document: write one file for each".into()));
                }
            }
            Event::Alias(_) => return Err((line, "is an alias (*name): write the value out".into())),
            Event::Scalar(text, style, _, _) => {
                let quoted = style != ScalarStyle::Plain;
                return self.scalar(text.into_owned(), quoted, line);
            }
            Event::SequenceStart(..) => return self.begin(Collection::List(Vec::new()), line),
            Event::MappingStart(..) => return self.begin(Collection::Map(Vec::new()), line),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn scalar(&mut self, text: String, quoted: bool, line: usize) -> Result<(), Wrong> {
        if let Some(Open {
            key: key @ None,
            collection: Collection::Map(entries),
            ..
        }) = self.open.last_mut()
        {
            if let Some((_, first)) = entries.iter().find(|(name, _)| *name == text) {
                let before = first.line;
                return Err((
                    line,
                    format!("`{text}` is there already (its value is in line {before}): merge the two"),
                ));
            }
            *key = Some((text, line));
            return Ok(());
        }
        self.add(Node {
            line,
            kind: Kind::Scalar { text, quoted },
        });
        Ok(())
    }

    fn begin(&mut self, collection: Collection, line: usize) -> Result<(), Wrong> {
        if matches!(
            self.open.last(),
            Some(Open {
                key: None,
                collection: Collection::Map(_),
                ..
            })
        ) {
            return Err((line, "has a map or list as a key: keys are texts".into()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err((line, format!("is nested deeper than {DEPTH_MAX} levels")));
        }
        self.open.push(Open {
            line,
            key: None,
            collection,
        });
        Ok(())
    }

    fn end(&mut self) {
        if let Some(Open { line, collection, .. }) = self.open.pop() {
            let kind = match collection {
                Collection::List(nodes) => Kind::List(nodes),
                Collection::Map(entries) => Kind::Map(entries),
            };
            self.add(Node { line, kind });
        }
    }

    fn add(&mut self, mut node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open {
                collection: Collection::List(nodes),
                ..
            }) => nodes.push(node),
            Some(Open {
                key,
                collection: Collection::Map(entries),
                ..
            }) => {
                if let Some((key, line)) = key.take() {
                    // An error is looked for where its key stands, also when the value begins a line later.
                    node.line = line;
                    entries.push((key, node));
                }
            }
        }
    }
}
