//! Ingest as its senders see it: a real one over a real embedded log, spoken to over TCP. In: requests good, bad, slow
//! and many. Out: what they were answered, and what lies in `requests`. Says nothing of what the processor decides.

mod checks;
mod connections;
mod drain;
mod handshakes;
mod house;
mod kept;
mod limits;
mod urls;
mod wire;
