//! Selectors, read from a definition: `source:path|map|map(argument)`. In: text and what its place in the file allows.
//! Out: a selector, or what is wrong with it. Picking is `pick.rs`.

use std::collections::BTreeSet;

use crate::encoding::Encoding;
use crate::glob::Glob;
use crate::map::Map;
use crate::path::{Path, enclosed};
use crate::signature::hash::Hash;

/// Where a text is picked and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub source: Source,
    pub maps: Vec<Map>,
    /// As written, for refusals.
    pub text: String,
}

/// Where a text is picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Header(Name),
    Headers(Glob),
    Query(Name),
    Form(Name),
    RawBody,
    Body(Path),
    Event(Path),
    Parent(Path),
    Grandparent(Path),
    Claims(Path),
    Cfg(String),
    Part(PartName),
    Method,
    Url,
    UrlPath,
    PathSegment(usize),
    Index,
    Key,
    Entry,
    Secret,
    FormSorted,
    SignedHeaders(String),
    /// The hash of method, path and query; the path below that of this constant's URL.
    QueryStringHash(Option<String>),
    Join(Vec<Selector>),
    Literal(String),
}

/// A name that stands in the file, or is picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Fixed(String),
    Picked(Box<Selector>),
}

/// A part of a signature's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartName {
    Named(String),
    Placed(usize),
}

/// What a place in the file may pick.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allow {
    /// Values of the body.
    pub body: bool,
    /// Elements of `each`, their parents, index and key.
    pub event: bool,
    /// Verified claims.
    pub claims: bool,
    /// Parts of the signature's list, and the secret at hand.
    pub signature: bool,
    /// The map `hmac`.
    pub hmac: bool,
}

/// What a definition's selectors are read against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'c> {
    /// The constants that `[cfg]` declares.
    pub cfg: &'c BTreeSet<String>,
    /// What this place may pick.
    pub allow: Allow,
}

impl<'c> Terms<'c> {
    /// The same terms for a place that may pick something else.
    pub fn allowing(self, allow: Allow) -> Terms<'c> {
        Terms { cfg: self.cfg, allow }
    }
}

impl Selector {
    /// Reads a selector.
    pub fn parse(text: &str, terms: Terms<'_>) -> Result<Self, String> {
        let mut pieces = split_top(text, '|').into_iter();
        let source = Source::parse(pieces.next().unwrap_or_default().trim(), terms)
            .map_err(|problem| format!("the selector `{text}`: {problem}"))?;
        let maps = pieces
            .map(|map| parse_map(map.trim(), terms.allow))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| format!("the selector `{text}`: {problem}"))?;
        let of_object = matches!(maps.first(), Some(Map::Keys | Map::FirstKey(_)));
        let source = if source == Source::RawBody && of_object {
            Source::Body(Path::default())
        } else {
            source
        };
        Ok(Self {
            source,
            maps,
            text: text.to_owned(),
        })
    }

    /// Whether the raw bytes of the body, or all of a form, are in what this picks.
    pub fn binds_body(&self) -> bool {
        match &self.source {
            Source::RawBody | Source::FormSorted => true,
            Source::Join(selectors) => selectors.iter().any(Selector::binds_body),
            _ => false,
        }
    }

    /// Its source, or those that it joins.
    pub fn sources(&self) -> Vec<&Source> {
        match &self.source {
            Source::Join(selectors) => selectors.iter().flat_map(Selector::sources).collect(),
            source => vec![source],
        }
    }

    /// Whether it reads an element of `each`.
    pub fn reads_event(&self) -> bool {
        match &self.source {
            Source::Event(_) | Source::Parent(_) | Source::Grandparent(_) | Source::Index | Source::Key => {
                true
            }
            Source::Join(selectors) => selectors.iter().any(Selector::reads_event),
            _ => false,
        }
    }
}

impl Source {
    /// Whether it is looked for in the JSON document.
    pub fn reads_document(&self) -> bool {
        matches!(
            self,
            Source::Body(_) | Source::Event(_) | Source::Parent(_) | Source::Grandparent(_)
        )
    }

    /// Whether what it picks has a place of its own, so that it can be written over.
    pub fn has_place(&self) -> bool {
        let outside = matches!(
            self,
            Source::Header(_) | Source::Headers(_) | Source::Query(_) | Source::Form(_)
        );
        outside || self.reads_document()
    }

    fn parse(text: &str, terms: Terms<'_>) -> Result<Self, String> {
        if let Some(inside) = text.strip_prefix("join(").and_then(|rest| rest.strip_suffix(')')) {
            let selectors = split_top(inside, ',')
                .into_iter()
                .map(|part| Selector::parse(part.trim(), terms));
            return Ok(Source::Join(selectors.collect::<Result<_, _>>()?));
        }
        if let Some(literal) = text.strip_prefix('\'') {
            let literal = literal.strip_suffix('\'').ok_or("lacks its closing quote")?;
            return Ok(Source::Literal(literal.to_owned()));
        }
        let (word, rest) = match text.split_once(':') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        Self::check_allowed(word, terms.allow)?;
        Self::of(word, rest, terms)
    }

    fn check_allowed(word: &str, allow: Allow) -> Result<(), String> {
        let allowed = match word {
            "event" | "parent" | "grandparent" | "index" | "key" => allow.event,
            "claims" => allow.claims,
            "part" | "entry" | "secret" => allow.signature,
            _ => true,
        };
        if allowed {
            Ok(())
        } else {
            Err(format!("`{word}` cannot be picked in this place"))
        }
    }

    fn of(word: &str, rest: Option<&str>, terms: Terms<'_>) -> Result<Self, String> {
        let path = || Path::parse(rest.unwrap_or_default()).and_then(plain);
        let named = |what: &str| {
            rest.filter(|rest| !rest.is_empty())
                .ok_or(format!("write {what}"))
        };
        Ok(match word {
            "header" => match named("header:NAME")? {
                glob if glob.contains('*') => Source::Headers(Glob::new(&glob.to_ascii_lowercase())),
                name => Source::Header(Name::parse(&name.to_ascii_lowercase(), terms)?),
            },
            "query" => Source::Query(Name::parse(named("query:NAME")?, terms)?),
            "form" => Source::Form(Name::parse(named("form:NAME")?, terms)?),
            "body" if rest.is_none() => Source::RawBody,
            "body" if !terms.allow.body => {
                return Err("only the raw `body` can be picked in this place".into());
            }
            "body" => Source::Body(path()?),
            "event" => Source::Event(path()?),
            "parent" => Source::Parent(path()?),
            "grandparent" => Source::Grandparent(path()?),
            "claims" => Source::Claims(path()?),
            "cfg" => Source::Cfg(declared(named("cfg:NAME")?, terms)?),
            "part" => {
                let name = named("part:NAME or part:0")?;
                Source::Part(
                    name.parse()
                        .map_or_else(|_| PartName::Named(name.to_owned()), PartName::Placed),
                )
            }
            "path" => Source::PathSegment(
                named("path:N")?
                    .parse()
                    .map_err(|_| "write path:N, N a number".to_owned())?,
            ),
            "signed_headers" => Source::SignedHeaders(named("signed_headers:NAME")?.to_ascii_lowercase()),
            "query_string_hash" => {
                Source::QueryStringHash(rest.map(|name| declared(name, terms)).transpose()?)
            }
            _ if rest.is_some() => return Err(format!("there is no source `{word}:…`")),
            "method" => Source::Method,
            "url" => Source::Url,
            "url_path" => Source::UrlPath,
            "index" => Source::Index,
            "key" => Source::Key,
            "entry" => Source::Entry,
            "secret" => Source::Secret,
            "form_sorted" => Source::FormSorted,
            _ => {
                return Err(format!(
                    "there is no source `{word}`; text itself is written 'in quotes'"
                ));
            }
        })
    }
}

fn plain(path: Path) -> Result<Path, String> {
    if path.has_each() {
        Err("`[]` stands only in `each`".into())
    } else {
        Ok(path)
    }
}

fn declared(name: &str, terms: Terms<'_>) -> Result<String, String> {
    if terms.cfg.contains(name) {
        Ok(name.to_owned())
    } else {
        Err(format!("`cfg:{name}` is not declared; add [cfg.{name}]"))
    }
}

impl Name {
    fn parse(text: &str, terms: Terms<'_>) -> Result<Self, String> {
        if !text.starts_with('<') {
            return Ok(Name::Fixed(text.to_owned()));
        }
        let (inside, after) = enclosed(text, '<', '>')?;
        if !after.is_empty() {
            return Err(format!("nothing may follow `<{inside}>`"));
        }
        Ok(Name::Picked(Box::new(Selector::parse(inside, terms)?)))
    }
}

/// Cuts at every `mark` that stands in no quotes and no brackets.
pub(crate) fn split_top(text: &str, mark: char) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut depth, mut quoted) = (0, 0_usize, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '<' => depth += 1,
            ')' | '>' => depth = depth.saturating_sub(1),
            _ if letter == mark && depth == 0 => {
                pieces.push(text.get(start..at).unwrap_or_default());
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(text.get(start..).unwrap_or_default());
    pieces
}

fn parse_map(text: &str, allow: Allow) -> Result<Map, String> {
    if let Some(path) = text.strip_prefix("json:") {
        return Ok(Map::Json(Path::parse(path).and_then(plain)?));
    }
    if let Some(path) = text.strip_prefix("base64_json:") {
        return Ok(Map::Base64Json(Path::parse(path).and_then(plain)?));
    }
    let (name, arguments) = match text.split_once('(') {
        None => (text, Vec::new()),
        Some((name, rest)) => {
            let inside = rest
                .strip_suffix(')')
                .ok_or_else(|| format!("the map `{text}` lacks its `)`"))?;
            let quoted = |part: &str| {
                let inside = part
                    .trim()
                    .strip_prefix('"')
                    .and_then(|part| part.strip_suffix('"'));
                inside
                    .map(str::to_owned)
                    .ok_or_else(|| format!("the map `{text}`: write its arguments in quotes"))
            };
            (
                name,
                split_top(inside, ',')
                    .into_iter()
                    .map(quoted)
                    .collect::<Result<Vec<_>, _>>()?,
            )
        }
    };
    let map = match arguments.as_slice() {
        [] => map_alone(name),
        [one] => map_with_one(name, one),
        [one, two] => map_with_two(name, one, two, allow)?,
        _ => None,
    };
    let globs = || arguments.iter().map(|argument| Glob::new(argument)).collect();
    match map {
        None if name == "first_key" && !arguments.is_empty() => Ok(Map::FirstKey(globs())),
        None => Err(format!(
            "there is no map `{name}` with {} arguments",
            arguments.len()
        )),
        Some(map) => Ok(map),
    }
}

fn map_alone(name: &str) -> Option<Map> {
    Some(match name {
        "lower" => Map::Lower,
        "upper" => Map::Upper,
        "trim" => Map::Trim,
        "first_label" => Map::FirstLabel,
        "last_segment" => Map::LastSegment,
        "origin" => Map::Origin,
        "url_decode" => Map::UrlDecode,
        "json" => Map::Json(Path::default()),
        "base64_json" => Map::Base64Json(Path::default()),
        "base64_decode" => Map::Base64Decode,
        "sha256_hex" => Map::Sha256Hex,
        "sha1_hex" => Map::Sha1Hex,
        "sha256" => Map::Sha256,
        "sha1" => Map::Sha1,
        "sha256_base64" => Map::Sha256Base64,
        "hex" => Map::Hex,
        "base64" => Map::Base64,
        "crc32_decimal" => Map::Crc32Decimal,
        "keys" => Map::Keys,
        "with_port" => Map::WithPort,
        "without_port" => Map::WithoutPort,
        _ => return None,
    })
}

fn map_with_one(name: &str, argument: &str) -> Option<Map> {
    let argument = argument.to_owned();
    Some(match name {
        "before" => Map::Before(argument),
        "after" => Map::After(argument),
        "before_last" => Map::BeforeLast(argument),
        "after_last" => Map::AfterLast(argument),
        "query_param" => Map::QueryParam(argument),
        "strip" => Map::Strip(argument),
        "default" => Map::Default(argument),
        _ => return None,
    })
}

fn map_with_two(name: &str, one: &str, two: &str, allow: Allow) -> Result<Option<Map>, String> {
    Ok(match name {
        "between" => Some(Map::Between(one.to_owned(), two.to_owned())),
        "hmac" if !allow.hmac => return Err("the map `hmac` stands only in replies".into()),
        "hmac" => {
            let hash = Hash::named(one).ok_or_else(|| format!("there is no hash `{one}`"))?;
            let encoding = match two {
                "hex" => Encoding::Hex,
                "base64" => Encoding::Base64,
                "base64url" => Encoding::Base64Url,
                _ => return Err(format!("there is no encoding `{two}`")),
            };
            Some(Map::Hmac(hash, encoding))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_selectors_say_what_is_wrong() {
        let declared = BTreeSet::from(["audience".to_owned()]);
        let check = |text: &str, problem: &str| {
            let terms = Terms {
                cfg: &declared,
                allow: Allow::default(),
            };
            let error = Selector::parse(text, terms).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        };
        check("headers:x", "no source `headers:…`");
        check("header:", "write header:NAME");
        check("constant", "text itself is written 'in quotes'");
        check("body:a", "only the raw `body`");
        check("event:a", "cannot be picked in this place");
        check("header:a|loud", "no map `loud`");
        check("header:a|before(x)", "arguments in quotes");
        check("header:a|before(\"x\"", "lacks its `)`");
        check("cfg:secret_name", "add [cfg.secret_name]");
        check("header:a|hmac(\"sha256\",\"hex\")", "only in replies");
    }

    #[test]
    fn marks_in_quotes_and_brackets_do_not_cut() {
        assert_eq!(
            split_top(r#"a|before("|")|<b|c>"#, '|'),
            ["a", r#"before("|")"#, "<b|c>"]
        );
    }
}
