//! Who waits for which delivery report. A batch has a slot; the number that travels with each of its records through
//! the client names the slot and the record's place, so that a report allocates nothing.
//! In: reports in any order. Out: the batch's offsets, once, when the last one has come. Sends nothing.

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Why a record was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// It certainly is not in the topic, and trying again will not help.
    Refused(String),
    /// Nobody knows whether it is in the topic.
    Unanswered(String),
}

/// How a batch ends: the offsets of its records in their order, or why one of them has none.
pub type Ended = Result<Vec<u64>, Undelivered>;

/// The batches under way.
#[derive(Default)]
pub struct Deliveries {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    batches: Vec<Option<Batch>>,
    free: Vec<u32>,
}

struct Batch {
    offsets: Vec<u64>,
    missing: usize,
    failure: Option<Undelivered>,
    /// Gone once the batch has ended: with its last report, or before, when it was given up.
    done: Option<oneshot::Sender<Ended>>,
}

/// What travels with a record: the slot in the upper half, the place in the batch in the lower.
const PLACE_BITS: u32 = usize::BITS / 2;

/// The number that names a record.
pub fn ticket(slot: u32, place: usize) -> usize {
    (slot as usize) << PLACE_BITS | place
}

impl Deliveries {
    /// Makes a slot for a batch of `count` records, more than none.
    pub fn open(&self, count: usize) -> (u32, oneshot::Receiver<Ended>) {
        let (done, ended) = oneshot::channel();
        let batch = Batch {
            offsets: vec![0; count],
            missing: count,
            failure: None,
            done: Some(done),
        };
        let mut slots = self.slots.lock();
        let slot = match slots.free.pop() {
            Some(slot) => slot,
            None => {
                slots.batches.push(None);
                u32::try_from(slots.batches.len() - 1).expect("fewer batches are under way than 2^32")
            }
        };
        slots.batches[slot as usize] = Some(batch);
        (slot, ended)
    }

    /// A record's report has come.
    pub fn settle(&self, ticket: usize, report: Result<u64, Undelivered>) {
        let slot = u32::try_from(ticket >> PLACE_BITS).unwrap_or(u32::MAX);
        let place = ticket & ((1 << PLACE_BITS) - 1);
        self.with(slot, |batch| {
            match report {
                Ok(offset) => {
                    if let Some(at) = batch.offsets.get_mut(place) {
                        *at = offset;
                    }
                }
                Err(failure) => batch.failure = Some(failure),
            }
            batch.missing -= 1;
        });
    }

    /// The last `count` records of a batch were never handed to the client.
    pub fn unsent(&self, slot: u32, count: usize, why: Undelivered) {
        self.with(slot, |batch| {
            batch.failure = Some(why);
            batch.missing -= count;
        });
    }

    /// Ends every batch under way now: nobody waits for its reports any more. Its slot is free when they have come.
    pub fn give_up(&self, why: &Undelivered) {
        let mut slots = self.slots.lock();
        let given_up: Vec<_> = slots
            .batches
            .iter_mut()
            .flatten()
            .filter_map(|batch| batch.done.take())
            .collect();
        drop(slots);
        for done in given_up {
            let _ = done.send(Err(why.clone()));
        }
    }

    fn with(&self, slot: u32, change: impl FnOnce(&mut Batch)) {
        let mut slots = self.slots.lock();
        let Some(Some(batch)) = slots.batches.get_mut(slot as usize) else {
            return tracing::error!(slot, "a delivery report names no batch");
        };
        change(batch);
        if batch.missing > 0 {
            return;
        }
        let ended = slots.batches[slot as usize].take();
        slots.free.push(slot);
        drop(slots);
        if let Some(batch) = ended
            && let Some(done) = batch.done
        {
            // Whoever asked may have gone: the records are in the topic all the same.
            let _ = done.send(match batch.failure {
                None => Ok(batch.offsets),
                Some(failure) => Err(failure),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_when_its_last_report_has_come_in_whatever_order() {
        let deliveries = Deliveries::default();
        let (first, mut first_ended) = deliveries.open(2);
        let (second, mut second_ended) = deliveries.open(1);
        deliveries.settle(ticket(first, 1), Ok(8));
        assert!(first_ended.try_recv().is_err(), "one report is missing");
        deliveries.settle(ticket(second, 0), Ok(3));
        deliveries.settle(ticket(first, 0), Ok(7));
        assert_eq!(first_ended.try_recv(), Ok(Ok(vec![7, 8])));
        assert_eq!(second_ended.try_recv(), Ok(Ok(vec![3])));
        let (again, _) = deliveries.open(1);
        assert!([first, second].contains(&again), "slots are used again");
    }

    #[test]
    fn one_failed_record_fails_its_batch_after_all_reports() {
        let deliveries = Deliveries::default();
        let (slot, mut ended) = deliveries.open(3);
        let why = Undelivered::Unanswered("timed out".to_owned());
        deliveries.settle(ticket(slot, 0), Err(why.clone()));
        deliveries.settle(ticket(slot, 1), Ok(1));
        assert!(ended.try_recv().is_err());
        deliveries.unsent(slot, 1, why.clone());
        assert_eq!(ended.try_recv(), Ok(Err(why)));
    }

    #[test]
    fn what_is_given_up_ends_at_once_and_keeps_its_slot_until_its_reports_have_come() {
        let deliveries = Deliveries::default();
        let (slot, mut ended) = deliveries.open(2);
        deliveries.settle(ticket(slot, 0), Ok(1));
        let why = Undelivered::Unanswered("given up".to_owned());
        deliveries.give_up(&why);
        assert_eq!(ended.try_recv(), Ok(Err(why.clone())));
        let (other, mut other_ended) = deliveries.open(1);
        assert_ne!(other, slot, "a late report must not settle another batch");
        deliveries.settle(ticket(slot, 1), Err(why));
        assert_eq!(deliveries.open(1).0, slot);
        deliveries.settle(ticket(other, 0), Ok(9));
        assert_eq!(other_ended.try_recv(), Ok(Ok(vec![9])));
    }

    #[test]
    fn a_batch_that_nobody_waits_for_frees_its_slot() {
        let deliveries = Deliveries::default();
        let (slot, ended) = deliveries.open(1);
        drop(ended);
        deliveries.settle(ticket(slot, 0), Ok(1));
        assert_eq!(deliveries.open(1).0, slot);
    }
}
