//! A change of forwarding's state as it stands in the journal: absolute, so that applying it twice is harmless.
//! In and out: bytes. An unknown kind is refused, never skipped.

use std::ops::Range;

use tidegate_schemas::{EndpointId, UnixMillis};
use uuid::Uuid;

use super::offset_set::{read_varint, write_varint};
use super::parked::{Key, Parked};

/// More offsets than any owner puts into one change; what names more is damaged.
const OFFSETS_MAX: u64 = 1 << 24;

/// One change. Endpoints are named by their id: the index in a [`Key`] belongs to one owner's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A delivery is parked, with these tries and times.
    Park { endpoint: EndpointId, parked: Parked },
    /// It is not, any more.
    Unpark { endpoint: EndpointId, offset: u64 },
    /// These offsets wait for the endpoint, untried.
    Wait {
        endpoint: EndpointId,
        runs: Vec<Range<u64>>,
    },
    /// They do not, any more.
    StopWaiting {
        endpoint: EndpointId,
        runs: Vec<Range<u64>>,
    },
}

const PARK: u8 = 1;
const UNPARK: u8 = 2;
const WAIT: u8 = 3;
const STOP_WAITING: u8 = 4;

impl Change {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, endpoint) = match self {
            Change::Park { endpoint, .. } => (PARK, endpoint),
            Change::Unpark { endpoint, .. } => (UNPARK, endpoint),
            Change::Wait { endpoint, .. } => (WAIT, endpoint),
            Change::StopWaiting { endpoint, .. } => (STOP_WAITING, endpoint),
        };
        let mut bytes = Vec::with_capacity(48);
        bytes.push(kind);
        bytes.extend_from_slice(endpoint.0.as_bytes());
        match self {
            Change::Park { parked, .. } => {
                let ends_seconds = parked.ends.seconds();
                for number in [
                    parked.key.offset,
                    u64::from(parked.tries),
                    parked.due.0,
                    ends_seconds,
                ] {
                    write_varint(&mut bytes, number);
                }
            }
            Change::Unpark { offset, .. } => write_varint(&mut bytes, *offset),
            Change::Wait { runs, .. } | Change::StopWaiting { runs, .. } => {
                let mut end = 0;
                for run in runs {
                    write_varint(&mut bytes, run.start - end);
                    write_varint(&mut bytes, run.end - run.start);
                    end = run.end;
                }
            }
        }
        bytes
    }

    /// Reads what [`Change::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (endpoint, mut rest) = rest.split_first_chunk::<16>()?;
        let endpoint = EndpointId(Uuid::from_bytes(*endpoint));
        let change = match *kind {
            PARK => {
                let key = Key {
                    offset: read_varint(&mut rest)?,
                    endpoint: 0,
                };
                let tries = u8::try_from(read_varint(&mut rest)?).ok()?;
                let due = UnixMillis(read_varint(&mut rest)?);
                let ends = UnixMillis(read_varint(&mut rest)?.checked_mul(1000)?);
                Change::Park {
                    endpoint,
                    parked: Parked {
                        key,
                        tries,
                        due,
                        ends,
                    },
                }
            }
            UNPARK => Change::Unpark {
                endpoint,
                offset: read_varint(&mut rest)?,
            },
            WAIT => Change::Wait {
                endpoint,
                runs: read_runs(&mut rest)?,
            },
            STOP_WAITING => Change::StopWaiting {
                endpoint,
                runs: read_runs(&mut rest)?,
            },
            _ => return None,
        };
        rest.is_empty().then_some(change)
    }
}

/// The runs of ascending offsets.
pub(crate) fn runs_of(offsets: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some(run) if run.end == *offset => run.end += 1,
            _ => runs.push(*offset..offset + 1),
        }
    }
    runs
}

fn read_runs(bytes: &mut &[u8]) -> Option<Vec<Range<u64>>> {
    let (mut runs, mut end, mut count) = (Vec::new(), 0u64, 0u64);
    while !bytes.is_empty() {
        let start = end.checked_add(read_varint(bytes)?)?;
        let length = read_varint(bytes)?;
        end = start.checked_add(length)?;
        count = count.checked_add(length)?;
        if length == 0 || count > OFFSETS_MAX {
            return None;
        }
        runs.push(start..end);
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_read_back_and_a_cut_one_refused() {
        let endpoint = EndpointId::new(UnixMillis(1_700_000_000_000));
        let key = Key {
            offset: 1 << 40,
            endpoint: 0,
        };
        let parked = Parked {
            key,
            tries: 11,
            due: UnixMillis(1_700_000_000_123),
            ends: UnixMillis(1_800_000_000_000),
        };
        for change in [
            Change::Park { endpoint, parked },
            Change::Unpark {
                endpoint,
                offset: 300,
            },
            Change::Wait {
                endpoint,
                runs: runs_of(&[1, 2, 3, 10, 12, 13]),
            },
            Change::StopWaiting {
                endpoint,
                runs: runs_of(&[u64::MAX - 2, u64::MAX - 1]),
            },
        ] {
            let bytes = change.encode();
            assert_eq!(Change::decode(&bytes).as_ref(), Some(&change));
            assert_ne!(Change::decode(&bytes[..bytes.len() - 1]).as_ref(), Some(&change));
            assert_eq!(Change::decode(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(Change::decode(&[9; 20]), None);
    }

    #[test]
    fn the_bytes_of_today_are_read_for_ever() {
        let endpoint: EndpointId = "0192f0c1-0000-7000-8000-000000000001"
            .parse()
            .expect("a literal UUID");
        let bytes = hex::decode("030192f0c1000070008000000000000001050203010a01").expect("literal hex");
        assert_eq!(
            Change::decode(&bytes),
            Some(Change::Wait {
                endpoint,
                runs: vec![5..7, 10..11, 21..22]
            })
        );
    }
}
