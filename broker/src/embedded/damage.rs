//! Telling damage from an end: what a bad frame means, and what it costs.
//! In: the segments from the bad frame on. Out: nothing when they were never acknowledged, else the damage.

use std::collections::BTreeMap;

use tidegate_schemas::Topic;

use super::config::Layout;
use super::disk::read_up_to;
use super::frame::{FRAME_HEADER, Mark, RECORDS, STANDING};
use super::partition::Partition;
use super::recover::{ChainEnd, Found};
use super::segment::{self, SEGMENT_HEADER, Window};
use crate::error::{Damage, Error};

/// The mark of a log's frames, from whichever segment still tells it.
pub fn mark_of(found: &[Found]) -> Result<Option<Mark>, Error> {
    if let Some(header) = found.iter().find_map(|found| found.header.ok()) {
        return Ok(Some(header.mark));
    }
    for found in found {
        let failed = || Error::io(format!("read {}", segment::file_name(found.number)));
        let start = read_up_to(&*found.file, SEGMENT_HEADER as u64, FRAME_HEADER).map_err(failed())?;
        let Some(mark) = start.first_chunk::<8>().copied().filter(|mark| *mark != [0; 8]) else {
            continue;
        };
        if Window::new(&*found.file)
            .frame(SEGMENT_HEADER as u64, mark)
            .map_err(failed())?
            .is_ok()
        {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

/// Refuses when anything from the end of the chain on was acknowledged; names the lost offsets where it is told how far
/// each partition got.
pub fn judge<'a>(
    rest: impl Iterator<Item = &'a Found>,
    end: &ChainEnd,
    reached: Option<(&[Partition], &Layout)>,
) -> Result<(), Error> {
    let Some(mark) = end.mark else { return Ok(()) };
    let mut synced = end.chain.synced;
    let mut later = BTreeMap::new();
    for found in rest {
        let here = found.number == end.segment;
        let from = if here {
            end.chain.position
        } else {
            SEGMENT_HEADER as u64
        };
        let searched = segment::search(&*found.file, mark, from, |frame| {
            if frame.header.kind == RECORDS {
                synced = synced.max(frame.header.synced);
            }
            for (record, _) in &frame.records {
                if [0, STANDING].contains(&record.flags) {
                    let first = later
                        .entry((record.topic, record.partition))
                        .or_insert(record.offset);
                    *first = (*first).min(record.offset);
                }
            }
            true
        });
        searched.map_err(Error::io(format!("read {}", segment::file_name(found.number))))?;
    }
    if end.chain.sequence > synced {
        return Ok(());
    }
    let lost = later
        .into_iter()
        .filter_map(|((topic, partition), first): ((Topic, u32), u64)| {
            let (partitions, layout) = reached?;
            let expected = partitions[layout.slot(topic, partition)?].end;
            (first > expected).then_some((topic, partition, expected, first))
        });
    Err(Error::Damaged(Damage {
        segment: end.segment,
        position: end.chain.position,
        sequence: end.chain.sequence,
        synced,
        found: end.found.to_string(),
        offsets: lost.collect(),
    }))
}
