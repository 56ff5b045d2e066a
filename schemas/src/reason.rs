//! Why: one closed set for refusals at the door, outcomes of events and ends of attempts. A member is a metric label,
//! an audit column and a row in `docs/outcomes.md` at once. Details in words travel beside it.

use crate::Outcome;
use crate::closed_set::closed_set;

closed_set! {
    /// Why something became of a request, an event or an attempt.
    Reason {
        /// Nothing stood in the way.
        Ok = "ok",

        // At the door (ingest's replies; the first two are only counted).
        /// The URL names no environment that exists: 404.
        UnknownEnvironment = "unknown_environment",
        /// The URL names no integration of that environment: 404.
        UnknownIntegration = "unknown_integration",
        /// The URL or method is none that Tidegate serves: 404 or 405.
        UnknownRoute = "unknown_route",
        /// The body is larger than `ingest.body_bytes_max`: 413.
        BodyTooLarge = "body_too_large",
        /// More or larger headers than `ingest.header_count_max` and `ingest.header_bytes_max` allow: 431.
        HeadersTooLarge = "headers_too_large",
        /// The headers did not arrive within `ingest.header_timeout`: 408.
        HeaderTimeout = "header_timeout",
        /// The body did not arrive within `ingest.body_timeout`: 408.
        BodyTimeout = "body_timeout",
        /// The request is not valid HTTP, or broke off: 400.
        BadRequest = "bad_request",
        /// The integration's own rate was exceeded: 429.
        RateLimited = "rate_limited",
        /// More bytes in flight than `ingest.inflight_bytes_max`: 503.
        Overloaded = "overloaded",
        /// The log cannot take more: the disk is full or its budget is reached: 503.
        NoSpace = "no_space",
        /// The process is draining, or not ready yet: 503.
        NotReady = "not_ready",
        /// The integration is switched off: 404.
        IntegrationOff = "integration_off",
        /// A handshake that the definition answers; nothing is decided about it.
        Handshake = "handshake",
        /// The handshake's own condition failed (wrong token or signature): the definition's refusal.
        HandshakeRefused = "handshake_refused",
        /// The definition requires a connection identifier and there is none: 400.
        IdentifierMissing = "identifier_missing",

        // Rejected: not genuine.
        /// No signature (or token) where the definition expects one.
        SignatureMissing = "signature_missing",
        /// The signature's text cannot be read: wrong alphabet, length or parts.
        SignatureMalformed = "signature_malformed",
        /// The signature is not the one that any active secret makes.
        SignatureWrong = "signature_wrong",
        /// The signed time is missing.
        TimestampMissing = "timestamp_missing",
        /// The signed time cannot be read.
        TimestampMalformed = "timestamp_malformed",
        /// The signed time is out of tolerance.
        Expired = "expired",
        /// The token is not any active secret.
        TokenWrong = "token_wrong",
        /// No active secret is configured (none valid when the request was received).
        SecretMissing = "secret_missing",
        /// A secret or key is configured that cannot be used: wrong encoding or kind.
        SecretUnusable = "secret_unusable",
        /// The JWT is malformed.
        JwtMalformed = "jwt_malformed",
        /// The JWT's algorithm is not the definition's.
        JwtAlgorithm = "jwt_algorithm",
        /// A claim of the JWT is missing or not what it must be.
        ClaimWrong = "claim_wrong",
        /// The key set does not hold the key id that signed.
        KeyUnknown = "key_unknown",
        /// The key set could not be fetched within the hour.
        KeyUnavailable = "key_unavailable",
        /// The key's address is outside the definition's host rule.
        KeyAddressRefused = "key_address_refused",
        /// The certificate's chain ends in no root that the definition trusts, or is another's.
        KeyUntrusted = "key_untrusted",
        /// A stronger scheme is configured than the one presented.
        Downgrade = "downgrade",
        /// No connection tells which connection's secret to verify with.
        ConnectionUnknown = "connection_unknown",
        /// A value that must equal the integration's configuration does not.
        OriginWrong = "origin_wrong",

        // Malformed: cannot be read.
        /// The body is not the JSON that the definition expects.
        BodyNotJson = "body_not_json",
        /// The body is not the form that the definition expects.
        BodyNotForm = "body_not_form",
        /// The body nests deeper than the parser's limit.
        BodyTooDeep = "body_too_deep",
        /// The place where the definition expects events holds none.
        EventsMissing = "events_missing",
        /// More events than `events_per_request_max`.
        TooManyEvents = "too_many_events",
        /// More connections match than `connections_per_event_max`.
        TooManyConnections = "too_many_connections",

        // Filtered, no endpoint.
        /// The definition's or the integration's `drop` condition holds.
        DropCondition = "drop_condition",
        /// Endpoints exist, and every one's filter leaves it out.
        EndpointFilter = "endpoint_filter",
        /// The integration does not forward.
        ForwardOff = "forward_off",
        /// The environment has no endpoint for it.
        EndpointMissing = "endpoint_missing",

        // Flood control.
        /// Absorbed by its window.
        Absorbed = "absorbed",
        /// Its delivery id was seen.
        DeliverySeen = "delivery_seen",
        /// A newer version was seen.
        OlderVersion = "older_version",
        /// The content hash is the last one.
        SameContent = "same_content",

        // Failed: could never be decided.
        /// A step panicked on it.
        Panicked = "panicked",
        /// The message's metadata cannot be decoded.
        Undecodable = "undecodable",
        /// Its integration's definition is not loaded.
        DefinitionMissing = "definition_missing",
        /// Its integration is deleted.
        IntegrationGone = "integration_gone",
        /// It was dropped without an outcome: a bug, recorded as such.
        Lost = "lost",
        /// ClickHouse refuses the row.
        RowRefused = "row_refused",
        /// The request that a replay asks for is gone.
        RequestGone = "request_gone",

        // Attempts.
        /// The endpoint answered another status than 2xx.
        Status = "status",
        /// It answered a redirect, which is never followed.
        Redirect = "redirect",
        /// It answered 410: the endpoint is switched off.
        Gone = "gone",
        /// No connection could be made.
        Connect = "connect",
        /// The name could not be resolved.
        Dns = "dns",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The address is one that must not be dialled.
        AddressRefused = "address_refused",
        /// The endpoint's URL cannot be called.
        UrlUnusable = "url_unusable",
        /// No whole answer within the endpoint's timeout.
        Timeout = "timeout",
        /// The connection broke before the answer was whole.
        Broken = "broken",
        /// The breaker is open: it waits without a try.
        BreakerOpen = "breaker_open",
        /// The endpoint is switched off.
        EndpointOff = "endpoint_off",
        /// The endpoint is deleted.
        EndpointDeleted = "endpoint_deleted",
        /// Its cancellation was asked for.
        CancelRequested = "cancel_requested",
        /// The event is older than the whole schedule.
        ScheduleOver = "schedule_over",
        /// The event's message is gone from the topic.
        EventGone = "event_gone",
    }
}

impl Reason {
    /// The outcome that an event has for this reason; `None` for reasons of requests and attempts.
    #[must_use]
    pub const fn outcome(self) -> Option<Outcome> {
        use Reason as R;
        Some(match self {
            R::SignatureMissing | R::SignatureMalformed | R::SignatureWrong | R::TimestampMissing => {
                Outcome::Rejected
            }
            R::TimestampMalformed | R::Expired | R::TokenWrong | R::SecretMissing => Outcome::Rejected,
            R::SecretUnusable | R::JwtMalformed | R::JwtAlgorithm | R::ClaimWrong => Outcome::Rejected,
            R::KeyUnknown | R::KeyUnavailable | R::KeyAddressRefused | R::KeyUntrusted | R::Downgrade => {
                Outcome::Rejected
            }
            R::ConnectionUnknown | R::OriginWrong => Outcome::Rejected,
            R::BodyNotJson | R::BodyNotForm | R::BodyTooDeep | R::EventsMissing => Outcome::Malformed,
            R::TooManyEvents | R::TooManyConnections | R::IdentifierMissing => Outcome::Malformed,
            R::DropCondition | R::EndpointFilter => Outcome::Filtered,
            R::ForwardOff | R::EndpointMissing => Outcome::NoEndpoint,
            R::Absorbed => Outcome::Debounced,
            R::DeliverySeen => Outcome::Duplicate,
            R::OlderVersion => Outcome::Stale,
            R::SameContent => Outcome::Unchanged,
            R::Panicked | R::Undecodable | R::DefinitionMissing | R::IntegrationGone => Outcome::Failed,
            R::Lost | R::RowRefused | R::RequestGone => Outcome::Failed,
            _ => return None,
        })
    }
}
