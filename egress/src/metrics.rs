//! The crate's metrics. Counts only; bounded labels.

/// An address that a name stood for was refused.
pub(crate) fn address_refused() {
    metrics::counter!("tidegate_egress_addresses_refused_total").increment(1);
}

/// A connection was made (`outcome` is `ok` or the kind of failure).
pub(crate) fn dialled(outcome: &'static str) {
    metrics::counter!("tidegate_egress_connections_total", "outcome" => outcome).increment(1);
}
