//! Beginning attempts: as many as the endpoint's gate lets pass, while there are deliveries at hand. In: a queue that
//! has changed. Out: tasks that make one attempt each. Judges no answer.

use std::sync::Arc;
use std::time::Duration;

use tidegate_schemas::Reason;

use super::super::attempt::attempt;
use super::super::destination::Destination;
use super::super::gate::{Entry, Permit};
use super::queue::Lookup;
use super::{Owner, State, Work};

/// How the endpoint stands in the registry.
enum Standing {
    /// It may be tried.
    On(Arc<Destination>),
    /// It is switched off, or answered 410 and will be.
    Off,
    /// It is not there, and the registry was read to its end.
    Deleted,
    /// It is not there, and that is being made sure of.
    Asked,
}

impl Owner {
    /// Begins what may be begun at an endpoint, and has more read where it waits.
    pub(super) fn launch(&mut self, index: u32) {
        self.refill(index);
        if self.queue(index).ready.is_empty() {
            return;
        }
        let destination = match self.standing(index) {
            Standing::On(destination) => destination,
            Standing::Off => {
                self.queue(index).off = true;
                let recheck = Duration::from_millis(self.shared.config.off_recheck_ms);
                return self.block(index, self.shared.clock.now().after(recheck));
            }
            Standing::Deleted => return self.cancel_all(index),
            Standing::Asked => return,
        };
        self.queue(index).off = false;
        while !self.queue(index).ready.is_empty() {
            let gate = self.queue(index).gate.clone();
            match self.shared.gates.enter(&gate, &self.wake) {
                Entry::Go(permit) => self.begin(index, destination.clone(), permit),
                Entry::Busy => break,
                Entry::Open(until) => return self.block(index, until),
            }
        }
        self.refill(index);
    }

    fn begin(&mut self, index: u32, destination: Arc<Destination>, permit: Permit) {
        let Some((key, event)) = self.dequeue(index) else {
            return;
        };
        let timeout = destination.timeout(Duration::from_millis(self.shared.config.timeout_ms));
        let until = self.shared.clock.now().after(timeout);
        let Some(live) = self.live.get_mut(&key) else {
            return;
        };
        live.state = State::InFlight { until };
        let number = u32::from(live.tries) + 1;
        self.batch.begun.push(key);
        let shared = self.shared.clone();
        let task = self.works.spawn(async move {
            let attempted = attempt(&shared, event, destination, (number, permit)).await;
            Work::Attempted(key, Box::new(attempted))
        });
        self.attempts.insert(task.id(), key);
    }

    fn standing(&mut self, index: u32) -> Standing {
        let shared = self.shared.clone();
        let queue = self.queue(index);
        let known = queue.destination.as_ref();
        let Some(current) = Destination::current(&shared.registry, &shared.client, queue.endpoint, known)
        else {
            queue.destination = None;
            return self.make_sure(index);
        };
        queue.lookup = Lookup::Unknown;
        queue.destination = Some(current.clone());
        if current.endpoint.is_enabled() && !queue.gate.is_gone(current.endpoint.version) {
            Standing::On(current)
        } else {
            Standing::Off
        }
    }

    /// An endpoint that is not in the registry is deleted only if it is still not there at the registry's end.
    fn make_sure(&mut self, index: u32) -> Standing {
        let queue = self.queue(index);
        match queue.lookup {
            Lookup::Missing => return Standing::Deleted,
            Lookup::Asked => return Standing::Asked,
            Lookup::Unknown => queue.lookup = Lookup::Asked,
        }
        let registry = self.shared.registry.clone();
        self.works
            .spawn(async move { Work::LookedUp(index, registry.read_to_end().await.is_ok()) });
        Standing::Asked
    }

    pub(super) fn looked_up(&mut self, index: u32, certain: bool) {
        let until = self.shared.clock.now().after(Duration::from_secs(1));
        let queue = self.queue(index);
        queue.lookup = if certain { Lookup::Missing } else { Lookup::Unknown };
        if !certain {
            self.block(index, until);
        }
    }

    /// Its endpoint is deleted: everything at hand is cancelled.
    fn cancel_all(&mut self, index: u32) {
        while let Some((key, event)) = self.dequeue(index) {
            self.close(key, &event, Reason::EndpointDeleted);
        }
        self.refill(index);
    }

    /// The endpoint's name; empty when it is not in the registry.
    pub(super) fn name_of(&mut self, index: u32) -> String {
        let destination = self.queue(index).destination.as_ref();
        destination
            .map(|destination| destination.endpoint.name.clone())
            .unwrap_or_default()
    }
}
