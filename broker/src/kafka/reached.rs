//! What the owners of this process have reached, until their groups commit it. In: offsets. Out: the last of each
//! partition, once. Decides nothing: these offsets only show lag.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tidegate_schemas::Topic;

/// What the members of a process know together.
#[derive(Default)]
pub struct Ledger {
    reached: Mutex<BTreeMap<(Topic, u32), u64>>,
}

impl Ledger {
    /// An owner has reached this offset.
    pub fn reached(&self, topic: Topic, partition: u32, offset: u64) {
        self.reached.lock().insert((topic, partition), offset);
    }

    /// What was reached of a topic since this was asked last.
    pub fn take(&self, topic: Topic) -> Vec<(u32, u64)> {
        let mut reached = self.reached.lock();
        let of_topic: Vec<(u32, u64)> = reached
            .range((topic, 0)..=(topic, u32::MAX))
            .map(|((_, partition), offset)| (*partition, *offset))
            .collect();
        reached.retain(|(at, _), _| *at != topic);
        of_topic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_keeps_the_last_offset_of_each_partition() {
        let ledger = Ledger::default();
        ledger.reached(Topic::Requests, 1, 5);
        ledger.reached(Topic::Requests, 1, 9);
        ledger.reached(Topic::Events, 1, 2);
        assert_eq!(ledger.take(Topic::Requests), [(1, 9)]);
        assert_eq!(ledger.take(Topic::Requests), []);
        assert_eq!(ledger.take(Topic::Events), [(1, 2)]);
    }
}
