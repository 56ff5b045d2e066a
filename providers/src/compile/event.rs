//! `[event]`, `[[identify]]`, `[route]` and `[[object]]`. In: their tables. Out: rules whose selectors may read elements.

use super::REQUEST;
use super::keys::{Keys, Read};
use crate::definition::{EventRules, IdentifyRule, ObjectRule, VersionKind};
use crate::each::Each;
use crate::path::Path;
use crate::selector::{Source, Terms};
use crate::template::Value;
use crate::time::TimeFormat;

pub(super) fn rules(keys: &Keys<'_>, terms: Terms<'_>) -> Read<EventRules> {
    let usual = || vec!["POST".to_owned(), "PUT".to_owned()];
    let Some(keys) = keys.table("event")? else {
        return Ok(EventRules {
            methods: usual(),
            ..EventRules::default()
        });
    };
    let methods: Vec<String> = keys.texts("methods")?.into_iter().map(str::to_owned).collect();
    let formats = keys
        .texts("time_format")?
        .into_iter()
        .map(|text| keys.word_of("time_format", text));
    let formats = formats.collect::<Read<Vec<TimeFormat>>>()?;
    let time = match (keys.value("time", terms)?, formats.is_empty()) {
        (None, true) => None,
        (Some(value), false) => Some((value, formats)),
        (Some(_), true) => return keys.problem("time_format", "a time needs its format: s, ms or iso"),
        (None, false) => return keys.problem("time", "there is a time_format, and no time"),
    };
    let rules = EventRules {
        methods: if methods.is_empty() { usual() } else { methods },
        each: each(&keys)?,
        payload: keys.selector("payload", terms)?,
        event_type: keys.value("type", terms)?.unwrap_or_default(),
        id: keys.value("id", terms)?.unwrap_or_default(),
        time,
        dedupe_by_hash: super::one_of(&keys, "dedupe", ["id", "hash"])? == 1,
        drop: keys.condition("drop", terms)?,
    };
    if rules.payload.is_some() && !rules.each.paths.is_empty() {
        return keys.problem("payload", "with each, the element is the payload; leave this out");
    }
    keys.finish()?;
    Ok(rules)
}

fn each(keys: &Keys<'_>) -> Read<Each> {
    let mut each = Each::default();
    let texts = keys.texts("each")?;
    for (place, text) in texts.iter().enumerate() {
        if *text == "body" && place > 0 && place + 1 == texts.len() {
            each.or_whole = true;
            continue;
        }
        let Some(path) = text.strip_prefix("body:") else {
            return keys.problem(
                "each",
                format!("`{text}` must begin with `body:`; `body` alone can only be the last"),
            );
        };
        match Path::parse(path) {
            Ok(path) if path.has_each() => each.paths.push(path),
            Ok(_) => return keys.problem("each", format!("`{text}` marks no array; write `[]` behind it")),
            Err(problem) => return keys.problem("each", problem),
        }
    }
    Ok(each)
}

pub(super) fn identify(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Vec<IdentifyRule>> {
    let mut rules = Vec::new();
    for keys in keys.tables("identify")? {
        let property = keys.required("property")?;
        let rule = IdentifyRule {
            value: required_value(&keys, "value", terms)?,
            property: property.strip_suffix("[]").unwrap_or(property).to_owned(),
            is_list: property.ends_with("[]"),
            required: keys.flag("required")?,
        };
        if rule.required
            && rule
                .value
                .selectors()
                .iter()
                .any(|selector| selector.reads_event())
        {
            return keys.problem(
                "required",
                "ingest sees no elements: only a value of the whole request can be required",
            );
        }
        keys.finish()?;
        rules.push(rule);
    }
    Ok(rules)
}

fn required_value<'t>(keys: &Keys<'t>, key: &'t str, terms: Terms<'_>) -> Read<Value> {
    match keys.value(key, terms)? {
        Some(value) => Ok(value),
        None => keys.problem(key, "this key is required"),
    }
}

pub(super) fn route(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Option<Value>> {
    let Some(keys) = keys.table("route")? else {
        return Ok(None);
    };
    let value = required_value(&keys, "value", terms.allowing(REQUEST))?;
    let cheap = |source: &Source| {
        matches!(
            source,
            Source::Header(_) | Source::Query(_) | Source::PathSegment(_) | Source::Body(_)
        )
    };
    if !value.selectors().iter().all(|selector| cheap(&selector.source)) {
        return keys.problem("value", "only header, query, path and body can be picked here");
    }
    keys.finish()?;
    Ok(Some(value))
}

pub(super) fn objects(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Vec<ObjectRule>> {
    let mut rules = Vec::new();
    for keys in keys.tables("object")? {
        let content = keys.selector("content", terms)?;
        if content
            .as_ref()
            .is_some_and(|selector| !is_place(&selector.source) || !selector.maps.is_empty())
        {
            return keys.problem("content", "must be a plain value of the body or the event");
        }
        let ignore = keys.texts("ignore")?.into_iter().map(Path::parse);
        let ignore = match ignore.collect::<Result<Vec<Path>, String>>() {
            Ok(ignore) => ignore,
            Err(problem) => return keys.problem("ignore", problem),
        };
        rules.push(ObjectRule {
            key: required_value(&keys, "key", terms)?,
            version: version(&keys, terms)?,
            content,
            ignore,
            deleted: keys.condition("deleted", terms)?,
        });
        keys.finish()?;
    }
    Ok(rules)
}

fn is_place(source: &Source) -> bool {
    matches!(
        source,
        Source::RawBody | Source::Body(_) | Source::Event(_) | Source::Parent(_)
    )
}

fn version(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Option<(Value, VersionKind)>> {
    let value = keys.value("version", terms)?;
    let format: Option<TimeFormat> = keys.word("version_format")?;
    let kind = match (keys.text("version_kind")?, format) {
        (None, None) => None,
        (Some("time"), format) => Some(VersionKind::Time(format.unwrap_or(TimeFormat::Iso))),
        (Some("integer"), None) => Some(VersionKind::Integer),
        (Some("decimal"), None) => Some(VersionKind::Decimal),
        (Some("opaque"), None) => Some(VersionKind::Opaque),
        (_, Some(_)) => {
            return keys.problem("version_format", "only a version of the kind time has a format");
        }
        (Some(_), None) => return keys.problem("version_kind", "write integer, decimal, time or opaque"),
    };
    match (value, kind) {
        (None, None) => Ok(None),
        (Some(value), Some(kind)) => Ok(Some((value, kind))),
        (Some(_), None) => keys.problem(
            "version_kind",
            "a version needs its kind: integer, decimal, time or opaque",
        ),
        (None, Some(_)) => keys.problem("version", "there is a version_kind, and no version"),
    }
}
