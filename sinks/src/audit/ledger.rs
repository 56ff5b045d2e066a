//! Which blocks were cut, journalled before they are inserted: each table's block in flight with its token and offset
//! ranges, and the offsets before which everything is inserted. In: blocks about to be inserted. Out: after a restart
//! the very block that may or may not have arrived, so that its repeat is the same.
//!
//! A table has one block in flight: that the next one is announced says that the one before it arrived.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_broker::Broker;
use tidegate_broker::journal::{ChangeError, Changes, Commit, Journal, Tables};
use tidegate_schemas::Topic;

use super::error::Error;
use super::table::Table;

/// Offsets of one partition, from the first to before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OffsetRange {
    pub(crate) partition: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A block that may or may not have arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announced {
    pub(crate) token: String,
    pub(crate) ranges: Vec<OffsetRange>,
}

/// One change of the ledger, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    /// Everything of the table's topic in `partition` before `offset` is inserted.
    Reached { table: u8, partition: u32, offset: u64 },
    /// This block is about to be inserted, and the one before it is.
    Announced { table: u8, block: Announced },
    /// The table's block in flight is inserted.
    Settled { table: u8 },
}

/// What the journal rebuilds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    reached: BTreeMap<(u8, u32), u64>,
    in_flight: BTreeMap<u8, Announced>,
}

impl Positions {
    fn settle(&mut self, table: u8) {
        for range in self
            .in_flight
            .remove(&table)
            .map_or_else(Vec::new, |block| block.ranges)
        {
            self.reach(table, range.partition, range.to);
        }
    }

    fn reach(&mut self, table: u8, partition: u32, offset: u64) {
        let reached = self.reached.entry((table, partition)).or_default();
        *reached = (*reached).max(offset);
    }
}

/// Where an entry stands in a round of slices: the positions first, then the blocks in flight.
fn cursor(table: u8, partition: Option<u32>) -> Vec<u8> {
    let mut cursor = vec![u8::from(partition.is_none()), table];
    cursor.extend(partition.unwrap_or_default().to_be_bytes());
    cursor
}

fn encode(change: &Change) -> Vec<u8> {
    serde_json::to_vec(change).expect("a change has only text keys and whole numbers")
}

impl Tables for Positions {
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        match serde_json::from_slice(change).map_err(|error| ChangeError::new(error.to_string()))? {
            Change::Reached {
                table,
                partition,
                offset,
            } => self.reach(table, partition, offset),
            Change::Settled { table } => self.settle(table),
            Change::Announced { table, block } => {
                if self.in_flight.get(&table) != Some(&block) {
                    self.settle(table);
                    self.in_flight.insert(table, block);
                }
            }
        }
        Ok(())
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let reached = self.reached.iter().map(|(&(table, partition), &offset)| {
            (
                cursor(table, Some(partition)),
                encode(&Change::Reached {
                    table,
                    partition,
                    offset,
                }),
            )
        });
        let in_flight = self.in_flight.iter().map(|(&table, block)| {
            (
                cursor(table, None),
                encode(&Change::Announced {
                    table,
                    block: block.clone(),
                }),
            )
        });
        let written_before = out.len_bytes();
        let mut last: Option<Vec<u8>> = None;
        for (at, change) in reached.chain(in_flight) {
            if after.is_some_and(|after| at.as_slice() <= after) {
                continue;
            }
            if last.is_some() && out.len_bytes() - written_before + change.len() > bytes_max {
                return last;
            }
            out.push(&change);
            last = Some(at);
        }
        None
    }
}

/// The journal of blocks and what it says.
pub(crate) struct Ledger {
    journal: Journal,
    positions: Positions,
    announced: u64,
}

impl Ledger {
    /// Reads the journal and becomes its owner.
    pub(crate) async fn open(broker: &Broker) -> Result<Ledger, Error> {
        let mut positions = Positions::default();
        let (journal, announced) = Journal::open(broker, (Topic::Audit, 0), &mut positions, |_| {}).await?;
        Ok(Ledger {
            journal,
            positions,
            announced,
        })
    }

    /// The offset before which everything of a partition is inserted.
    pub(crate) fn reached(&self, table: Table, partition: u32) -> u64 {
        self.positions
            .reached
            .get(&(table.tag(), partition))
            .copied()
            .unwrap_or_default()
    }

    /// The block that may or may not have arrived.
    pub(crate) fn in_flight(&self, table: Table) -> Option<&Announced> {
        self.positions.in_flight.get(&table.tag())
    }

    /// Journals a block before its first insert.
    pub(crate) async fn announce(&mut self, table: Table, block: Announced) -> Result<(), Error> {
        self.commit(&Change::Announced {
            table: table.tag(),
            block,
        })
        .await
    }

    /// Journals that the table's block in flight has arrived; needed only when no other block follows soon.
    pub(crate) async fn settle(&mut self, table: Table) -> Result<(), Error> {
        match self.in_flight(table) {
            Some(_) => self.commit(&Change::Settled { table: table.tag() }).await,
            None => Ok(()),
        }
    }

    /// Nothing changes here either when the journal refuses it.
    async fn commit(&mut self, change: &Change) -> Result<(), Error> {
        let mut positions = self.positions.clone();
        let mut changes = Changes::new();
        changes.push(&encode(change));
        positions
            .apply(&encode(change))
            .expect("a change just encoded can be applied");
        let input = self.announced + 1;
        self.journal
            .commit(
                Commit {
                    outputs: Vec::new(),
                    changes,
                    input,
                },
                &positions,
            )
            .await?;
        self.announced = input;
        self.positions = positions;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(token: &str, from: u64, to: u64) -> Announced {
        Announced {
            token: token.to_owned(),
            ranges: vec![OffsetRange {
                partition: 3,
                from,
                to,
            }],
        }
    }

    fn apply(positions: &mut Positions, change: &Change) {
        positions.apply(&encode(change)).expect("a change");
    }

    #[test]
    fn the_next_block_says_that_the_one_before_arrived() {
        let table = Table::Events.tag();
        let mut positions = Positions::default();
        apply(
            &mut positions,
            &Change::Announced {
                table,
                block: block("a", 0, 5),
            },
        );
        assert_eq!(
            positions.reached.get(&(table, 3)),
            None,
            "nobody knows yet whether it arrived"
        );
        apply(
            &mut positions,
            &Change::Announced {
                table,
                block: block("a", 0, 5),
            },
        );
        assert_eq!(
            positions.reached.get(&(table, 3)),
            None,
            "a slice names the same block again"
        );
        apply(
            &mut positions,
            &Change::Announced {
                table,
                block: block("b", 5, 9),
            },
        );
        assert_eq!(positions.reached.get(&(table, 3)), Some(&5));
        apply(&mut positions, &Change::Settled { table });
        assert_eq!(
            (positions.reached.get(&(table, 3)), positions.in_flight.len()),
            (Some(&9), 0)
        );
    }
}
