//! verify → split → attribute for one request, on whichever thread. In: a request, the registry's tables and the keys
//! at hand. Out: what was found in it, owned. A panic in a step becomes that request's verdict and blocks nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use tidegate_providers::{Catalogue, KeySets, Masks, RawRequest, Unverified};
use tidegate_registry::{Integration, Tables};
use tidegate_schemas::{Headers, Proof, Reason};

use crate::config::Config;
use crate::event::{Event, Events, Examined, Finding, Refused, Whose};
use crate::metrics;
use crate::request::Request;
use crate::steps::Question;
use crate::steps::attribute::attribute;
use crate::steps::split::split;
use crate::steps::verify::{verify, verify_further};

/// What examining a request needs besides it.
pub(crate) struct Context<'a> {
    pub tables: &'a Tables,
    pub catalogue: &'a Catalogue,
    pub keys: &'a dyn KeySets,
    pub config: &'a Config,
}

/// Finds the events of one request of an integration.
pub(crate) type Find = fn(&Request, &Integration, &Context<'_>) -> Finding;

/// Examines one request; `find` is [`find_events`], but in tests that make it panic.
pub(crate) fn examine(request: Request, context: &Context<'_>, find: Find) -> Examined {
    let meta = &request.meta;
    let integration = context
        .tables
        .integration(&meta.environment, &meta.integration)
        .cloned();
    let finding = match (&request.given, &integration) {
        (Some(refused), _) => Finding::Refused(refused.clone()),
        (None, None) => Finding::Refused(Refused::new(
            Reason::IntegrationGone,
            "the integration does not exist any more",
        )),
        (None, Some(integration)) => {
            let found = catch_unwind(AssertUnwindSafe(|| find(&request, integration, context)));
            found.unwrap_or_else(|panic| Finding::Refused(panicked(&*panic)))
        }
    };
    Examined {
        request,
        integration,
        finding,
    }
}

/// verify → split → attribute.
pub(crate) fn find_events(request: &Request, integration: &Integration, context: &Context<'_>) -> Finding {
    let Some(definition) = context.catalogue.get(&integration.provider) else {
        return Finding::Refused(Refused::new(
            Reason::DefinitionMissing,
            format!(
                "no definition of the provider `{}` is loaded",
                integration.provider
            ),
        ));
    };
    let meta = &request.meta;
    let parsed = definition.parse(RawRequest {
        method: &meta.method,
        path: &meta.path,
        query: &meta.query,
        headers: &meta.headers,
        body: &request.body,
        url: &meta.url,
        received_at: meta.received_at,
        cfg: integration.constants(),
    });
    let question = Question {
        request,
        definition: &definition,
        integration,
        parsed: &parsed,
        tables: context.tables,
        limits: context.config,
    };
    match events_of(&question, context.keys) {
        Ok((proof, events)) => {
            let may_leave = events
                .iter()
                .any(|event| !matches!(event.whose, Whose::Refused(_)));
            let masks = if may_leave {
                definition.masks(&parsed)
            } else {
                Masks::default()
            };
            Finding::Events(Events {
                proof,
                body: masked_body(&request.body, &masks),
                headers: masked_headers(&meta.headers, &masks),
                events,
            })
        }
        Err(instead) => instead,
    }
}

/// The events of a request, or what is found instead.
fn events_of(question: &Question<'_>, keys: &dyn KeySets) -> Result<(Proof, Vec<Event>), Finding> {
    let proofs = verify(question, keys).map_err(unverified)?;
    let proof = proofs.first().map_or(Proof::None, |first| first.verified.proof());
    let mut splits = split(question, proofs).map_err(Finding::Refused)?;
    let further = verify_further(question, &splits, keys).map_err(unverified)?;
    splits.extend(split(question, further).map_err(Finding::Refused)?);
    let events = attribute(question, &splits).map_err(Finding::Refused)?;
    Ok((proof, events))
}

fn unverified(unverified: Unverified) -> Finding {
    match unverified {
        Unverified::Undecided(key) => Finding::Undecided(key),
        Unverified::Refused(refusal) => Finding::Refused(Refused::new(refusal.reason, refusal.detail)),
    }
}

/// The verdict on a request that panicked a step.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Refused {
    metrics::count_panic();
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let detail = said.unwrap_or("a step panicked").to_owned();
    tracing::error!(detail, "a request panicked a step and ends as failed");
    Refused::new(Reason::Panicked, detail)
}

fn masked_body(body: &Bytes, masks: &Masks) -> Bytes {
    if masks.body.is_empty() {
        return body.clone();
    }
    let mut masked = body.to_vec();
    masks.apply(&mut masked);
    masked.into()
}

fn masked_headers(headers: &Headers, masks: &Masks) -> Box<RawValue> {
    let json = if masks.headers.is_empty() {
        to_raw_value(headers)
    } else {
        to_raw_value(&masks.headers(headers))
    };
    json.expect("headers are texts")
}
