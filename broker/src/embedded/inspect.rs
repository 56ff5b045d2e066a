//! `tidegate log inspect`: walks every frame of a log and says what it holds and whether it is whole.
//! Reads only, so it can run beside the process that writes the log; what is just being written may be missing.

use std::path::Path;

use tidegate_schemas::{Topic, UnixMillis};

use super::damage;
use super::disk::{Disk, OsDisk};
use super::frame::{Bad, KEPT, STANDING, TRIM};
use super::recover::{CLEAN, ChainEnd, Found, find_segments};
use super::segment::{self, Chain};
use crate::error::{Damage, Error};

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Whether it was closed in good order.
    pub closed: bool,
    /// Its segments in use, oldest first.
    pub segments: Vec<SegmentReport>,
    /// How many segments are written ahead.
    pub spares: usize,
    /// The first damage, if there is any; nothing behind it was looked at.
    pub damage: Option<Damage>,
}

/// What one segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub number: u64,
    /// When it was taken into use.
    pub created: UnixMillis,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Bytes that frames fill.
    pub used_bytes: u64,
    /// Whether its index stands beside it.
    pub sealed: bool,
    /// The sequence of its first frame, and the one behind its last.
    pub sequences: std::ops::Range<u64>,
    /// What it holds of each partition, in order.
    pub partitions: Vec<PartitionReport>,
    /// Why its frames end where they do.
    pub end: String,
}

/// What one segment holds of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// The first and the last offset of its new messages.
    pub offsets: Option<(u64, u64)>,
    /// How many new messages.
    pub messages: u64,
    /// How many messages that were appended again.
    pub kept: u64,
    /// How often its start was moved.
    pub trims: u64,
    /// Bytes of its records.
    pub bytes: u64,
}

/// Walks the log in `directory`.
///
/// # Errors
/// [`Error::Io`]; damage is part of the answer.
pub fn inspect(directory: &Path) -> Result<Inspection, Error> {
    inspect_on(&OsDisk::new(directory))
}

/// Walks the log on a disk.
///
/// # Errors
/// [`Error::Io`]; damage is part of the answer.
pub fn inspect_on(disk: &dyn Disk) -> Result<Inspection, Error> {
    let names = disk.names().map_err(Error::io("list the log's directory"))?;
    let (found, spares) = find_segments(disk)?;
    let has = |name: &str| names.iter().any(|there| there == name);
    let mut inspection = Inspection {
        closed: has(CLEAN),
        segments: Vec::new(),
        spares: spares.len(),
        damage: None,
    };
    let mut whole = Whole::new(&found, &spares)?;
    while let Some(step) = whole.next()? {
        match step {
            Step::Segment(mut report) => {
                report.sealed = has(&segment::index_name(report.number));
                inspection.segments.push(report);
            }
            Step::Damage(damage, _) => {
                inspection.damage = Some(damage);
                break;
            }
        }
    }
    Ok(inspection)
}

/// A walk over all frames of all segments that trusts no index.
pub struct Whole<'a> {
    found: &'a [Found],
    spares: &'a [Found],
    at: usize,
    chain: Option<(u64, Chain)>,
    mark: Option<super::frame::Mark>,
}

/// What the walk meets.
pub enum Step {
    /// A segment whose frames are good, to their end.
    Segment(SegmentReport),
    /// A place where the chain breaks although it was synced further.
    Damage(Damage, ChainEnd),
}

impl<'a> Whole<'a> {
    /// Begins before the first segment.
    pub fn new(found: &'a [Found], spares: &'a [Found]) -> Result<Whole<'a>, Error> {
        Ok(Whole {
            found,
            spares,
            at: 0,
            chain: None,
            mark: damage::mark_of(found)?,
        })
    }

    /// Walks the next segment.
    pub fn next(&mut self) -> Result<Option<Step>, Error> {
        let Some(found) = self.found.get(self.at) else {
            return Ok(None);
        };
        let next = self.found.get(self.at + 1).and_then(|next| next.header.ok());
        let mut chain = match Chain::enter(self.chain, found.number, found.header) {
            Ok((_, chain)) => chain,
            Err(bad) => return self.broken(found, Chain::stopped(self.chain), bad),
        };
        let mut report = begin_report(found, chain)?;
        loop {
            let (end, bad) = self.walk(found, chain, &mut report)?;
            let goes_on = end.goes_on(next);
            let broken = if goes_on {
                None
            } else {
                self.broken(found, end, bad)?
            };
            // A frame that was just being written is whole when one looks again.
            if broken.is_some() && end != chain {
                chain = end;
                continue;
            }
            if broken.is_some() {
                return Ok(broken);
            }
            report.used_bytes = end.position;
            report.sequences.end = end.sequence;
            report.end = if goes_on {
                "the next segment".to_owned()
            } else {
                bad.to_string()
            };
            self.chain = Some((found.number, end));
            // Behind an end that is none of the chain's there is nothing to look at.
            self.at = if goes_on { self.at + 1 } else { self.found.len() };
            return Ok(Some(Step::Segment(report)));
        }
    }

    fn walk(&self, found: &Found, chain: Chain, report: &mut SegmentReport) -> Result<(Chain, Bad), Error> {
        let Some(mark) = self.mark else {
            return Ok((chain, Bad::Mark));
        };
        let walked = segment::walk(&*found.file, mark, chain, |frame| {
            for (record, place) in &frame.records {
                let at = report.partitions.iter().position(|partition| {
                    (partition.topic, partition.partition) == (record.topic, record.partition)
                });
                let at = at.unwrap_or_else(|| {
                    report
                        .partitions
                        .push(PartitionReport::new(record.topic, record.partition));
                    report.partitions.len() - 1
                });
                report.partitions[at].count(record.flags, record.offset, place.len() as u64);
            }
        });
        walked.map_err(Error::io(format!("read {}", segment::file_name(found.number))))
    }

    /// What a broken chain means: damage, or the end.
    fn broken(&self, found: &Found, chain: Chain, bad: Bad) -> Result<Option<Step>, Error> {
        let end = ChainEnd {
            mark: self.mark,
            segment: found.number,
            chain,
            found: bad,
        };
        let rest = self.found[self.at..].iter().chain(self.spares);
        match damage::judge(rest, &end, None) {
            Ok(()) => Ok(None),
            Err(Error::Damaged(damage)) => Ok(Some(Step::Damage(damage, end))),
            Err(error) => Err(error),
        }
    }
}

fn begin_report(found: &Found, chain: Chain) -> Result<SegmentReport, Error> {
    let file_bytes = found.file.length().map_err(Error::io("look at a segment"))?;
    Ok(SegmentReport {
        number: found.number,
        created: found.header.map_or(UnixMillis(0), |header| header.created),
        file_bytes,
        used_bytes: 0,
        sealed: false,
        sequences: chain.sequence..chain.sequence,
        partitions: Vec::new(),
        end: String::new(),
    })
}

impl PartitionReport {
    fn new(topic: Topic, partition: u32) -> PartitionReport {
        PartitionReport {
            topic,
            partition,
            offsets: None,
            messages: 0,
            kept: 0,
            trims: 0,
            bytes: 0,
        }
    }

    fn count(&mut self, flags: u8, offset: u64, bytes: u64) {
        match flags {
            0 => {
                let first = self.offsets.map_or(offset, |(first, _)| first);
                self.offsets = Some((first, offset));
                self.messages += 1;
            }
            KEPT => self.kept += 1,
            TRIM => self.trims += 1,
            STANDING => return,
            _ => {}
        }
        self.bytes += bytes;
    }
}
