//! Any order of outages, crashes and restarts: what was acknowledged is in Kafka in the end, in order, and only what was
//! in doubt or in the batch that a crash cut off came twice.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::{Cluster, Mood, PARTITIONS, request, start, straight};
use crate::embedded::disk::SimDisk;
use crate::kafka::spill::Spilling;

#[derive(Debug, Clone)]
enum Step {
    /// So many senders send so many requests each, one after the other.
    Send {
        senders: u8,
        each: u8,
    },
    /// One sender sends, and nothing else happens until all are answered.
    SendAlone(u8),
    Become(Moods),
    Lead(u32, bool),
    /// The process is killed, or the power fails; it starts again at once.
    Crash {
        power: bool,
        choice: u64,
    },
    /// It is stopped in good order, and starts again.
    Restart,
    Pause(u8),
}

#[derive(Debug, Clone, Copy)]
enum Moods {
    Answers,
    Lost,
    Arriving,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5_u8, 1..6_u8).prop_map(|(senders, each)| Step::Send { senders, each }),
        3 => (1..6_u8).prop_map(Step::SendAlone),
        3 => prop_oneof![Just(Moods::Answers), Just(Moods::Lost), Just(Moods::Arriving)].prop_map(Step::Become),
        1 => (0..PARTITIONS, any::<bool>()).prop_map(|(partition, is_there)| Step::Lead(partition, is_there)),
        2 => (any::<bool>(), any::<u64>()).prop_map(|(power, choice)| Step::Crash { power, choice }),
        1 => Just(Step::Restart),
        2 => (0..40_u8).prop_map(Step::Pause),
    ]
}

/// When a request was sent and acknowledged, counted in events of the run.
#[derive(Debug, Clone, Copy)]
struct Life {
    partition: u32,
    sent: u64,
    acknowledged: Option<u64>,
}

#[derive(Default)]
struct Book {
    /// The life of the process that counts; what an earlier one still says is not heard.
    life: u64,
    requests: BTreeMap<String, Life>,
}

struct Run {
    cluster: Cluster,
    disk: SimDisk,
    spilling: Arc<Spilling<Cluster>>,
    senders: JoinSet<()>,
    book: Arc<Mutex<Book>>,
    clock: Arc<AtomicU64>,
    crashes: usize,
}

impl Run {
    fn new() -> Self {
        let (cluster, disk) = (Cluster::new(Mood::Answers), SimDisk::new());
        let spilling = Arc::new(start(&cluster, &disk));
        Self {
            cluster,
            disk,
            spilling,
            senders: JoinSet::new(),
            book: Arc::default(),
            clock: Arc::default(),
            crashes: 0,
        }
    }

    fn send(&mut self, each: u8) {
        let (spilling, book, clock) = (self.spilling.clone(), self.book.clone(), self.clock.clone());
        let life = self.book.lock().life;
        self.senders.spawn(async move {
            for _ in 0..each {
                let sent = clock.fetch_add(1, SeqCst);
                let (partition, text) = (sent as u32 % PARTITIONS, format!("{sent:06}"));
                let lived = Life {
                    partition,
                    sent,
                    acknowledged: None,
                };
                book.lock().requests.insert(text.clone(), lived);
                let appended = spilling.intake.append(&[request(partition, &text)]).await;
                let mut book = book.lock();
                if book.life != life || appended.is_err() {
                    return;
                }
                let lived = book.requests.get_mut(&text).expect("it was entered");
                lived.acknowledged = Some(clock.fetch_add(1, SeqCst));
            }
        });
    }

    async fn answered(&mut self) {
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("no sender panics");
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Send { senders, each } => (0..senders).for_each(|_| self.send(each)),
            Step::SendAlone(each) => {
                self.send(each);
                self.answered().await;
            }
            Step::Become(Moods::Answers) => self.cluster.become_(Mood::Answers),
            Step::Become(Moods::Lost) => self.cluster.become_(Mood::Silent { arrives: false }),
            Step::Become(Moods::Arriving) => self.cluster.become_(Mood::Silent { arrives: true }),
            Step::Lead(partition, is_there) => self.cluster.lead(partition, is_there),
            Step::Crash { power, choice } => self.crash(power, choice).await,
            Step::Restart => {
                self.answered().await;
                self.spilling
                    .close(Duration::from_millis(20))
                    .await
                    .expect("a clean stop");
                self.begin_again(self.disk.killed()).await;
            }
            Step::Pause(millis) => tokio::time::sleep(Duration::from_millis(u64::from(millis))).await,
        }
    }

    async fn crash(&mut self, power: bool, mut choice: u64) {
        let disk = {
            // Nothing is acknowledged any more from here on.
            self.book.lock().life += 1;
            if power {
                self.disk.power_loss(&mut |count| {
                    choice = choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    usize::try_from(choice >> 33).unwrap_or(0) % count
                })
            } else {
                self.disk.killed()
            }
        };
        self.crashes += 1;
        self.senders.shutdown().await;
        self.begin_again(disk).await;
    }

    async fn begin_again(&mut self, disk: SimDisk) {
        self.spilling.end().await;
        self.disk = disk;
        self.spilling = Arc::new(start(&self.cluster, &self.disk));
    }

    async fn finish(mut self) {
        for partition in 0..PARTITIONS {
            self.cluster.lead(partition, true);
        }
        self.cluster.become_(Mood::Answers);
        self.answered().await;
        straight(&self.spilling).await;
        self.spilling
            .close(Duration::from_millis(20))
            .await
            .expect("a clean stop");
        let book = self.book.lock();
        for partition in 0..PARTITIONS {
            self.check(partition, &book);
        }
    }

    fn check(&self, partition: u32, book: &Book) {
        let firsts = self.cluster.firsts(partition);
        let places: BTreeMap<&String, usize> = firsts.iter().zip(0..).collect();
        let acknowledged = book
            .requests
            .iter()
            .filter(|(_, life)| life.partition == partition && life.acknowledged.is_some());
        // By place: nobody may stand before one that was acknowledged before he was sent.
        let mut latest_sent = 0;
        let mut in_order: Vec<_> = acknowledged
            .map(|(text, life)| {
                let place = places.get(text).unwrap_or_else(|| panic!("{text} is lost"));
                (*place, life)
            })
            .collect();
        in_order.sort_by_key(|(place, _)| *place);
        for (place, life) in in_order {
            assert!(
                life.acknowledged.is_some_and(|at| at > latest_sent),
                "{} stands before what came after it",
                firsts[place]
            );
            latest_sent = latest_sent.max(life.sent);
        }
        let (mut seen, in_doubt) = (HashSet::new(), self.cluster.in_doubt());
        for (text, _) in self.cluster.partition(partition) {
            let is_repeat = !seen.insert(text.clone());
            assert!(
                !is_repeat || in_doubt.contains(&text) || self.crashes > 0,
                "{text} came twice without need"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_in_kafka_in_order_whatever_happened(
        steps in prop::collection::vec(step(), 1..25)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut run = Run::new();
            for step in steps {
                run.take(step).await;
            }
            run.finish().await;
        });
    }
}
