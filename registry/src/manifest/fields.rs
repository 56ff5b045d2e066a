//! Taking a YAML map apart: each field once, in its type, and nothing left over.
//! In: nodes. Out: values; what is wrong is collected with its line, so that one run names all of it.

use std::time::Duration;

use tidegate_schemas::UnixMillis;

use super::suggest::suggestion;
use super::yaml::{Kind, Node, Wrong, is_null};

/// Gives the value of an environment variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is read with, and what was wrong so far.
pub(super) struct Reading<'a> {
    pub(super) lookup: Lookup<'a>,
    pub(super) wrongs: Vec<Wrong>,
}

/// The fields of one map.
pub(super) struct Fields {
    pub(super) line: usize,
    entries: Vec<(String, Node)>,
    known: Vec<&'static str>,
}

impl Reading<'_> {
    pub(super) fn wrong(&mut self, line: usize, problem: impl Into<String>) {
        self.wrongs.push((line, problem.into()));
    }

    /// The fields of a map; `what` names it in errors.
    pub(super) fn fields(&mut self, node: Node, what: &str) -> Fields {
        let line = node.line;
        let entries = self.map(node, what);
        Fields {
            line,
            entries,
            known: Vec::new(),
        }
    }

    /// The entries of a map; nothing written is an empty one.
    pub(super) fn map(&mut self, node: Node, what: &str) -> Vec<(String, Node)> {
        let described = node.describe();
        match node.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar { text, quoted: false } if is_null(&text) => Vec::new(),
            _ => {
                self.wrong(
                    node.line,
                    format!("{what} must be a map (`name: value` lines), here is {described}"),
                );
                Vec::new()
            }
        }
    }

    /// A text with its variables filled in.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let Kind::Scalar { text, .. } = &node.kind else {
            self.wrong(
                node.line,
                format!("`{what}` must be a single value, here is {}", node.describe()),
            );
            return None;
        };
        if node.is_null() {
            self.wrong(
                node.line,
                format!("`{what}` has no value: give one, or leave the line out"),
            );
            return None;
        }
        match fill(text, self.lookup) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.wrong(node.line, problem);
                None
            }
        }
    }

    /// A list of texts, or one text alone.
    pub(super) fn texts(&mut self, node: Node, what: &str) -> Vec<String> {
        match node.kind {
            Kind::List(nodes) => nodes.iter().filter_map(|node| self.text(node, what)).collect(),
            _ => self.text(&node, what).into_iter().collect(),
        }
    }

    /// One of some words, or a number, or a time: whatever `parse` makes of the text.
    pub(super) fn parsed<T>(
        &mut self,
        node: &Node,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.wrong(node.line, format!("`{what}` is `{text}`: {expected}"));
                None
            }
        }
    }

    /// Any value as JSON.
    pub(super) fn json(&mut self, node: &Node, what: &str) -> serde_json::Value {
        match &node.kind {
            Kind::List(nodes) => nodes.iter().map(|node| self.json(node, what)).collect(),
            Kind::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, node)| (key.clone(), self.json(node, what)));
                serde_json::Value::Object(entries.collect())
            }
            Kind::Scalar { text, quoted: false } if is_null(text) => serde_json::Value::Null,
            Kind::Scalar { quoted, .. } => {
                let text = self.text(node, what).unwrap_or_default();
                let number = || {
                    serde_json::from_str(&text)
                        .ok()
                        .filter(serde_json::Value::is_number)
                };
                match text.as_str() {
                    "true" | "false" if !quoted => serde_json::Value::Bool(text == "true"),
                    _ if !quoted => number().unwrap_or(serde_json::Value::String(text)),
                    _ => serde_json::Value::String(text),
                }
            }
        }
    }

    /// Ends a map: whatever was not taken is unknown.
    pub(super) fn finish(&mut self, fields: Fields, what: &str) {
        for (key, node) in fields.entries {
            let hint = suggestion(&key, fields.known.iter().copied());
            self.wrong(node.line, format!("{what} has no key `{key}`{hint}"));
        }
    }
}

impl Fields {
    /// Takes a field.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Takes a text.
    pub(super) fn text(&mut self, reading: &mut Reading<'_>, key: &'static str) -> Option<String> {
        let node = self.take(key)?;
        reading.text(&node, key)
    }

    /// Takes a value that `parse` reads from its text.
    pub(super) fn parsed<T>(
        &mut self,
        reading: &mut Reading<'_>,
        (key, parse): (&'static str, impl Fn(&str) -> Result<T, String>),
    ) -> Option<T> {
        let node = self.take(key)?;
        reading.parsed(&node, key, parse)
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

pub(super) fn count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("write a whole number, at least 1".into()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis_each = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis_each))
    {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err("write a number and its unit: `500ms`, `20s` or `2m`".into()),
    }
}

pub(super) fn time(text: &str) -> Result<UnixMillis, String> {
    let parsed = text.parse::<jiff::Timestamp>().ok();
    parsed
        .and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .map(UnixMillis)
        .ok_or_else(|| "write a time with its zone, such as 2026-11-30T12:00:00Z".into())
}

/// Fills `${NAME}` in; `$${` stands for `${`.
pub(super) fn fill(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let after = &after[2..];
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            return Err("`${` has no closing brace: write ${NAME}, or $${ for the two characters".into());
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!(
                "`${{{name}}}` names no variable: use letters, digits and `_`, or write $${{ for the text"
            ));
        }
        let Some(value) = lookup(name) else {
            return Err(format!(
                "the variable {name} is not set: export it before applying the file"
            ));
        };
        filled.push_str(&value);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let lookup = |name: &str| (name == "A").then(|| "x${B}".to_owned());
        let check = |text: &str, expected: Result<&str, &str>| match (fill(text, &lookup), expected) {
            (Ok(filled), Ok(expected)) => assert_eq!(filled, expected, "{text}"),
            (Err(problem), Err(expected)) => assert!(problem.contains(expected), "{problem}"),
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        };
        check("plain $5", Ok("plain $5"));
        check("a${A}b${A}", Ok("ax${B}bx${B}"));
        check("$${A}", Ok("${A}"));
        check("${C}", Err("C is not set"));
        check("${A", Err("no closing brace"));
        check("${A-b}", Err("names no variable"));
    }

    #[test]
    fn values_are_read_strictly() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "0s", "s", "-1s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time("1970-01-01T00:00:01Z"), Ok(UnixMillis(1000)));
        assert!(time("2026-01-01").is_err() && time("1969-01-01T00:00:00Z").is_err());
        assert!(count("0").is_err() && boolean("yes").is_err());
    }
}
