//! Recovery: what a log holds after any kind of end, by one rule.
//!
//! A sealed segment is known by its index. The others are walked frame by frame. At the first bad frame: if any good
//! frame names a sequence at or above it as synced, what stood there was acknowledged: that is damage, and the start
//! is refused with its place and offsets. Else nothing from there on was ever acknowledged, and it is cut.
//! Every segment that was walked is sealed, so the log always goes on in a fresh one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::config::Layout;
use super::damage;
use super::disk::{Disk, DiskFile, read_up_to};
use super::frame::{Bad, Mark};
use super::partition::Partition;
use super::segment::{self, Chain, SEGMENT_HEADER, Segment, SegmentHeader};
use crate::error::Error;

/// The file that says that the log was closed in good order.
pub const CLEAN: &str = "CLEAN";

/// What was found in a directory.
pub struct Recovered {
    /// The mark of the log's frames; `None` for a new log.
    pub mark: Option<Mark>,
    /// The segments in use, all of them sealed.
    pub segments: BTreeMap<u64, Arc<Segment>>,
    /// By slot.
    pub partitions: Vec<Partition>,
    /// The sequence of the last frame.
    pub sequence: u64,
    /// Its CRC.
    pub last_crc: u32,
    /// Segments written ahead that can be used.
    pub spares: Vec<(u64, Arc<dyn DiskFile>)>,
    /// Bytes of all these segments.
    pub used_bytes: u64,
}

/// A segment's file as it was found.
pub struct Found {
    /// Its number.
    pub number: u64,
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// Its header, or why it has none.
    pub header: Result<SegmentHeader, Bad>,
}

/// The segments' files in order, those written ahead apart.
pub fn find_segments(disk: &dyn Disk) -> Result<(Vec<Found>, Vec<Found>), Error> {
    let names = disk.names().map_err(Error::io("list the log's directory"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.sort_unstable();
    let mut found = Vec::new();
    for number in numbers {
        let name = segment::file_name(number);
        let file = disk.open(&name).map_err(Error::io(format!("open {name}")))?;
        let header = read_up_to(&*file, 0, SEGMENT_HEADER).map_err(Error::io(format!("read {name}")))?;
        found.push(Found {
            number,
            file,
            header: SegmentHeader::decode(&header),
        });
    }
    let used = found
        .iter()
        .rposition(|found| found.header != Err(Bad::Blank))
        .map_or(0, |last| last + 1);
    let spares = found.split_off(used);
    Ok((found, spares))
}

/// Finds out what the directory holds and puts it in order.
pub fn recover(disk: &dyn Disk, layout: &Layout, segment_bytes: u64) -> Result<Recovered, Error> {
    let names = disk.names().map_err(Error::io("list the log's directory"))?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        disk.remove(name)
            .map_err(Error::io(format!("remove the unfinished {name}")))?;
    }
    let clean = names.iter().any(|name| name == CLEAN);
    let (found, spares) = find_segments(disk)?;
    let mut recovery = Recovery::new(disk, layout, damage::mark_of(&found)?);
    for at in 0..found.len() {
        match recovery.take(&found[at], found.get(at + 1))? {
            None => {}
            Some(end) => {
                let reached = Some((&recovery.partitions[..], layout));
                damage::judge(found[at..].iter().chain(&spares), &end, reached)?;
                recovery.cut(&found[at..], &spares, &end)?;
                break;
            }
        }
    }
    recovery.finish(spares, clean, segment_bytes)
}

/// A recovery under way.
pub(super) struct Recovery<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) layout: &'a Layout,
    pub(super) mark: Option<Mark>,
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    pub(super) partitions: Vec<Partition>,
    pub(super) chain: Option<(u64, Chain)>,
    pub(super) walked: Option<Walked>,
    pub(super) bytes: u64,
    pub(super) spares_survive: bool,
}

/// A segment that was walked and is not sealed yet.
pub(super) struct Walked {
    pub(super) segment: Arc<Segment>,
    pub(super) first_sequence: u64,
    pub(super) holds_messages: bool,
}

/// Where the chain ends without a following segment.
pub struct ChainEnd {
    /// The mark of the log's frames, where it is known.
    pub mark: Option<Mark>,
    /// The segment.
    pub segment: u64,
    /// The chain there; its position is 0 when the segment's header is the bad part.
    pub chain: Chain,
    /// What was found there.
    pub found: Bad,
}

impl<'a> Recovery<'a> {
    fn new(disk: &'a dyn Disk, layout: &'a Layout, mark: Option<Mark>) -> Recovery<'a> {
        let partitions = (0..layout.len()).map(|_| Partition::default()).collect();
        let (segments, chain) = (BTreeMap::new(), None);
        Recovery {
            disk,
            layout,
            mark,
            segments,
            partitions,
            chain,
            walked: None,
            bytes: 0,
            spares_survive: true,
        }
    }

    /// Takes one segment in; returns where the chain ends, if it does not go on in `next`.
    fn take(&mut self, found: &Found, next: Option<&Found>) -> Result<Option<ChainEnd>, Error> {
        let (header, start) = match Chain::enter(self.chain, found.number, found.header) {
            Ok(entered) => entered,
            Err(bad) => {
                let chain = Chain::stopped(self.chain);
                return Ok(Some(ChainEnd {
                    mark: self.mark,
                    segment: found.number,
                    chain,
                    found: bad,
                }));
            }
        };
        let sealed = self.take_sealed(found, &header)?;
        if let Some(seal) = sealed {
            let (sequence, previous_crc) = (seal.last_sequence + 1, seal.last_crc);
            let chain = Chain {
                position: seal.used_bytes,
                sequence,
                previous_crc,
                synced: start.synced,
            };
            self.chain = Some((found.number, chain));
            return Ok(None);
        }
        let (chain, bad) = self.walk(found, &header, start)?;
        self.chain = Some((found.number, chain));
        if chain.goes_on(next.and_then(|next| next.header.ok())) {
            self.seal_walked(chain)?;
            return Ok(None);
        }
        Ok(Some(ChainEnd {
            mark: self.mark,
            segment: found.number,
            chain,
            found: bad,
        }))
    }

    /// Removes everything behind the end of the chain; none of it was ever acknowledged.
    fn cut(&mut self, rest: &[Found], spares: &[Found], end: &ChainEnd) -> Result<(), Error> {
        self.spares_survive = false;
        let keeps_first = self.walked.as_ref().is_some_and(|walked| {
            let alone = self.segments.is_empty() && end.chain.sequence > walked.first_sequence;
            end.chain.position > 0 && (walked.holds_messages || alone)
        });
        for found in rest[usize::from(keeps_first)..].iter().chain(spares).rev() {
            remove_segment(self.disk, found.number)?;
        }
        self.disk
            .sync_names()
            .map_err(Error::io("sync the log's directory"))?;
        if !keeps_first {
            // Only where the partitions stood was written there: the chain goes on as if it had not been.
            if let Some(walked) = self.walked.take() {
                let before = walked.first_sequence;
                let header = rest.first().and_then(|found| found.header.ok());
                let previous_crc = header.map_or(0, |header| header.previous_crc);
                let chain = Chain {
                    position: 0,
                    sequence: before,
                    previous_crc,
                    synced: 0,
                };
                self.chain = Some((end.segment.saturating_sub(1), chain));
            }
            return Ok(());
        }
        let file = &rest[0].file;
        let name = segment::file_name(end.segment);
        file.set_len(end.chain.position)
            .map_err(Error::io(format!("cut {name}")))?;
        self.seal_walked(end.chain)
    }

    fn finish(mut self, spares: Vec<Found>, clean: bool, segment_bytes: u64) -> Result<Recovered, Error> {
        let mut usable = Vec::new();
        let mut expected = self.segments.keys().next_back().map_or(1, |last| *last + 1);
        for spare in &spares {
            let length = spare
                .file
                .length()
                .map_err(Error::io("look at a segment written ahead"))?;
            if clean && self.spares_survive && length == segment_bytes && spare.number == expected {
                usable.push((spare.number, Arc::clone(&spare.file)));
                self.bytes += length;
                expected += 1;
            } else if self.spares_survive {
                remove_segment(self.disk, spare.number)?;
            }
        }
        for partition in &mut self.partitions {
            partition.readable = partition.end;
            partition.trim(partition.trimmed);
        }
        let (sequence, last_crc) = self
            .chain
            .map_or((0, 0), |(_, chain)| (chain.sequence - 1, chain.previous_crc));
        Ok(Recovered {
            mark: self.mark,
            segments: self.segments,
            partitions: self.partitions,
            sequence,
            last_crc,
            spares: usable,
            used_bytes: self.bytes,
        })
    }
}

/// Removes a segment and its index, the index first.
pub fn remove_segment(disk: &dyn Disk, number: u64) -> Result<(), Error> {
    let name = segment::index_name(number);
    match disk.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io(format!("remove {name}"))(error));
        }
        _ => {}
    }
    let name = segment::file_name(number);
    disk.remove(&name).map_err(Error::io(format!("remove {name}")))
}
