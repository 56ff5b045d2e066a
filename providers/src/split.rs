//! Splitting a verified request into its events: payload, type, delivery id, time, object, connection candidates, and the
//! verdicts that the definition or verification gives at once. In: a request and its proof. Out: events in order, every
//! element among them.

use std::borrow::Cow;
use std::ops::Range;

use tidegate_schemas::{Outcome, PayloadKind, Reason};

use crate::body::{Element, ParsedRequest};
use crate::definition::{Definition, ObjectRule, VersionKind};
use crate::event::{Dropped, Object, Payload, Place, RawEvent, Version};
use crate::json::Json;
use crate::mask::{Mask, Masks};
use crate::pick::Scope;
use crate::reply::Awaiting;
use crate::selector::Selector;
use crate::verdict::{Refusal, Verified};

/// The events of a verified request.
pub(crate) fn split<'r>(
    definition: &'r Definition,
    request: &'r ParsedRequest<'r>,
    verified: &Verified,
) -> Result<Vec<RawEvent<'r>>, Refusal> {
    let elements = request.elements().map_err(Clone::clone)?;
    let nested = request.nested_bytes();
    let is_mapped = definition
        .event
        .payload
        .as_ref()
        .is_some_and(|selector| !selector.maps.is_empty());
    let masks = if nested.is_some() || is_mapped {
        Masks::find(definition, request)
    } else {
        Masks::default()
    };
    let handshake = crate::handshake::find(definition, request, Awaiting::default()).is_some();
    let splitting = Splitting {
        definition,
        request,
        nested: nested.map(|bytes| Nested {
            bytes,
            masks: masks.nested.clone(),
        }),
        masks,
    };
    let scope = Scope {
        claims: verified.has_claims(),
        ..Scope::of(request)
    };
    let mut rejected = verified.rejected().iter().peekable();
    let mut events = Vec::with_capacity(elements.len());
    for (position, element) in (0..).zip(elements) {
        let mut event = splitting.event(
            position,
            Scope {
                element: Some(*element),
                ..scope
            },
        );
        if let Some((_, refusal)) = rejected.next_if(|(at, _)| *at == position) {
            event.dropped = Some(Dropped {
                outcome: Outcome::Rejected,
                reason: refusal.reason,
                detail: refusal.detail.clone(),
            });
        } else if handshake {
            event.dropped = Some(filtered(
                Reason::Handshake,
                "a handshake, which is answered and not handed on",
            ));
        }
        events.push(event);
        request.forget(*element);
    }
    Ok(events)
}

fn filtered(reason: Reason, detail: &'static str) -> Dropped {
    Dropped {
        outcome: Outcome::Filtered,
        reason,
        detail: Cow::Borrowed(detail),
    }
}

struct Splitting<'r> {
    definition: &'r Definition,
    request: &'r ParsedRequest<'r>,
    nested: Option<Nested<'r>>,
    /// What is masked in the body; found only where a payload is no span of it.
    masks: Masks,
}

/// A document that stands in no span of the body.
struct Nested<'r> {
    bytes: &'r [u8],
    masks: Vec<Mask>,
}

impl<'r> Splitting<'r> {
    fn event(&self, position: u32, scope: Scope<'r>) -> RawEvent<'r> {
        let definition = self.definition;
        let rules = &definition.event;
        let span = scope
            .element
            .and_then(|element| self.payload_span(element, &scope));
        let payload = self.payload(span.clone(), &scope);
        let dropped = rules.drop.as_ref().is_some_and(|drop| drop.holds(&scope));
        RawEvent {
            position,
            payload,
            event_type: rules
                .event_type
                .pick_str(&scope)
                .unwrap_or(Cow::Borrowed(&definition.name)),
            delivery_id: rules.id.pick_str(&scope),
            time: rules.time.as_ref().and_then(|(value, formats)| {
                let text = value.pick(&scope)?;
                formats.iter().find_map(|format| format.read(&text))
            }),
            object: self.object(span, &scope),
            identifiers: definition.identifiers(&scope),
            dropped: dropped.then(|| filtered(Reason::DropCondition, "the definition's `drop` holds")),
        }
    }

    /// The span of the payload in the document, when it is a part of one.
    fn payload_span(&self, element: Element, scope: &Scope<'r>) -> Option<Range<usize>> {
        let rules = &self.definition.event;
        let whole = rules.each.paths.is_empty() || element.span == self.request.document().map(Json::root);
        match &rules.payload {
            Some(selector) => selector.source.json(scope).map(|(_, at)| at.range()),
            None if whole && self.nested.is_none() => None,
            None => element.span.map(crate::json::Span::range),
        }
    }

    fn payload(&self, span: Option<Range<usize>>, scope: &Scope<'r>) -> Payload<'r> {
        let mapped = self
            .definition
            .event
            .payload
            .as_ref()
            .filter(|selector| !selector.maps.is_empty());
        if let Some((selector, text)) = mapped.and_then(|selector| Some((selector, selector.pick(scope)?))) {
            let place = Place::Own(self.masked(selector, text, scope));
            return Payload {
                kind: PayloadKind::Json,
                place,
            };
        }
        match (span, &self.nested) {
            (Some(span), None) => Payload {
                kind: PayloadKind::Json,
                place: Place::Span(span),
            },
            (Some(span), Some(nested)) => Payload {
                kind: PayloadKind::Json,
                place: Place::Own(nested.masked(span)),
            },
            (None, _) => Payload {
                kind: self.request.payload_kind(),
                place: Place::Span(0..self.request.raw.body.len()),
            },
        }
    }

    /// A mapped payload: all of it, or nothing where any of what it was made of is masked.
    fn masked(&self, selector: &Selector, text: Cow<'r, [u8]>, scope: &Scope<'r>) -> Cow<'r, [u8]> {
        let places = selector.place(scope);
        let is_touched = places.iter().any(|place| self.masks.touches(place));
        if !is_touched {
            return text;
        }
        let mut hidden = text.into_owned();
        Mask {
            range: 0..hidden.len(),
            quoted: true,
        }
        .apply(&mut hidden);
        Cow::Owned(hidden)
    }

    fn object(&self, payload: Option<Range<usize>>, scope: &Scope<'r>) -> Option<Object<'r>> {
        let mut rules = self.definition.objects.iter().enumerate();
        let (place, rule, key) =
            rules.find_map(|(place, rule)| Some((place, rule, rule.key.pick_str(scope)?)))?;
        let content = rule
            .content
            .as_ref()
            .and_then(|selector| selector.source.json(scope));
        let content = content
            .map(|(_, at)| at.range())
            .and_then(|range| match &self.nested {
                None => Some(range),
                Some(_) => {
                    let start = payload.map_or(0, |payload| payload.start);
                    Some(range.start.checked_sub(start)?..range.end.checked_sub(start)?)
                }
            });
        Some(Object {
            key,
            version: version(rule, scope),
            content,
            deleted: rule.deleted.as_ref().is_some_and(|deleted| deleted.holds(scope)),
            rule: place,
        })
    }
}

impl<'r> Nested<'r> {
    /// A part of the nested document, masked.
    fn masked(&self, span: Range<usize>) -> Cow<'r, [u8]> {
        let part = self.bytes.get(span.clone()).unwrap_or_default();
        let inside = |mask: &&Mask| span.start <= mask.range.start && mask.range.end <= span.end;
        let mut masks = self.masks.iter().filter(inside).peekable();
        if masks.peek().is_none() {
            return Cow::Borrowed(part);
        }
        let mut own = part.to_vec();
        for mask in masks {
            let range = mask.range.start - span.start..mask.range.end - span.start;
            Mask {
                range,
                quoted: mask.quoted,
            }
            .apply(&mut own);
        }
        Cow::Owned(own)
    }
}

fn version<'r>(rule: &'r ObjectRule, scope: &Scope<'r>) -> Option<Version<'r>> {
    let (value, kind) = rule.version.as_ref()?;
    let text = value.pick_str(scope)?;
    let rank = match kind {
        VersionKind::Opaque => None,
        VersionKind::Integer => Some(text.trim().parse().ok()?),
        VersionKind::Decimal => Some(decimal_rank(text.trim().parse().ok()?)?),
        VersionKind::Time(format) => Some(i64::try_from(format.read(text.as_bytes())?.0).ok()?),
    };
    Some(Version { text, rank })
}

/// The bits of a number in the order of the numbers.
fn decimal_rank(number: f64) -> Option<i64> {
    if !number.is_finite() {
        return None;
    }
    let bits = (number + 0.0).to_bits().cast_signed();
    Some(if bits < 0 { bits ^ i64::MAX } else { bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_rank_as_they_compare() {
        let numbers = [
            -1e300,
            -2.5,
            -1.0,
            -0.0,
            0.5,
            1.0,
            1_700_000_000.000_1,
            1_700_000_000.000_2,
            1e300,
        ];
        let ranks: Vec<_> = numbers.into_iter().map(decimal_rank).collect();
        assert!(
            ranks.is_sorted() && ranks.iter().all(Option::is_some),
            "{ranks:?}"
        );
        assert_eq!(decimal_rank(-0.0), decimal_rank(0.0));
        assert_eq!(decimal_rank(f64::NAN), None);
    }
}
