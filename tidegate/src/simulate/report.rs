//! A timeline in words. In: what happened under one policy, or under two. Out: text for a person. Counts nothing itself.

use std::fmt;
use std::fmt::Write as _;

use tidegate_processor::Rank;
use tidegate_schemas::UnixMillis;

use super::Event;
use super::sums::Sums;
use super::timeline::{Ended, Line, Passed, Timeline, What, in_words};

/// How wide the column of what an event is about may get, in characters.
const SUBJECT_WIDTH_MAX: usize = 64;

/// The first `lines_max` lines of a timeline.
///
/// # Errors
/// What is written to cannot be written to.
pub fn timeline(
    out: &mut impl fmt::Write,
    (events, timeline): (&[Event], &Timeline),
    lines_max: usize,
) -> fmt::Result {
    let shown = timeline.lines.get(..lines_max).unwrap_or(&timeline.lines);
    let Some(began) = events.first().map(|event| event.received_at) else {
        return Ok(());
    };
    let subject = |line: &Line| events.get(line.event).map(about).unwrap_or_default();
    let widths = shown.iter().map(|line| subject(line).chars().count());
    let width = widths.max().unwrap_or_default().min(SUBJECT_WIDTH_MAX);
    if !shown.is_empty() {
        writeln!(
            out,
            "{:>10}  {:<7}{:<11}{:<width$}  why",
            "seconds", "event", "it is", "of"
        )?;
    }
    for line in shown {
        let seconds = line.at.since(began).as_secs_f64();
        let number = format!("#{}", line.event + 1);
        let (word, mut why) = in_short(&line.what);
        if let Some(waited) = line.waited {
            write!(why, "; it had waited {} for its turn", in_words(waited))?;
        }
        writeln!(
            out,
            "{seconds:>10.3}  {number:<7}{word:<11}{:<width$}  {why}",
            subject(line)
        )?;
    }
    let left = timeline.lines.len() - shown.len();
    if left > 0 && lines_max > 0 {
        writeln!(
            out,
            "… {left} more lines: --lines {} shows all",
            timeline.lines.len()
        )?;
    }
    if !shown.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

/// What an event is about: connection, object, type.
fn about(event: &Event) -> String {
    let mut text = String::new();
    for part in [event.connection.as_deref(), event.object_key.as_deref()] {
        write!(text, "{} · ", part.unwrap_or("-")).expect("a text takes more text");
    }
    text.push_str(&event.event_type);
    text
}

/// What happened in a word, and why.
#[must_use]
pub fn in_short(what: &What) -> (&'static str, String) {
    match what {
        What::SetAside(why) => ("set aside", why.clone()),
        What::Repeat => ("repeat", "the same event was decided before".to_owned()),
        What::Duplicate(Some(first)) => ("duplicate", format!("the delivery of #{} again", first + 1)),
        What::Duplicate(None) => ("duplicate", "its delivery id came before".to_owned()),
        What::Stale(Rank::Version(newest)) => ("stale", format!("version {newest} came before")),
        What::Stale(Rank::Time(newest)) => ("stale", format!("one of the time {} came before", newest.0)),
        What::Held(window) => ("held", format!("window #{}", window + 1)),
        What::Unchanged(None) => ("unchanged", "its object is as it was".to_owned()),
        What::Unchanged(Some(ended)) => ("unchanged", format!("its object is as it was; {}", end(ended))),
        What::HandedOn(Passed::AtOnce(why)) => ("handed on", why.clone()),
        What::HandedOn(Passed::With(ended)) => ("handed on", end(ended)),
    }
}

fn end(ended: &Ended) -> String {
    let Ended { window, count, why } = ended;
    let events = if *count == 1 { "event" } else { "events" };
    format!("for {count} {events}, window #{}: {why}", window + 1)
}

/// What it all comes to, under the policy and under the one it is held against.
///
/// # Errors
/// What is written to cannot be written to.
pub fn sums(
    out: &mut impl fmt::Write,
    (name, sums): (&str, &Sums),
    against: Option<(&str, &Sums)>,
) -> fmt::Result {
    writeln!(out, "policy   {}", in_a_line(name))?;
    if let Some((name, _)) = against {
        writeln!(out, "against  {}", in_a_line(name))?;
    }
    writeln!(out)?;
    write!(out, "{:<12}{:>10}{:>9}", "", "policy", "")?;
    if against.is_some() {
        write!(out, "{:>12}{:>9}", "against", "")?;
    }
    writeln!(out)?;
    let others = against.map(|(_, sums)| sums.outcomes());
    for (place, (word, events)) in sums.outcomes().into_iter().enumerate() {
        write!(out, "{word:<12}{events:>10}{:>9}", share(events, sums.events))?;
        let other = others.as_ref().and_then(|others| others.get(place));
        if let Some((_, other)) = other {
            write!(out, "{other:>12}{:>9}", share(*other, sums.events))?;
        }
        writeln!(out)?;
    }
    writeln!(out)?;
    windows(out, "", sums)?;
    if let Some((_, other)) = against {
        windows(out, "against: ", other)?;
        writeln!(out, "{}", saved(sums, other))?;
    }
    Ok(())
}

fn in_a_line(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "a share of so many events")]
fn share(events: u64, of: u64) -> String {
    format!("{:.1} %", events as f64 * 100.0 / of.max(1) as f64)
}

fn windows(out: &mut impl fmt::Write, head: &str, sums: &Sums) -> fmt::Result {
    if sums.set_aside > 0 {
        writeln!(
            out,
            "{head}{} events exceeded a rate, at most {} of them waited at a time, and {} at most",
            sums.set_aside,
            sums.most_set_aside,
            in_words(sums.longest_turn)
        )?;
    }
    if sums.windows == 0 {
        let nothing = if sums.set_aside == 0 {
            ": nothing waited"
        } else {
            ""
        };
        return writeln!(out, "{head}no windows{nothing}");
    }
    writeln!(
        out,
        "{head}{} windows, at most {} events in one and {} open; what they handed on had waited {} at most",
        sums.windows,
        sums.largest_window,
        in_words(sums.longest_window),
        in_words(sums.longest_wait)
    )
}

/// Which of the two hands on less.
fn saved(sums: &Sums, other: &Sums) -> String {
    let (fewer, of, whose) = match sums.handed_on.cmp(&other.handed_on) {
        std::cmp::Ordering::Equal => return "both hand on as many".to_owned(),
        std::cmp::Ordering::Less => (
            other.handed_on - sums.handed_on,
            other.handed_on,
            "the policy hands",
        ),
        std::cmp::Ordering::Greater => (
            sums.handed_on - other.handed_on,
            sums.handed_on,
            "the other would hand",
        ),
    };
    format!("{whose} on {fewer} fewer, {} of {of}", share(fewer, of))
}

/// When the events came, in words.
#[must_use]
pub fn span(events: &[Event]) -> String {
    let at = |event: Option<&Event>| event.map_or(UnixMillis(0), |event| event.received_at);
    in_words(at(events.last()).since(at(events.first())))
}
