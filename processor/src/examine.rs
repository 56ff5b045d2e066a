//! verify → split → attribute for one request, on whichever thread. In: a request, the registry's tables and the keys
//! at hand. Out: what was found in it, owned. A panic in a step becomes that request's verdict and blocks nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use tidegate_providers::{Catalogue, Definition, KeySets, Masks, ParsedRequest, RawRequest, Unverified};
use tidegate_registry::{Integration, Tables};
use tidegate_schemas::{Headers, Outcome, Proof, Reason};

use crate::config::Config;
use crate::event::{Events, Examined, Finding, Refused, Whose};
use crate::metrics;
use crate::request::Request;
use crate::steps::attribute::attribute;
use crate::steps::split::split;
use crate::steps::verify::verify;
use crate::steps::Question;

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
    let integration = context.tables.integration(&meta.environment, &meta.integration).cloned();
    let finding = match (&request.given, &integration) {
        (Some(refused), _) => Finding::Refused(refused.clone()),
        (None, None) => Finding::Refused(Refused::new(
            Outcome::Failed,
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
            Outcome::Failed,
            Reason::DefinitionMissing,
            format!("no definition of the provider `{}` is loaded", integration.provider),
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
        cfg: &integration.cfg,
    });
    let question = Question {
        request,
        definition: &definition,
        integration,
        parsed: &parsed,
        tables: context.tables,
        limits: context.config,
    };
    let proofs = match verify(&question, context.keys) {
        Ok(proofs) => proofs,
        Err(Unverified::Undecided(key)) => return Finding::Undecided(key),
        Err(Unverified::Refused(refusal)) => {
            return Finding::Refused(Refused::by_verifying(refusal.reason, refusal.detail));
        }
    };
    let proof = proofs.first().map_or(Proof::None, |first| first.verified.proof());
    let attributed = split(&question, proofs).and_then(|splits| attribute(&question, &splits));
    match attributed {
        Ok(events) => {
            let may_leave = events.iter().any(|event| !matches!(event.whose, Whose::Refused(_)));
            let masks = if may_leave { definition.masks(&parsed) } else { Masks::default() };
            Finding::Events(Events {
                proof,
                body: masked_body(&request.body, &masks),
                headers: masked_headers(&meta.headers, &masks),
                events,
            })
        }
        Err(refused) => Finding::Refused(refused),
    }
}

/// The verdict on a request that panicked a step.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Refused {
    metrics::count_panic();
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let detail = said.unwrap_or("a step panicked").to_owned();
    tracing::error!(detail, "a request panicked a step and ends as failed");
    Refused::new(Outcome::Failed, Reason::Panicked, detail)
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
