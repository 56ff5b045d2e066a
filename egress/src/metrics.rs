//! The crate's metrics. Counts only; bounded labels.

use metrics::describe_counter;

const ADDRESSES_REFUSED: &str = "tidegate_egress_addresses_refused_total";
const CONNECTIONS: &str = "tidegate_egress_connections_total";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(
        ADDRESSES_REFUSED,
        "addresses that a name stood for and that must not be dialled"
    );
    describe_counter!(CONNECTIONS, "connections by outcome: `ok` or the kind of failure");
}

/// An address that a name stood for was refused.
pub(crate) fn address_refused() {
    metrics::counter!(ADDRESSES_REFUSED).increment(1);
}

/// A connection was made (`outcome` is `ok` or the kind of failure).
pub(crate) fn dialled(outcome: &'static str) {
    metrics::counter!(CONNECTIONS, "outcome" => outcome).increment(1);
}
