//! Reading a topic of a log that another process may be writing: every message that the segments still hold, once.
//! In: the log's folder. Out: messages in the order in which they lie there. Opens nothing for writing, waits for nothing,
//! and judges no damage: it ends where the chain of good frames ends.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use tidegate_schemas::Topic;

use super::damage;
use super::disk::OsDisk;
use super::frame::{self, KEPT};
use super::recover::find_segments;
use super::segment::{self, Chain, WalkedFrame};
use crate::error::Error;
use crate::message::Message;

/// Hands every message of `topic` to `take`, also beside the process that writes the log; what is just being written may
/// be missing.
///
/// # Errors
/// [`Error::Io`] when the folder or a segment cannot be read.
pub fn browse(directory: &Path, topic: Topic, mut take: impl FnMut(Message)) -> Result<(), Error> {
    let disk = OsDisk::new(directory);
    let (found, _) = find_segments(&disk)?;
    let Some(mark) = damage::mark_of(&found)? else {
        return Ok(());
    };
    let mut seen = HashSet::new();
    let mut visit = |frame: &WalkedFrame<'_>| {
        for (record, place) in &frame.records {
            let is_message = record.flags == 0 || record.flags == KEPT;
            if record.topic != topic || !is_message || !seen.insert((record.partition, record.offset)) {
                continue;
            }
            let bytes = frame.bytes.get(place.clone()).unwrap_or_default();
            if let Ok(message) = frame::message(&Bytes::copy_from_slice(bytes)) {
                take(message);
            }
        }
    };
    let mut reached = None;
    for (at, found_segment) in found.iter().enumerate() {
        let Ok((_, chain)) = Chain::enter(reached, found_segment.number, found_segment.header) else {
            break;
        };
        let name = segment::file_name(found_segment.number);
        let walked = segment::walk(&*found_segment.file, mark, chain, &mut visit);
        let (end, _) = walked.map_err(Error::io(format!("read {name}")))?;
        let next = found.get(at + 1).and_then(|next| next.header.ok());
        if !end.goes_on(next) {
            break;
        }
        reached = Some((found_segment.number, end));
    }
    Ok(())
}
