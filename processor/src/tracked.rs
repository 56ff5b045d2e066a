//! An event on its way to its one outcome. [`Tracked`] ends by a verdict or is set aside; dropped without either it
//! writes its own row, as `failed: panicked` while a panic unwinds, else as `failed: lost`, which is a bug.
//! In: an event and the ledger of its batch. Out: exactly one row in that ledger, or none while it is set aside.

use std::cell::RefCell;

use tidegate_schemas::{EndpointId, EventId, Outcome, Proof, Reason};

use crate::event::{Event, Events, Examined, Refused};
use crate::metrics;
use crate::outcomes::Rows;
use crate::request::Request;

/// The rows of a batch, to which every tracked event of it reports.
#[derive(Debug)]
pub(crate) struct Ledger {
    rows: RefCell<Rows>,
}

/// What a verdict is about: an event, or a request of which no event is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub request: &'a Request,
    /// The provider's name.
    pub provider: &'a str,
    pub proof: Proof,
    pub event: Option<&'a Event>,
    /// The connection it is about.
    pub connection: Option<&'a str>,
    /// Its id: derived, so that deciding twice yields it twice; else the one under which a window held it, when it is not
    /// what it was.
    pub id: EventId,
}

/// A verdict, as the row says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict<'v> {
    pub outcome: Outcome,
    pub reason: Reason,
    pub detail: &'v str,
    pub endpoints: &'v [EndpointId],
    /// The window that holds it, or from which it was handed on.
    pub window: Option<EventId>,
}

/// An event that must have an outcome.
#[derive(Debug)]
#[must_use = "an event ends by a verdict or is set aside"]
pub(crate) struct Tracked<'a> {
    pub subject: Subject<'a>,
    /// What its row says of a step that let it pass unchecked, if one did.
    pub note: &'static str,
    ledger: &'a Ledger,
    ended: bool,
}

impl Ledger {
    pub fn new(rows: Rows) -> Self {
        Self {
            rows: RefCell::new(rows),
        }
    }

    /// Begins to track a subject.
    pub fn track<'a>(&'a self, subject: Subject<'a>) -> Tracked<'a> {
        Tracked {
            subject,
            note: "",
            ledger: self,
            ended: false,
        }
    }

    /// How many bytes of rows there are.
    pub fn len_bytes(&self) -> usize {
        self.rows.borrow().len_bytes()
    }

    /// The rows; every tracked event has ended.
    pub fn into_rows(self) -> Rows {
        self.rows.into_inner()
    }
}

impl<'a> Subject<'a> {
    /// The request as a whole, or the one event of it that is asked for, of which nothing further is known.
    pub fn whole(examined: &'a Examined) -> Self {
        let request = &examined.request;
        let position = request.asked.position.unwrap_or(0);
        Self {
            request,
            provider: examined.provider(),
            proof: Proof::None,
            event: None,
            connection: None,
            id: EventId::derive(request.meta.id, position, None),
        }
    }

    /// An event as that of one connection, or of nobody.
    pub fn of_event(
        (examined, found, event): (&'a Examined, &'a Events, &'a Event),
        connection: Option<&'a str>,
    ) -> Self {
        Self {
            request: &examined.request,
            provider: examined.provider(),
            proof: found.proof,
            event: Some(event),
            connection,
            id: EventId::derive(examined.request.meta.id, event.position, connection),
        }
    }

    /// The event's place in its request.
    pub fn position(&self) -> u32 {
        match self.event {
            Some(event) => event.position,
            None => self.request.asked.position.unwrap_or(0),
        }
    }

    /// The event that a replay replaces under a new id: the one that had no connection.
    pub fn replay_of(&self) -> Option<EventId> {
        let changed = self.request.asked.replay && self.connection.is_some();
        changed.then(|| EventId::derive(self.request.meta.id, self.position(), None))
    }
}

impl Examined {
    /// The provider's name: the integration's, else the one that stood in the request.
    pub fn provider(&self) -> &str {
        match &self.integration {
            Some(integration) => &integration.provider,
            None => &self.request.meta.provider,
        }
    }
}

impl<'v> From<&'v Refused> for Verdict<'v> {
    fn from(refused: &'v Refused) -> Self {
        Self {
            outcome: refused.outcome,
            reason: refused.reason,
            detail: &refused.detail,
            endpoints: &[],
            window: None,
        }
    }
}

impl Tracked<'_> {
    /// Ends the event with its outcome.
    pub fn end(mut self, verdict: &Verdict<'_>) {
        self.record(verdict);
    }

    /// The same with a note for its row.
    pub fn noting(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// Gives the event up for now: it has been set aside and is read again.
    pub fn set_aside(mut self) {
        self.ended = true;
    }

    /// Gives the event up: the same one has its outcome already, because work was done twice.
    pub fn has_outcome(mut self) {
        self.ended = true;
    }

    fn record(&mut self, verdict: &Verdict<'_>) {
        // First, so that a panic in writing does not write again while it unwinds.
        self.ended = true;
        self.ledger.rows.borrow_mut().push(&self.subject, verdict);
    }
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let reason = if std::thread::panicking() {
            Reason::Panicked
        } else {
            metrics::count_lost();
            Reason::Lost
        };
        self.record(&Verdict {
            outcome: Outcome::Failed,
            reason,
            detail: "",
            endpoints: &[],
            window: None,
        });
    }
}
