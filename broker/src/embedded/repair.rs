//! `tidegate log repair`: carries out what a person decided about damage.
//!
//! Either everything from the first damage on is given up, or only the damaged bytes: a gap frame then stands in their
//! place and names how the chain goes on behind it. Works in place, on a log that no process has open; can be
//! repeated after a crash at any step.

use std::path::Path;

use super::disk::{Disk, OsDisk};
use super::frame::{FRAME_HEADER, FrameHeader, GAP, Mark, gap};
use super::inspect::{Step, Whole};
use super::open;
use super::recover::{ChainEnd, Found, find_segments, remove_segment};
use super::segment::{self, Chain, SEGMENT_HEADER, SegmentHeader};
use crate::error::{Damage, Error};

/// Damages that one repair mends at most; a log with more is beyond repair in place.
const DAMAGES_MAX: usize = 10_000;

/// What is done about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Give up everything from the first damage on; what is left is exactly what was written up to there.
    Cut,
    /// Give up only what is damaged; messages behind it stay, those in it are gone.
    Skip,
}

/// Mends the log in `directory`; returns what was given up, in order. In a log without damage only
/// the indexes are made anew, at the next start.
///
/// # Errors
/// [`Error::Locked`] when a process has it open, [`Error::Io`] when the disk fails.
pub fn repair(directory: &Path, decision: Decision) -> Result<Vec<Damage>, Error> {
    let _lock = open::lock(directory)?;
    repair_on(&OsDisk::new(directory), decision)
}

/// Mends the log on a disk.
///
/// # Errors
/// [`Error::Io`] when the disk fails.
pub fn repair_on(disk: &dyn Disk, decision: Decision) -> Result<Vec<Damage>, Error> {
    let mut given_up = Vec::new();
    for found in find_segments(disk)?.0 {
        // Indexes are derived: the next start walks the segments and writes them again.
        forget_index(disk, found.number)?;
    }
    while given_up.len() < DAMAGES_MAX {
        let (found, spares) = find_segments(disk)?;
        let Some((damage, end)) = first_damage(&found, &spares)? else {
            return Ok(given_up);
        };
        let at = found
            .iter()
            .position(|found| found.number == end.segment)
            .expect("the walk met it");
        match decision {
            Decision::Cut => cut(disk, &found[at..], &end)?,
            Decision::Skip => skip(disk, (&found, at), &end)?,
        }
        given_up.push(damage);
    }
    Ok(given_up)
}

fn first_damage(found: &[Found], spares: &[Found]) -> Result<Option<(Damage, ChainEnd)>, Error> {
    let mut whole = Whole::new(found, spares)?;
    while let Some(step) = whole.next()? {
        if let Step::Damage(damage, end) = step {
            return Ok(Some((damage, end)));
        }
    }
    Ok(None)
}

/// Removes everything from the end of the chain on, the newest first.
fn cut(disk: &dyn Disk, rest: &[Found], end: &ChainEnd) -> Result<(), Error> {
    let keeps_first = end.chain.position > 0;
    for found in rest[usize::from(keeps_first)..].iter().rev() {
        remove_segment(disk, found.number)?;
    }
    if keeps_first {
        forget_index(disk, end.segment)?;
        let failed = || Error::io(format!("cut {}", segment::file_name(end.segment)));
        rest[0].file.set_len(end.chain.position).map_err(failed())?;
        rest[0].file.sync().map_err(failed())?;
    }
    disk.sync_names().map_err(Error::io("sync the log's directory"))
}

/// How the chain goes on behind damage.
struct GoesOn {
    position: u64,
    sequence: u64,
    previous_crc: u32,
}

/// Bridges the damage at the end of the chain.
fn skip(disk: &dyn Disk, (found, at): (&[Found], usize), end: &ChainEnd) -> Result<(), Error> {
    let Some(mark) = end.mark else {
        return cut(disk, &found[at..], end);
    };
    let here = &found[at];
    let number_before = at.checked_sub(1).map(|before| found[before].number);
    if number_before.is_some_and(|before| before + 1 < here.number) && end.chain.position == 0 {
        return bridge_missing(disk, here, (end, mark));
    }
    if end.chain.position == 0 {
        return rewrite_header(disk, here, (end, mark));
    }
    let next = found.get(at + 1);
    let Some(goes_on) = find_next(here, next, (end.chain.position, mark))? else {
        return match next {
            // The chain is good up to here: it is the next segment's header that is not.
            Some(next) => rewrite_header(disk, next, (end, mark)),
            None => cut(disk, &found[at..], end),
        };
    };
    forget_index(disk, here.number)?;
    write_gap(here, end.chain, (&goes_on, mark))
}

/// The first good frame behind `position`, or else the next segment's beginning.
fn find_next(
    here: &Found,
    next: Option<&Found>,
    (position, mark): (u64, Mark),
) -> Result<Option<GoesOn>, Error> {
    let failed = || Error::io(format!("read {}", segment::file_name(here.number)));
    let mut goes_on = None;
    // A gap needs room for its own header, so the next frame lies at least that far behind.
    segment::search(&*here.file, mark, position + FRAME_HEADER as u64, |frame| {
        if frame.header.kind == GAP {
            return true;
        }
        let (sequence, previous_crc) = (frame.header.sequence, frame.header.previous_crc);
        goes_on = Some(GoesOn {
            position: frame.position,
            sequence,
            previous_crc,
        });
        false
    })
    .map_err(failed())?;
    if goes_on.is_some() {
        return Ok(goes_on);
    }
    let Some(header) = next.and_then(|next| next.header.ok()) else {
        return Ok(None);
    };
    let length = here
        .file
        .length()
        .map_err(failed())?
        .max(position + FRAME_HEADER as u64)
        .next_multiple_of(8);
    let (sequence, previous_crc) = (header.first_sequence, header.previous_crc);
    Ok(Some(GoesOn {
        position: length,
        sequence,
        previous_crc,
    }))
}

fn write_gap(here: &Found, chain: Chain, (goes_on, mark): (&GoesOn, Mark)) -> Result<(), Error> {
    let failed = || Error::io(format!("mend {}", segment::file_name(here.number)));
    let length = goes_on.position - chain.position;
    let header = FrameHeader {
        length: u32::try_from(length).expect("a segment is under 4 GiB"),
        crc: 0,
        previous_crc: chain.previous_crc,
        sequence: chain.sequence,
        synced: goes_on.sequence - 1,
        timestamp: here
            .header
            .map_or_else(|_| tidegate_schemas::UnixMillis(0), |header| header.created),
        count: goes_on.previous_crc,
        kind: GAP,
    };
    if here.file.length().map_err(failed())? < goes_on.position {
        here.file.set_len(goes_on.position).map_err(failed())?;
    }
    here.file
        .write_at(&[&gap(header, mark)], chain.position)
        .map_err(failed())?;
    here.file.sync().map_err(failed())
}

/// Gives a segment its header back.
fn rewrite_header(disk: &dyn Disk, here: &Found, (end, mark): (&ChainEnd, Mark)) -> Result<(), Error> {
    let failed = || Error::io(format!("mend {}", segment::file_name(here.number)));
    let mut sequence = end.chain.sequence;
    let mut previous_crc = end.chain.previous_crc;
    if sequence == 1 {
        // Nothing is known of what came before: its own first frame tells.
        segment::search(&*here.file, mark, SEGMENT_HEADER as u64, |frame| {
            (sequence, previous_crc) = (frame.header.sequence, frame.header.previous_crc);
            false
        })
        .map_err(failed())?;
    }
    forget_index(disk, here.number)?;
    let created = here
        .header
        .map_or_else(|_| tidegate_schemas::UnixMillis(0), |header| header.created);
    let header = SegmentHeader {
        number: here.number,
        first_sequence: sequence,
        previous_crc,
        mark,
        created,
    };
    here.file.write_at(&[&header.encode()], 0).map_err(failed())?;
    here.file.sync().map_err(failed())
}

/// Puts a segment with nothing but a gap where a whole segment is missing.
fn bridge_missing(disk: &dyn Disk, here: &Found, (end, mark): (&ChainEnd, Mark)) -> Result<(), Error> {
    let number = end.segment - 1;
    let name = segment::file_name(number);
    let failed = || Error::io(format!("write {name}"));
    let Ok(next) = here.header else {
        return rewrite_header(disk, here, (end, mark));
    };
    let unfinished = format!("{name}.tmp");
    let file = disk.create(&unfinished).map_err(failed())?;
    let (first_sequence, previous_crc) = (end.chain.sequence, end.chain.previous_crc);
    let header = SegmentHeader {
        number,
        first_sequence,
        previous_crc,
        mark,
        created: next.created,
    };
    file.write_at(&[&header.encode()], 0).map_err(failed())?;
    let found = Found {
        number,
        file,
        header: Ok(header),
    };
    let chain = Chain {
        position: SEGMENT_HEADER as u64,
        ..end.chain
    };
    let goes_on = GoesOn {
        position: (SEGMENT_HEADER + FRAME_HEADER) as u64,
        sequence: next.first_sequence,
        previous_crc: next.previous_crc,
    };
    write_gap(&found, chain, (&goes_on, mark))?;
    disk.rename(&unfinished, &name).map_err(failed())?;
    disk.sync_names().map_err(Error::io("sync the log's directory"))
}

/// Removes the index of a segment that is about to change.
fn forget_index(disk: &dyn Disk, number: u64) -> Result<(), Error> {
    let name = segment::index_name(number);
    match disk.remove(&name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io(format!("remove {name}"))),
    }
}
