//! What floods now, and what flood control does with it: the hottest integrations, connections and objects of the last
//! seconds.
//!
//! A [`question`] asks ClickHouse for [rows](question::Row), through the running server; what is held right now stands in
//! the [`gauges`] of that server's process. Both are put in [`words`] once, for a plain table and for the [`screen`], which
//! keys turn and which is [drawn](draw) again at each refresh. Writes nothing anywhere.

pub mod draw;
pub mod gauges;
pub mod question;
pub mod screen;
pub mod words;

use gauges::Gauges;
use question::Row;

/// What is known at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The hottest, in order.
    pub rows: Vec<Row>,
    /// What is held now.
    pub gauges: Gauges,
}
