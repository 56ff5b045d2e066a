//! Reading old messages by pointer: sorted by place, one pass over each partition, no seek where the next one is near.
//! In: pointers in any order. Out: the messages in that order, `None` where one is gone or never was.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_schemas::{Pointer, Topic};

use super::cluster::Cluster;
use super::reader::Reader;
use crate::error::Error;
use crate::message::Message;

/// Messages between two pointers that are read rather than jumped over.
const NEAR: u64 = 500;
/// Messages and bytes taken at a time.
const READ_MAX: (usize, usize) = (1000, 8 * 1024 * 1024);

/// Reads the messages that `pointers` name.
pub async fn read(
    cluster: &Arc<Cluster>,
    topic: Topic,
    pointers: &[Pointer],
) -> Result<Vec<Option<Message>>, Error> {
    let mut wanted: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for pointer in pointers {
        wanted.entry(pointer.partition).or_default().push(pointer.offset);
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let there = cluster.latest(topic).await?;
    let mut found: HashMap<Pointer, Message> = HashMap::with_capacity(pointers.len());
    for (partition, mut offsets) in wanted {
        offsets.sort_unstable();
        offsets.dedup();
        let range = there.get(partition as usize).cloned().unwrap_or(0..0);
        offsets.retain(|offset| range.contains(offset));
        if offsets.is_empty() {
            continue;
        }
        let mut reader = Reader::new(cluster.clone(), (topic, partition), offsets[0]).seeking();
        for message in read_partition(cluster, &mut reader, &offsets).await? {
            found.insert(message.pointer(), message);
        }
    }
    Ok(pointers
        .iter()
        .map(|pointer| found.get(pointer).cloned())
        .collect())
}

/// Reads the messages at `offsets`, which are sorted and lie in the partition.
async fn read_partition(
    cluster: &Arc<Cluster>,
    reader: &mut Reader,
    offsets: &[u64],
) -> Result<Vec<Message>, Error> {
    let (topic, partition) = reader.place();
    let mut found = Vec::with_capacity(offsets.len());
    let mut rest = offsets.iter().copied().peekable();
    while let Some(wanted) = rest.peek().copied() {
        if wanted > reader.position() + NEAR {
            reader.seek(wanted);
        }
        let next = reader.next(READ_MAX.0, READ_MAX.1);
        let Ok(messages) = tokio::time::timeout(cluster.config.question_timeout(), next).await else {
            // What is there comes soon; perhaps all of it was trimmed since the question.
            let there = cluster.latest(topic).await?;
            let start = there.get(partition as usize).map_or(0, |range| range.start);
            while rest.next_if(|offset| *offset < start).is_some() {}
            continue;
        };
        for message in messages? {
            // What was passed over on the way has been trimmed meanwhile.
            while rest.next_if(|offset| *offset < message.offset).is_some() {}
            if rest.next_if_eq(&message.offset).is_some() {
                found.push(message);
            }
        }
    }
    Ok(found)
}
