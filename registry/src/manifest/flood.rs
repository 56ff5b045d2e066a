//! The `flood:` map of a declarative file, at an integration or a connection.
//! In: nodes. Out: settings; what cannot be read is collected with its line. Says nothing of ranges: the writer does.

use std::time::Duration;

use super::fields::{Fields, Reading, boolean, count, duration};
use super::read::rate_limit;
use super::yaml::{Kind, Node};
use crate::entity::{DebounceSettings, Edge, FloodSettings, Keep};

/// Takes `flood` out of an entity's fields; its settings are laid over `wider`.
pub(super) fn flood(
    fields: &mut Fields,
    reading: &mut Reading<'_>,
    wider: &FloodSettings,
) -> Option<FloodSettings> {
    let node = fields.take("flood")?;
    let line = node.line;
    let mut fields = reading.fields(node, "`flood`");
    let mut settings = rules(&mut fields, reading);
    let mut rate = |name| {
        let node = fields.take(name)?;
        rate_limit((name, node), reading)
    };
    settings.rate = rate("rate");
    settings.integration_rate = rate("integration_rate");
    if let Some(node) = fields.take("types") {
        for (pattern, node) in reading.map(node, "`types`") {
            let what = format!("`{pattern}` in `types`");
            let mut fields = reading.fields(node, &what);
            let of_type = rules(&mut fields, reading);
            reading.finish(fields, &what);
            settings.types.insert(pattern, of_type);
        }
    }
    reading.finish(fields, "`flood`");
    if let Err((field, problem)) = settings.check(wider) {
        reading.wrong(line, format!("`{field}` {problem}"));
    }
    Some(settings)
}

fn rules(fields: &mut Fields, reading: &mut Reading<'_>) -> FloodSettings {
    FloodSettings {
        dedupe: fields.parsed(reading, ("dedupe", boolean)),
        order: fields.parsed(reading, ("order", boolean)),
        debounce: fields
            .take("debounce")
            .map(|node| debounce(node, reading))
            .unwrap_or_default(),
        detect_changes: fields.parsed(reading, ("detect_changes", boolean)),
        ..FloodSettings::default()
    }
}

/// `on`, `off`, or a map of its settings, which switches it on.
fn debounce(node: Node, reading: &mut Reading<'_>) -> DebounceSettings {
    if let Kind::Scalar { .. } = node.kind {
        return DebounceSettings {
            enabled: reading.parsed(&node, "debounce", on_or_off),
            ..DebounceSettings::default()
        };
    }
    let mut fields = reading.fields(node, "`debounce`");
    let settings = DebounceSettings {
        enabled: Some(fields.parsed(reading, ("enabled", boolean)).unwrap_or(true)),
        quiet_ms: fields.parsed(reading, ("quiet", duration)).map(millis),
        max_wait_ms: fields.parsed(reading, ("max_wait", duration)).map(millis),
        edge: fields.parsed(reading, ("edge", edge)),
        keep: fields.parsed(reading, ("keep", keep)),
        max_events: fields.parsed(reading, ("max_events", count)),
        max_bytes: fields.parsed(reading, ("max_bytes", bytes)),
        bypass: fields.take("bypass").map(|node| reading.texts(node, "bypass")),
    };
    reading.finish(fields, "`debounce`");
    settings
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("write on, off, or a map such as `{quiet: 2s, max_wait: 30s}`".into()),
    }
}

fn edge(text: &str) -> Result<Edge, String> {
    match text {
        "trailing" => Ok(Edge::Trailing),
        "leading" => Ok(Edge::Leading),
        "both" => Ok(Edge::Both),
        _ => Err("write trailing, leading or both".into()),
    }
}

fn keep(text: &str) -> Result<Keep, String> {
    match text {
        "latest" => Ok(Keep::Latest),
        "first" => Ok(Keep::First),
        "all" => Ok(Keep::All),
        _ => Err("write latest, first or all".into()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let each = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => 0,
    };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(each))
    {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("write a number of bytes, such as `1048576`, `512KiB` or `1MiB`".into()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
