//! The steps of the pipeline, each pure: time, secrets, connections and earlier state are arguments.
//! In: a request with its definition and integration. Out: events with the connections they reach, or a verdict.

pub(crate) mod attribute;
pub(crate) mod debounce;
pub(crate) mod dedupe;
pub(crate) mod detect;
pub(crate) mod order;
pub(crate) mod route;
pub(crate) mod split;
pub(crate) mod verify;

use tidegate_providers::{Definition, ParsedRequest};
use tidegate_registry::{Integration, Tables};

use crate::config::Config;
use crate::request::Request;

/// A request with everything that the steps may ask about it.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub request: &'a Request,
    pub definition: &'a Definition,
    pub integration: &'a Integration,
    pub parsed: &'a ParsedRequest<'a>,
    pub tables: &'a Tables,
    pub limits: &'a Config,
}

impl<'a> Question<'a> {
    /// The connection that the URL names.
    pub fn named(&self) -> Option<&'a str> {
        self.request
            .meta
            .connection
            .as_deref()
            .filter(|name| !name.is_empty())
    }
}
