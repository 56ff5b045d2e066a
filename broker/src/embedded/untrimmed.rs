//! What a log still holds of one topic: what lies above the trims of its partitions.
//! In: a log's folder. Out: how many messages, how large, how old. Reads only and trusts no index, so it can run beside the
//! process that writes the log, or long after it has ended. Where the chain breaks it ends; [`super::inspect()`] says why.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use tidegate_schemas::{Topic, UnixMillis};

use super::damage;
use super::disk::{Disk, OsDisk};
use super::frame::{KEPT, RECORD_HEADER, STANDING, TRIM};
use super::recover::find_segments;
use super::segment::{self, Chain, WalkedFrame};
use crate::error::Error;

/// What lies above the trims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Untrimmed {
    /// How many messages.
    pub messages: u64,
    /// Bytes of their records, headers included.
    pub bytes: u64,
    /// When the oldest of them was appended.
    pub oldest: Option<UnixMillis>,
}

/// What the log in `directory` holds of `topic`.
///
/// # Errors
/// [`Error::Io`], [`Error::Damaged`] when it cannot even be told which log it is.
pub fn untrimmed(directory: &Path, topic: Topic) -> Result<Untrimmed, Error> {
    untrimmed_on(&OsDisk::new(directory), topic)
}

/// As [`untrimmed`], on any disk.
pub fn untrimmed_on(disk: &dyn Disk, topic: Topic) -> Result<Untrimmed, Error> {
    let (found, _) = find_segments(disk)?;
    let Some(mark) = damage::mark_of(&found)? else {
        return Ok(Untrimmed::default());
    };
    let mut partitions: HashMap<u32, Above> = HashMap::new();
    for found in &found {
        let Ok(header) = found.header else { continue };
        let walked = segment::walk(&*found.file, mark, Chain::at(&header), |frame| {
            note(&mut partitions, topic, frame);
        });
        walked.map_err(Error::io(format!("read {}", segment::file_name(found.number))))?;
    }
    let held = partitions.values().flat_map(|partition| partition.held.values());
    Ok(held.fold(Untrimmed::default(), |sum, (bytes, at)| Untrimmed {
        messages: sum.messages + 1,
        bytes: sum.bytes + bytes,
        oldest: Some(sum.oldest.map_or(*at, |oldest| oldest.min(*at))),
    }))
}

/// What is known of one partition: its trim, and the records above it by offset.
#[derive(Default)]
struct Above {
    trimmed: u64,
    held: BTreeMap<u64, (u64, UnixMillis)>,
}

impl Above {
    fn trim(&mut self, start: u64) {
        if start > self.trimmed {
            self.trimmed = start;
            self.held = self.held.split_off(&start);
        }
    }
}

fn note(partitions: &mut HashMap<u32, Above>, topic: Topic, frame: &WalkedFrame<'_>) {
    let of_topic = frame.records.iter().filter(|(record, _)| record.topic == topic);
    for (record, place) in of_topic {
        let partition = partitions.entry(record.partition).or_default();
        match record.flags {
            TRIM => partition.trim(record.offset),
            STANDING => {
                let value = frame.bytes.get(place.start + RECORD_HEADER..place.end);
                let start = value.and_then(|value| value.first_chunk());
                partition.trim(start.map_or(0, |start| u64::from_le_bytes(*start)));
            }
            0 | KEPT if record.offset >= partition.trimmed => {
                let bytes = place.len() as u64;
                partition.held.insert(record.offset, (bytes, record.timestamp));
            }
            _ => {}
        }
    }
}
