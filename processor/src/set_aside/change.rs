//! What is set aside as the journal keeps it: a run whole, or that it is gone. In: a run with its key. Out: a change; and
//! back again. Knows nothing of what a run waits for.

use tidegate_broker::journal::ChangeError;

use super::run::{Run, read_varint, write_varint};
use super::{Cause, Queue, RunKey};

pub(super) const TAG_PUT: u8 = 1;
const TAG_REMOVE: u8 = 2;

/// The changes that belong to this table.
pub(crate) const TAGS: std::ops::RangeInclusive<u8> = TAG_PUT..=TAG_REMOVE;

/// A run as it is from now on; `None` when it is gone.
pub(super) struct Change {
    pub key: RunKey,
    pub run: Option<Run>,
}

/// A run's change: tag, cause, name and number, then the run; without one its removal.
pub(super) fn encode((queue, number): &RunKey, run: Option<&Run>) -> Vec<u8> {
    let cause = match queue.cause {
        Cause::Key => 1,
        Cause::Connection => 2,
        Cause::Rate => 3,
    };
    let mut bytes = vec![if run.is_some() { TAG_PUT } else { TAG_REMOVE }, cause];
    write_varint(&mut bytes, *number);
    write_varint(&mut bytes, queue.name.len() as u64);
    bytes.extend_from_slice(queue.name.as_bytes());
    if let Some(run) = run {
        run.encode(&mut bytes);
    }
    bytes
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(change: &[u8]) -> Result<Change, ChangeError> {
    let broken = || ChangeError::new("a change of what is set aside breaks off");
    let ([tag, cause], mut rest) = change.split_first_chunk::<2>().ok_or_else(broken)?;
    let cause = match cause {
        1 => Cause::Key,
        2 => Cause::Connection,
        3 => Cause::Rate,
        _ => {
            return Err(ChangeError::new(
                "something is set aside for a cause that this build does not know",
            ));
        }
    };
    let number = read_varint(&mut rest).ok_or_else(broken)?;
    let name_bytes = read_varint(&mut rest).ok_or_else(broken)?;
    let name_bytes = usize::try_from(name_bytes).map_err(|_| broken())?;
    let (name, rest) = rest.split_at_checked(name_bytes).ok_or_else(broken)?;
    let name = std::str::from_utf8(name).map_err(|_| broken())?.into();
    let run = match *tag {
        TAG_PUT => Some(Run::decode(rest)?),
        _ => None,
    };
    Ok(Change {
        key: (Queue { cause, name }, number),
        run,
    })
}
