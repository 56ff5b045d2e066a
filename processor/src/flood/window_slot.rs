//! A window in 79 bytes, as it lies in its table and in the journal. In: a window with its object and its entry in the
//! wheel. Out: the same. Times are kept as 48 bits of milliseconds, spans as what an hour needs.

use tidegate_broker::journal::ChangeError;
use tidegate_registry::{Edge, Keep};
use tidegate_schemas::{EventId, UnixMillis};
use uuid::Uuid;

use super::encoding::{Reader, Writer};
use super::fingerprint::FINGERPRINT_BYTES;
use super::segment::key_of;
use crate::flood::fingerprint::Fingerprint;
use crate::steps::debounce::{Place, PolicyMark, Window};

/// Bytes of a window with its object's fingerprint.
pub(super) const SLOT: usize = FINGERPRINT_BYTES + 16 + 6 + 3 + 6 + 4 + 6 + 3 + 8 + 6 + 2 + 4 + 2 + 1;

const KEPT: u64 = 1;
const VERSION: u64 = 2;
const TIME: u64 = 4;

/// Writes a window; `mark` names its entry in the wheel.
pub(super) fn encode(object: Fingerprint, window: &Window, mark: u16) -> [u8; SLOT] {
    let millis = |later: UnixMillis, earlier: UnixMillis| later.0.saturating_sub(earlier.0);
    let Window { received, kept, .. } = *window;
    let flag = |is: bool, bit: u64| if is { bit } else { 0 };
    let flags = flag(kept.is_some(), KEPT)
        | flag(window.version.is_some(), VERSION)
        | flag(window.time.is_some(), TIME)
        | (window.edge as u64) << 3
        | (window.keep as u64) << 5;
    let kept = kept.unwrap_or_default();
    let mut slot = [0; SLOT];
    Writer::new(&mut slot)
        .bytes(&object.0)
        .bytes(window.id.0.as_bytes())
        .number(window.opened.0, 6)
        .number(millis(window.deadline, window.opened), 3)
        .number(received.0.0, 6)
        .number(millis(received.1, received.0), 4)
        .number(kept.offset, 6)
        .number(u64::from(kept.position), 3)
        .number(window.version.unwrap_or(0).cast_unsigned(), 8)
        .number(window.time.unwrap_or_default().0, 6)
        .number(u64::from(window.policy.0), 2)
        .number(u64::from(window.count), 4)
        .number(u64::from(mark), 2)
        .number(flags, 1);
    slot
}

/// Reads what [`encode`] wrote: the object, the window, and what names its entry in the wheel.
///
/// # Errors
/// It holds a number that none of this build's windows has.
pub(super) fn decode(slot: &[u8; SLOT]) -> Result<(Fingerprint, Window, u16), ChangeError> {
    let mut rest = Reader(&slot[FINGERPRINT_BYTES..]);
    let id = EventId(Uuid::from_bytes(rest.array()?));
    let mut number = |width| rest.number(width);
    let opened = number(6)?;
    let deadline = opened + number(3)?;
    let first = number(6)?;
    let last = first + number(4)?;
    let (offset, position) = (number(6)?, number(3)? as u32);
    let (version, time) = (number(8)?.cast_signed(), UnixMillis(number(6)?));
    let (policy, count, mark) = (number(2)? as u16, number(4)? as u32, number(2)? as u16);
    let flags = number(1)?;
    let unknown = || ChangeError::new("a window is of a kind that this build does not know");
    let edge = [Edge::Trailing, Edge::Leading, Edge::Both];
    let keep = [Keep::Latest, Keep::First, Keep::All];
    let window = Window {
        id,
        edge: *edge.get((flags >> 3 & 3) as usize).ok_or_else(unknown)?,
        keep: *keep.get((flags >> 5 & 3) as usize).ok_or_else(unknown)?,
        policy: PolicyMark(policy),
        opened: UnixMillis(opened),
        deadline: UnixMillis(deadline),
        received: (UnixMillis(first), UnixMillis(last)),
        count,
        kept: (flags & KEPT != 0).then_some(Place { offset, position }),
        version: (flags & VERSION != 0).then_some(version),
        time: (flags & TIME != 0).then_some(time),
    };
    Ok((key_of(slot), window, mark))
}
