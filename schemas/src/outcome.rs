//! Verdicts: an event's outcome, a delivery's status, how far a request was proved, whose an event is.
//! Closed sets; their labels are audit columns and metric labels. The reasons stand in `reason.rs`.

use crate::closed_set::closed_set;

closed_set! {
    /// The one verdict on an event.
    Outcome {
        /// Given to one or more deliveries.
        Routed = "routed",
        /// No endpoint is there to take it.
        NoEndpoint = "no_endpoint",
        /// Dropped by the definition's `drop` or by every endpoint's filter.
        Filtered = "filtered",
        /// Absorbed by a debounce window.
        Debounced = "debounced",
        /// Its delivery id was seen before.
        Duplicate = "duplicate",
        /// An older version of its object than one seen before.
        Stale = "stale",
        /// Its object's content is what it was.
        Unchanged = "unchanged",
        /// Not genuine.
        Rejected = "rejected",
        /// Genuine or not, it could not be read.
        Malformed = "malformed",
        /// Could never be decided; can be replayed.
        Failed = "failed",
    }
}

closed_set! {
    /// How far an event was proved genuine.
    Proof {
        /// The raw body is signed.
        Body = "body",
        /// Chosen fields of the body are signed, not its bytes.
        Fields = "fields",
        /// The sender is proved, the body is not.
        Origin = "origin",
        /// A shared token was presented.
        Token = "token",
        /// Nothing was proved.
        None = "none",
    }
}

closed_set! {
    /// Whether an event was attributed to a connection.
    Attribution {
        /// To the connection named beside it.
        Matched = "matched",
        /// To nobody.
        None = "none",
    }
}

closed_set! {
    /// Where a delivery stands after an attempt.
    DeliveryStatus {
        /// The endpoint answered 2xx.
        Delivered = "delivered",
        /// It will be tried again.
        Parked = "parked",
        /// The schedule is exhausted; it lies in the dead letters.
        Dead = "dead",
        /// Its endpoint was deleted or its cancellation was asked for.
        Cancelled = "cancelled",
    }
}
