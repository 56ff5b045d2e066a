//! A timeline as JSON lines: one for each thing that happened, the last with the sums. In: what happened. Out: JSON.

use serde_json::{Value, json};
use tidegate_processor::Rank;

use super::Event;
use super::sums::Sums;
use super::timeline::{Line, Passed, What};

/// A line of the timeline.
#[must_use]
pub fn line(events: &[Event], line: &Line) -> Value {
    let id = |place: usize| events.get(place).map(|event| event.id);
    let Some(event) = events.get(line.event) else {
        return Value::Null;
    };
    let (_, why) = super::report::in_short(&line.what);
    let mut told = json!({
        "at": line.at,
        "event": event.id,
        "number": line.event + 1,
        "became": word(&line.what),
        "why": why,
        "integration": event.integration_key,
        "connection": event.connection,
        "object_key": event.object_key,
        "event_type": event.event_type,
        "received_at": event.received_at,
    });
    if let Some(waited) = line.waited {
        told["waited_ms"] = json!(millis(waited));
    }
    match &line.what {
        What::Held(window) => told["window"] = json!(id(*window)),
        What::Duplicate(first) => told["lost_to"] = json!(first.and_then(id)),
        What::Stale(Rank::Version(version)) => told["lost_to"] = json!(version),
        What::Stale(Rank::Time(time)) => told["lost_to"] = json!(time),
        What::Unchanged(Some(ended)) | What::HandedOn(Passed::With(ended)) => {
            told["window"] = json!(id(ended.window));
            told["count"] = json!(ended.count);
        }
        What::SetAside(_) | What::Repeat | What::Unchanged(None) | What::HandedOn(Passed::AtOnce(_)) => {}
    }
    told
}

fn word(what: &What) -> &'static str {
    match what {
        What::SetAside(_) => "set_aside",
        What::Repeat => "repeat",
        What::Duplicate(_) => "duplicate",
        What::Stale(_) => "stale",
        What::Held(_) => "held",
        What::Unchanged(_) => "unchanged",
        What::HandedOn(_) => "handed_on",
    }
}

/// What it all came to.
#[must_use]
pub fn sums(policy: &str, sums: &Sums) -> Value {
    let outcomes = sums
        .outcomes()
        .map(|(word, events)| (word.replace(' ', "_"), json!(events)));
    json!({
        "policy": policy,
        "events": sums.events,
        "outcomes": serde_json::Map::from_iter(outcomes),
        "repeats": sums.repeats,
        "set_aside": sums.set_aside,
        "most_set_aside": sums.most_set_aside,
        "longest_turn_ms": millis(sums.longest_turn),
        "windows": sums.windows,
        "largest_window": sums.largest_window,
        "longest_window_ms": millis(sums.longest_window),
        "longest_wait_ms": millis(sums.longest_wait),
    })
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
