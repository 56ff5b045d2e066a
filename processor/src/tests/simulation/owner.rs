//! The simulated world around flood control: a log of requests, a journal with its epochs and slices, clocks, and owners
//! that die at every point of a commit, or sleep while another takes over. In: chance. Out: a history.
//! The journal is Kafka's kind: whoever appends learns by the offset whether it is still the owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::journal::Changes;
use tidegate_registry::{FloodPolicy, Keep};
use tidegate_schemas::{EventId, IntegrationId, UnixMillis};
use uuid::Uuid;

use super::Fault;
use super::events::Sent;
use super::history::{Became, Entry, History, Moment, Row};
use super::policies::policies;
use super::random::Random;
use crate::flood::{Arrival, Content, DeliveryKey, Ended, Fate, FingerprintKey, FloodControl, Limits};
use crate::steps::debounce::Place;

const INTEGRATION: IntegrationId = IntegrationId(Uuid::from_u128(77));
/// What work takes, in virtual microseconds: a decision or the end of a window, an append, a message that is read again.
const DECIDE: u64 = 20;
const APPEND: u64 = 300;
const READ: u64 = 5;

/// The owner's process has died, or it found that it is the owner no more.
#[derive(Debug)]
pub struct Gone;

struct Message {
    epoch: usize,
    /// `None` for an `open`.
    commit: Option<Committed>,
}

struct Committed {
    input: usize,
    slices: Changes,
    changes: Changes,
    entries: Vec<Entry>,
}

/// Everything that outlives an owner.
pub struct House {
    fault: Option<Fault>,
    time: u64,
    /// What was spent of the next millisecond.
    micros: u64,
    wall: u64,
    requests: Vec<Vec<Arc<Sent>>>,
    journal: Vec<Message>,
    /// What lies before it was trimmed.
    journal_from: usize,
    opens: Vec<usize>,
    policies: Vec<Arc<FloodPolicy>>,
    policy: usize,
    history: History,
}

impl House {
    pub fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            time: 0,
            micros: 0,
            wall: 1_000_000_000,
            requests: Vec::new(),
            journal: Vec::new(),
            journal_from: 0,
            opens: Vec::new(),
            policies: policies().into_iter().map(Arc::new).collect(),
            policy: 1,
            history: History::default(),
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, millis: u64) {
        if millis > super::STEP_MILLIS_MAX {
            self.history.pauses.push((self.time, self.time + millis));
        }
        self.time += millis;
        self.wall += millis;
    }

    /// Spends the time that work takes.
    fn spend(&mut self, micros: u64) {
        self.micros += micros;
        self.time += self.micros / 1000;
        self.wall += self.micros / 1000;
        self.micros %= 1000;
    }

    /// Sets the system's clock, forth or back.
    pub fn set_clock(&mut self, random: &mut Random) {
        self.wall = self.wall + random.below(4_000) - 2_000;
    }

    pub fn change_policy(&mut self, random: &mut Random) {
        self.policy = random.below(self.policies.len() as u64) as usize;
    }

    pub fn wall(&self) -> UnixMillis {
        UnixMillis(self.wall)
    }

    pub fn append(&mut self, bundle: Vec<Arc<Sent>>) {
        self.history.sent.extend(bundle.iter().cloned());
        self.requests.push(bundle);
    }

    /// One of the last requests.
    pub fn some_request(&self, random: &mut Random) -> Option<Vec<Arc<Sent>>> {
        let back = random.below(20) as usize + 1;
        let request = self.requests.get(self.requests.len().checked_sub(back)?)?;
        // Without a delivery id it would be decided twice, which is allowed.
        request
            .iter()
            .all(|sent| sent.delivery.is_some())
            .then(|| request.clone())
    }

    /// What happened, as the journal has it.
    pub fn into_history(mut self) -> History {
        let mut epoch = 0;
        for (offset, message) in self.journal.into_iter().enumerate() {
            match message.commit {
                None => epoch = offset,
                Some(committed) if message.epoch == epoch => self.history.entries.extend(committed.entries),
                Some(_) => {}
            }
        }
        self.history
    }

    fn at(&self, place: Place) -> Arc<Sent> {
        self.requests[place.offset as usize][place.position as usize].clone()
    }
}

/// One owner.
pub struct Owner {
    flood: FloodControl,
    input: usize,
    epoch: usize,
    next: usize,
    opened: (u64, u64),
    cursor: Option<Vec<u8>>,
    round_from: Option<usize>,
}

/// What one batch comes to.
struct Batch {
    entries: Vec<Entry>,
    rows: BTreeMap<EventId, Became>,
    at: Moment,
    policy: Arc<FloodPolicy>,
}

impl Batch {
    fn decided(&mut self, sent: Arc<Sent>, became: Became) {
        if became != Became::Repeat {
            self.rows.insert(sent.id, became);
        }
        self.entries.push(Entry::Decided {
            sent,
            policy: self.policy.clone(),
            at: self.at,
            became,
        });
    }
}

impl Owner {
    /// Opens the journal and restores what it holds.
    pub fn open(house: &mut House, limits: &Limits) -> Self {
        let epoch = match (house.fault, house.opens.last()) {
            (Some(Fault::ForgetOpen), Some(last)) => *last,
            _ => {
                let epoch = house.journal.len();
                house.journal.push(Message { epoch, commit: None });
                house.opens.push(epoch);
                house.history.epochs.insert(epoch, house.time);
                epoch
            }
        };
        let began = house.time;
        house.spend(READ * (house.journal.len() - house.journal_from) as u64);
        house.history.pauses.push((began, house.time));
        let mut flood = FloodControl::within(limits);
        let mut input = 0;
        for (offset, message) in house.journal.iter().enumerate().skip(house.journal_from) {
            let latest = house.opens.iter().rev().find(|open| **open <= offset);
            let Some(committed) = message.commit.as_ref().filter(|_| latest == Some(&message.epoch)) else {
                continue;
            };
            for changes in [&committed.slices, &committed.changes] {
                for change in Changes::decode(changes.as_bytes()) {
                    flood.apply(change.expect("whole")).expect("as it was written");
                }
            }
            input = committed.input;
        }
        flood.begin(house.wall(), || FingerprintKey([5; 16]));
        Self {
            flood,
            input,
            epoch,
            next: house.journal.len(),
            opened: (house.wall, house.time),
            cursor: None,
            round_from: None,
        }
    }

    /// Fires what is due, decides some requests, and commits; it may die on the way.
    pub fn work(&mut self, house: &mut House, random: &mut Random) -> Result<(), Gone> {
        let requests = random.below(4) as usize;
        let dies_at = if random.one_in(300) {
            random.below(3)
        } else {
            u64::MAX
        };
        let mut batch = self.batch(house);
        for ended in self.flood.fire(batch.at.owners, 100) {
            self.end(ended, house, &mut batch);
        }
        let from = self.input;
        while self.input < house.requests.len() && self.input < from + requests {
            let offset = self.input;
            for (position, sent) in house.requests[offset].clone().into_iter().enumerate() {
                let place = Place {
                    offset: offset as u64,
                    position: position as u32,
                };
                self.decide((sent, place), house, &mut batch);
            }
            self.input += 1;
        }
        house.spend(DECIDE * batch.entries.len() as u64);
        let bytes = self.flood.fill();
        let bytes = bytes.seen_bytes + bytes.objects_bytes + bytes.windows_bytes;
        house.history.bytes_most = house.history.bytes_most.max(bytes);
        if dies_at == 0 {
            return Err(Gone);
        }
        let (commit, first_row) = (self.next, house.history.rows.len());
        let rows = batch.rows.iter();
        house.history.rows.extend(rows.map(|(id, became)| Row {
            id: *id,
            became: *became,
            commit,
            committed: false,
        }));
        if dies_at == 1 {
            return Err(Gone);
        }
        house.spend(APPEND);
        let appended = self.commit(batch.entries, house);
        if house.fault == Some(Fault::DoubleCount) && random.one_in(50) {
            self.input = from;
        }
        if appended != commit {
            return Err(Gone);
        }
        house.history.rows[first_row..]
            .iter_mut()
            .for_each(|row| row.committed = true);
        if dies_at == 2 { Err(Gone) } else { Ok(()) }
    }

    /// Works until everything is decided and no window is open.
    pub fn drain(&mut self, house: &mut House, limits: &Limits) {
        let mut random = Random::new(1);
        for _ in 0..1_000_000 {
            house.pass(super::STEP_MILLIS_MAX);
            if self.work(house, &mut random).is_err() {
                *self = Owner::open(house, limits);
            } else if self.input == house.requests.len() && self.flood.open_windows() == 0 {
                return;
            }
        }
        panic!(
            "{} requests of {} decided, {} windows open",
            self.input,
            house.requests.len(),
            self.flood.open_windows()
        );
    }

    fn batch(&self, house: &House) -> Batch {
        let (wall, time) = self.opened;
        Batch {
            entries: Vec::new(),
            rows: BTreeMap::new(),
            at: Moment {
                owners: UnixMillis(wall + house.time - time),
                worlds: house.time,
                epoch: self.epoch,
            },
            policy: house.policies[house.policy].clone(),
        }
    }

    fn decide(&mut self, (sent, place): (Arc<Sent>, Place), house: &House, batch: &mut Batch) {
        let mut policy = (*batch.policy).clone();
        if let (Some(Fault::ExtendPastMaxWait), Some(debounce)) = (house.fault, &mut policy.debounce) {
            debounce.max_wait = Duration::from_secs(3600);
        }
        let keeps_older = house.fault == Some(Fault::KeepOlder);
        let delivery = sent.delivery.map(|delivery| delivery.to_string());
        let arrival = Arrival {
            id: sent.id,
            integration: INTEGRATION,
            connection: Some(sent.connection),
            event_type: sent.event_type,
            place,
            received_at: sent.received_at,
            delivery: delivery.as_deref().map(DeliveryKey::Id),
            object: sent.object,
            deleted: sent.deleted,
            version: sent
                .version
                .map(|version| if keeps_older { -version } else { version }),
            time: sent.time.map(UnixMillis),
            payload_bytes: sent.payload_bytes,
            on_demand: false,
        };
        let judged = self.flood.judge(&arrival, &policy, batch.at.owners);
        if let Some(ended) = judged.before
            && house.fault != Some(Fault::DropFlush)
        {
            self.end(ended, house, batch);
        }
        let became = match judged.fate {
            Fate::Repeat => Became::Repeat,
            Fate::Duplicate => Became::Duplicate,
            Fate::Stale(_) => Became::Stale,
            Fate::Held(window) => Became::Held(window),
            Fate::Passes(window) => self.hand_on(&sent, (window, &policy)),
        };
        batch.decided(sent, became);
        if let Some(ended) = judged.after {
            self.end(ended, house, batch);
        }
    }

    fn end(&mut self, ended: Ended, house: &House, batch: &mut Batch) {
        let window = ended.window;
        let policy = batch.policy.clone();
        let kept = window.kept.map(|place| house.at(place)).map(|sent| {
            let knows = ended.kept_id() == sent.id || house.fault.is_some();
            assert!(knows, "window {} knows the id of what it keeps", window.id);
            let became = self.hand_on(&sent, (Some(window.id), &policy));
            batch.rows.insert(sent.id, became);
            (sent, became)
        });
        let listed = ended.members.places().map(|place| house.at(place).id);
        batch.entries.push(Entry::Ended {
            window: window.id,
            count: window.count,
            ids: ended.ids(),
            kept,
            listed: if window.keep == Keep::All {
                listed.collect()
            } else {
                Vec::new()
            },
            policy,
            at: batch.at,
        });
    }

    /// detect, as the pipeline has it.
    fn hand_on(&mut self, sent: &Sent, (window, policy): (Option<EventId>, &FloodPolicy)) -> Became {
        let Some(object) = sent.object else {
            return Became::HandedOn(window);
        };
        let object = self.flood.object(INTEGRATION, sent.connection, object);
        if sent.deleted {
            self.flood.forget_content(object);
            return Became::HandedOn(window);
        }
        let Some(content) = sent.content.filter(|_| policy.detect_changes) else {
            return Became::HandedOn(window);
        };
        // The same content comes in two spellings.
        let spelling = content * 2 + u64::from(sent.payload_bytes % 2);
        let raw = Random::new(spelling).number();
        let canonical = Random::new(content + 1000).number();
        match self.flood.detect(object, raw, || canonical) {
            Content::Unchanged(_) => Became::Unchanged(window),
            Content::Changed | Content::Unknown => Became::HandedOn(window),
        }
    }

    /// Appends what was decided; the offset that it got.
    fn commit(&mut self, entries: Vec<Entry>, house: &mut House) -> usize {
        let mut changes = Changes::new();
        self.flood.write_changes(&mut changes);
        let mut slices = Changes::new();
        let bytes = (2 * changes.len_bytes()).max(512);
        self.cursor = self.flood.slice(self.cursor.as_deref(), bytes, &mut slices);
        let offset = house.journal.len();
        let round_from = *self.round_from.get_or_insert(offset);
        if self.cursor.is_none() {
            if offset == self.next {
                house.journal_from = house.journal_from.max(round_from);
            }
            self.round_from = None;
        }
        house.journal.push(Message {
            epoch: self.epoch,
            commit: Some(Committed {
                input: self.input,
                slices,
                changes,
                entries,
            }),
        });
        self.next += 1;
        offset
    }
}
