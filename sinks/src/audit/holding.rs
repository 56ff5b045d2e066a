//! The partitions of one table's topic that this process writes: which they are, from where each goes on, and which block
//! is on its way. Embedded it is all of them, and the journal knows; on Kafka a group shares them out, and what the
//! journal says elsewhere stands beside the group's offsets.
//! In: changes of the group, blocks about to be inserted and inserted. Out: where to go on, and a block to be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_broker::{Assignment, Assignments, Broker, Message, Note};
use tokio::sync::Mutex;

use super::block::announce;
use super::error::Error;
use super::ledger::{Announced, Ledger, OffsetRange};
use super::table::Table;

/// The version written today, and the highest that this build reads.
const VERSION: u32 = 1;
/// Bytes of a block's name in a note.
const NAME_BYTES: usize = 16;

/// A block that may or may not have arrived, as whoever goes on finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Of the journal: it is repeated under its token before anything else.
    Announced(Announced),
    /// Of notes: its ranges, and the name of its token.
    Named { ranges: Vec<OffsetRange>, name: String },
}

impl Begun {
    /// Its ranges.
    pub(crate) fn ranges(&self) -> &[OffsetRange] {
        match self {
            Begun::Announced(announced) => &announced.ranges,
            Begun::Named { ranges, .. } => ranges,
        }
    }

    /// The block again, from what was read of its ranges; `None` when that is not what it was.
    pub(crate) fn again(&self, table: Table, messages: &[Message]) -> Option<Announced> {
        match self {
            Begun::Announced(announced) => Some(announced.clone()),
            Begun::Named { ranges, name } => {
                let announced = announce(table, ranges.clone(), messages);
                (name_of(&announced.token) == *name).then_some(announced)
            }
        }
    }
}

/// What stands beside a partition's offset while a block is on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Words {
    v: u32,
    /// The block's name.
    block: String,
    /// The end of its range of this partition, which begins at the offset.
    to: u64,
    /// How many partitions it has.
    of: usize,
}

fn name_of(token: &str) -> String {
    hex::encode(&Sha256::digest(token.as_bytes())[..NAME_BYTES])
}

/// The partitions of one table's topic.
pub(crate) struct Holding {
    table: Table,
    broker: Broker,
    keeper: Keeper,
    /// Those that are ours: everything before the offset is inserted.
    reached: BTreeMap<u32, u64>,
    /// Those that are ours, while nobody has asked yet where they go on.
    gained: BTreeSet<u32>,
    assignments: Assignments,
}

enum Keeper {
    Journal(Arc<Mutex<Ledger>>),
    /// What was last noted of each partition.
    Notes(BTreeMap<u32, (u64, String)>),
}

impl Holding {
    /// Of a table; the ledger is that of the embedded log, and there is none on Kafka.
    ///
    /// # Errors
    /// When the group cannot be joined.
    pub(crate) fn new(
        broker: &Broker,
        table: Table,
        ledger: Option<Arc<Mutex<Ledger>>>,
    ) -> Result<Self, Error> {
        let group = format!("audit-{}", table.topic().label());
        Ok(Self {
            table,
            broker: broker.clone(),
            keeper: ledger.map_or(Keeper::Notes(BTreeMap::new()), Keeper::Journal),
            reached: BTreeMap::new(),
            gained: BTreeSet::new(),
            assignments: broker.noted_assignments(table.topic(), &group)?,
        })
    }

    /// The next change of what is ours, which [`Holding::take`] takes in. Dropping the call loses nothing.
    pub(crate) async fn changed(&mut self) -> Assignment {
        self.assignments.next().await
    }

    /// Takes a change in; a partition that is lost is given up at once, with what was reached.
    pub(crate) async fn take(&mut self, change: Assignment) {
        match change {
            Assignment::Gained(partition) => {
                self.gained.insert(partition);
            }
            Assignment::Lost(partition) => {
                // Its next owner begins behind what has arrived; without the note it repeats some of it.
                match tokio::time::timeout(self.hand_over(), self.leave()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, partition, "what was inserted is not noted"),
                    Err(_) => tracing::debug!(partition, "what was inserted is not noted in time"),
                }
                self.gained.remove(&partition);
                self.reached.remove(&partition);
                if let Keeper::Notes(noted) = &mut self.keeper {
                    noted.remove(&partition);
                }
                self.assignments.released(partition);
            }
        }
    }

    /// How long the block on its way may take to arrive once a partition is lost; as long is left to note it.
    pub(crate) fn hand_over(&self) -> Duration {
        self.assignments.grace() / 2
    }

    /// The offset before which everything of a partition is inserted, if it is ours.
    pub(crate) fn reached(&self, partition: u32) -> Option<u64> {
        self.reached.get(&partition).copied()
    }

    /// Asks where gained partitions go on. Hands back a block that a former owner had begun, if all of it is ours: then
    /// its repeat is exact. What is not whole is cut anew, and the tables' keys make its repeats one.
    ///
    /// # Errors
    /// When Kafka does not answer: the partitions wait.
    pub(crate) async fn resume(&mut self) -> Result<Option<Begun>, Error> {
        if self.gained.is_empty() {
            return Ok(None);
        }
        let gained: Vec<u32> = self.gained.iter().copied().collect();
        let begun = match &mut self.keeper {
            Keeper::Journal(ledger) => {
                let ledger = ledger.lock().await;
                for partition in &gained {
                    self.reached
                        .insert(*partition, ledger.reached(self.table, *partition));
                }
                ledger.in_flight(self.table).cloned().map(Begun::Announced)
            }
            Keeper::Notes(noted) => {
                let notes = self.assignments.notes(&gained).await?;
                let there = self.broker.latest(self.table.topic()).await?;
                for partition in &gained {
                    let first = there.get(*partition as usize).map_or(0, |range| range.start);
                    self.reached.insert(*partition, first);
                }
                for note in &notes {
                    self.reached.insert(note.partition, note.offset);
                    noted.insert(note.partition, (note.offset, note.text.clone()));
                }
                whole_block(&notes)
            }
        };
        self.gained.clear();
        Ok(begun)
    }

    /// Journals a block before its first insert.
    ///
    /// # Errors
    /// When it cannot be journalled, or the partitions are not ours any more: nothing may be inserted.
    pub(crate) async fn announce(&mut self, announced: &Announced) -> Result<(), Error> {
        if let Keeper::Journal(ledger) = &self.keeper {
            return ledger.lock().await.announce(self.table, announced.clone()).await;
        }
        let (block, of) = (name_of(&announced.token), announced.ranges.len());
        let words = announced.ranges.iter().map(|range| {
            let words = Words {
                v: VERSION,
                block: block.clone(),
                to: range.to,
                of,
            };
            let text = serde_json::to_string(&words).expect("words have only text keys");
            (range.partition, (range.from, text))
        });
        let words: BTreeMap<u32, (u64, String)> = words.collect();
        self.note(|partition, reached| {
            let beside = words.get(&partition).cloned();
            beside.unwrap_or((reached, String::new()))
        })
        .await
    }

    /// The block has arrived.
    pub(crate) fn arrived(&mut self, ranges: &[OffsetRange]) {
        for range in ranges {
            if let Some(reached) = self.reached.get_mut(&range.partition) {
                *reached = (*reached).max(range.to);
            }
        }
    }

    /// Journals that nothing is on its way any more; needed only when no other block follows soon.
    ///
    /// # Errors
    /// When it cannot be journalled; it is no loss.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        if let Keeper::Journal(ledger) = &self.keeper {
            return ledger.lock().await.settle(self.table).await;
        }
        self.note(|_, reached| (reached, String::new())).await
    }

    /// Nothing is written any more: notes what has arrived. The journal keeps naming the block in flight, which may not
    /// have.
    ///
    /// # Errors
    /// When it cannot be noted; it is no loss.
    pub(crate) async fn leave(&mut self) -> Result<(), Error> {
        self.note(|_, reached| (reached, String::new())).await
    }

    /// Notes with the group what differs from what is noted.
    async fn note(&mut self, wanted: impl Fn(u32, u64) -> (u64, String)) -> Result<(), Error> {
        let Keeper::Notes(noted) = &mut self.keeper else {
            return Ok(());
        };
        let notes: Vec<Note> = self
            .reached
            .iter()
            .filter_map(|(&partition, &reached)| {
                let (offset, text) = wanted(partition, reached);
                let is_new = noted.get(&partition) != Some(&(offset, text.clone()));
                is_new.then_some(Note {
                    partition,
                    offset,
                    text,
                })
            })
            .collect();
        if notes.is_empty() {
            return Ok(());
        }
        self.assignments.note(&notes).await?;
        let now = notes
            .into_iter()
            .map(|note| (note.partition, (note.offset, note.text)));
        noted.extend(now);
        Ok(())
    }
}

/// The block that all of its partitions' notes name.
fn whole_block(notes: &[Note]) -> Option<Begun> {
    let mut blocks: BTreeMap<String, (usize, Vec<OffsetRange>)> = BTreeMap::new();
    for note in notes {
        let Ok(words) = serde_json::from_str::<Words>(&note.text) else {
            continue;
        };
        if words.v > VERSION {
            continue;
        }
        let (of, ranges) = blocks.entry(words.block).or_default();
        *of = words.of;
        ranges.push(OffsetRange {
            partition: note.partition,
            from: note.offset,
            to: words.to,
        });
    }
    let mut whole = blocks.into_iter().filter(|(_, (of, ranges))| ranges.len() == *of);
    let (name, (_, mut ranges)) = whole.next()?;
    ranges.sort_by_key(|range| range.partition);
    Some(Begun::Named { ranges, name })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_schemas::UnixMillis;

    use super::*;

    fn note(partition: u32, block: &str, of: usize) -> Note {
        let words = Words {
            v: VERSION,
            block: name_of(block),
            to: 9,
            of,
        };
        Note {
            partition,
            offset: 5,
            text: serde_json::to_string(&words).expect("JSON"),
        }
    }

    #[test]
    fn only_a_block_that_is_whole_is_repeated() {
        let check = |notes: &[Note], whole: Option<(&str, &[u32])>| {
            let expected = whole.map(|(block, partitions)| (name_of(block), partitions.to_vec()));
            let found = whole_block(notes).map(|begun| match begun {
                Begun::Named { ranges, name } => (name, ranges.iter().map(|it| it.partition).collect()),
                Begun::Announced(announced) => panic!("no journal is here: {announced:?}"),
            });
            assert_eq!(found, expected, "{notes:?}");
        };
        let settled = Note {
            partition: 7,
            offset: 5,
            text: String::new(),
        };
        check(std::slice::from_ref(&settled), None);
        check(&[note(2, "a", 2), settled, note(1, "a", 2)], Some(("a", &[1, 2])));
        check(&[note(2, "a", 3), note(1, "a", 3)], None);
        check(&[note(2, "a", 2), note(1, "b", 1)], Some(("b", &[1])));
    }

    #[test]
    fn a_block_of_which_something_is_gone_is_not_repeated() {
        let ranges = vec![OffsetRange {
            partition: 0,
            from: 5,
            to: 9,
        }];
        let message = |at| Message {
            topic: Table::Events.topic(),
            partition: 0,
            offset: 5,
            timestamp: UnixMillis(at),
            key: Bytes::new(),
            meta: Bytes::new(),
            value: Bytes::new(),
        };
        let announced = announce(Table::Events, ranges.clone(), &[message(1)]);
        let begun = Begun::Named {
            ranges,
            name: name_of(&announced.token),
        };
        assert_eq!(begun.again(Table::Events, &[message(1)]), Some(announced));
        assert_eq!(begun.again(Table::Events, &[message(2)]), None);
    }

    #[test]
    fn a_note_is_small_whatever_the_block() {
        let words = Words {
            v: VERSION,
            block: name_of(&"requests 1:2-3".repeat(1000)),
            to: u64::MAX,
            of: 100_000,
        };
        assert!(serde_json::to_string(&words).expect("JSON").len() < 128);
    }
}
