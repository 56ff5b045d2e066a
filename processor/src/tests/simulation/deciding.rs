//! How an owner of the simulated world decides: whose turn it is, dedupe → order → debounce → detect over the real tables,
//! and the ends of windows. In: what was sent and where it lies. Out: entries of the history, and rows. Commits nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_registry::{FloodPolicy, Keep};
use tidegate_schemas::{EventId, UnixMillis};

use super::Fault;
use super::events::Sent;
use super::history::{Became, Entry, Lies, Moment, Turned};
use super::house::House;
use super::owner::{Owner, Work};
use super::random::Random;
use crate::fairness::{Asking, turn};
use crate::flood::{Arrival, Content, DeliveryKey, Ended, Fate};
use crate::set_aside::Entry as Pointer;
use crate::state::{Aside, Turn};
use crate::steps::debounce::Place;

/// What one batch comes to.
pub struct Batch {
    pub entries: Vec<Entry>,
    pub rows: BTreeMap<EventId, Became>,
    pub at: Moment,
    pub policy: Arc<FloodPolicy>,
}

impl Owner {
    pub(super) fn decide_work(
        &mut self,
        work: Work,
        (house, random): (&House, &mut Random),
        batch: &mut Batch,
    ) {
        match work {
            Work::Aside(Aside { entry, .. }) => {
                let lies = (entry.offset, entry.position.unwrap_or(0));
                self.ask((house.at(lies.0, lies.1), lies), (true, house, random), batch);
            }
            Work::Request(offset) => {
                for (position, sent) in house.requests[offset].iter().enumerate() {
                    let lies = (offset as u64, position as u32);
                    self.ask((sent.clone(), lies), (false, house, random), batch);
                }
                self.input = offset + 1;
            }
        }
    }

    /// set aside?
    fn ask(
        &mut self,
        (sent, lies): (Arc<Sent>, Lies),
        (in_turn, house, random): (bool, &House, &mut Random),
        batch: &mut Batch,
    ) {
        let asking = Asking {
            integration: &house.integration,
            connection: Some(sent.connection),
            policy: &batch.policy,
            entry: Pointer {
                offset: lies.0,
                position: Some(lies.1),
                replay: false,
            },
            in_turn,
        };
        let unfair = house.has(Fault::Unfair) || (house.has(Fault::Overtake) && random.one_in(20));
        let turned = if unfair && !in_turn {
            Turn::Now
        } else {
            turn(&asking, &mut self.state, batch.at.owners)
        };
        let turned = match turned {
            Turn::Now if in_turn => Turned::InTurn,
            Turn::Now => Turned::AtOnce,
            Turn::NoRoom => Turned::NoRoom,
            Turn::Later => {
                return batch.entries.push(Entry::SetAside {
                    sent,
                    policy: batch.policy.clone(),
                    at: batch.at,
                    lies,
                });
            }
        };
        self.decide((sent, lies, turned), house, batch);
    }

    /// dedupe → order → debounce → detect, as the pipeline has it.
    fn decide(&mut self, (sent, lies, turned): (Arc<Sent>, Lies, Turned), house: &House, batch: &mut Batch) {
        let policy = policy_of(batch, house);
        let delivery = sent.delivery.map(|delivery| delivery.to_string());
        let arrival = arrival((&sent, lies), delivery.as_deref(), house);
        let judged = self.state.flood.judge(&arrival, &policy, batch.at.owners);
        if let Some(ended) = judged.before
            && !house.has(Fault::DropFlush)
        {
            self.end(ended, house, batch);
        }
        let became = match judged.fate {
            Fate::Repeat => Became::Repeat,
            Fate::Duplicate => Became::Duplicate,
            Fate::Stale(_) => Became::Stale,
            Fate::Held(window) => Became::Held(window),
            Fate::Passes(window) => self.hand_on(&sent, (window, &policy), house),
        };
        if became != Became::Repeat {
            batch.rows.insert(sent.id, became);
        }
        batch.entries.push(Entry::Decided {
            sent,
            policy: batch.policy.clone(),
            at: batch.at,
            became,
            lies,
            turned,
        });
        if let Some(ended) = judged.after {
            self.end(ended, house, batch);
        }
    }

    pub(super) fn end(&mut self, ended: Ended, house: &House, batch: &mut Batch) {
        let window = ended.window;
        let policy = batch.policy.clone();
        let at = |place: Place| house.at(place.offset, place.position);
        let kept = window.kept.map(at).map(|sent| {
            let knows = ended.kept_id() == sent.id || house.world.fault.is_some();
            assert!(knows, "window {} knows the id of what it keeps", window.id);
            let became = self.hand_on(&sent, (Some(window.id), &policy), house);
            batch.rows.insert(sent.id, became);
            (sent, became)
        });
        let listed = ended.members.places().map(|place| at(place).id);
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
    fn hand_on(
        &mut self,
        sent: &Sent,
        (window, policy): (Option<EventId>, &FloodPolicy),
        house: &House,
    ) -> Became {
        let Some(object) = sent.object else {
            return Became::HandedOn(window);
        };
        let flood = &mut self.state.flood;
        let object = flood.object(house.integration.id, sent.connection, object);
        if sent.deleted {
            flood.forget_content(object);
            return Became::HandedOn(window);
        }
        let Some(content) = sent.content.filter(|_| policy.detect_changes) else {
            return Became::HandedOn(window);
        };
        // The same content comes in two spellings.
        let spelling = content * 2 + u64::from(sent.payload_bytes % 2);
        let raw = Random::new(spelling).number();
        let canonical = Random::new(content + 1000).number();
        match flood.detect(object, raw, || canonical) {
            Content::Unchanged(_) => Became::Unchanged(window),
            Content::Changed | Content::Unknown => Became::HandedOn(window),
        }
    }
}

/// The policy by which an event is judged; one that is broken on purpose is not what the history says.
fn policy_of(batch: &Batch, house: &House) -> Arc<FloodPolicy> {
    if !house.has(Fault::ExtendPastMaxWait) {
        return batch.policy.clone();
    }
    let mut policy = (*batch.policy).clone();
    if let Some(debounce) = &mut policy.debounce {
        debounce.max_wait = Duration::from_secs(3600);
    }
    Arc::new(policy)
}

fn arrival<'a>((sent, lies): (&'a Sent, Lies), delivery: Option<&'a str>, house: &House) -> Arrival<'a> {
    let keeps_older = house.has(Fault::KeepOlder);
    Arrival {
        id: sent.id,
        integration: house.integration.id,
        connection: Some(sent.connection),
        event_type: sent.event_type,
        place: Place {
            offset: lies.0,
            position: lies.1,
        },
        received_at: sent.received_at,
        delivery: delivery.map(DeliveryKey::Id),
        object: sent.object,
        deleted: sent.deleted,
        version: sent
            .version
            .map(|version| if keeps_older { -version } else { version }),
        time: sent.time.map(UnixMillis),
        payload_bytes: sent.payload_bytes,
        on_demand: false,
    }
}
