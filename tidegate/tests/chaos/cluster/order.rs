//! What the topics hold in the end, and in which order. In: the cluster, and what was accepted or delivered. Out: how much
//! came again, or a failure that names what stands where it should not.

use std::collections::{HashMap, HashSet};

use tidegate_broker::{Broker, Message, kafka};
use tidegate_schemas::{EventMeta, Metadata as _, RequestMeta, Topic};

/// Reads `events`: every event of an object came, at its first time, in the order of the requests; how many came again.
pub async fn of_events(config: &kafka::Config, delivered: usize) -> u64 {
    let (mut ids, mut again) = (HashSet::new(), 0);
    let mut last: HashMap<_, u64> = HashMap::new();
    each(config, Topic::Events, |message| {
        let meta = EventMeta::decode(&message.meta).unwrap();
        if !ids.insert(meta.id) {
            again += 1;
            return;
        }
        let object = (meta.integration, meta.connection, meta.object_key);
        let before = last.insert(object, meta.pointer.offset);
        assert!(
            before.is_none_or(|before| before < meta.pointer.offset),
            "event {} of {:?} comes behind {before:?}",
            meta.id,
            meta.pointer
        );
    })
    .await;
    assert_eq!(ids.len(), delivered, "events in the topic, and delivered");
    again
}

/// Reads `requests`: those of each list lie there, at their first time, in the list's order; how many of them went through
/// a spill.
pub async fn of_requests(config: &kafka::Config, accepted: &[Vec<String>]) -> usize {
    let lists = accepted.iter().enumerate();
    let list_of: HashMap<&String, usize> = lists
        .flat_map(|(at, ids)| ids.iter().map(move |id| (id, at)))
        .collect();
    let mut found = vec![Vec::new(); accepted.len()];
    let (mut seen, mut spilled) = (HashSet::new(), 0);
    each(config, Topic::Requests, |message| {
        let meta = RequestMeta::decode(&message.meta).unwrap();
        let id = meta.id.0.to_string();
        if let Some(at) = list_of.get(&id)
            && seen.insert(id.clone())
        {
            spilled += usize::from(meta.spilled);
            found[*at].push(id);
        }
    })
    .await;
    for (found, accepted) in found.iter().zip(accepted) {
        assert!(
            found == accepted,
            "{} of {} requests are there, or their order is another",
            found.len(),
            accepted.len()
        );
    }
    spilled
}

/// Reads a topic as far as it goes now, one partition after the other.
async fn each(config: &kafka::Config, topic: Topic, mut take: impl FnMut(&Message)) {
    let broker = Broker::connect(config).await.unwrap();
    for (partition, there) in (0..).zip(broker.latest(topic).await.unwrap()) {
        let mut reader = broker.reader(topic, partition, there.start);
        while reader.position() < there.end {
            reader
                .next(1_000, 8 << 20)
                .await
                .unwrap()
                .iter()
                .for_each(&mut take);
        }
    }
}
