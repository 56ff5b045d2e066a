//! Turns alone, on a virtual clock and without a log: rates, what is set aside, and in which order it is served, by the same
//! code as an owner's; for measuring. In: events of one integration, by connection. Out: whose turn it is, and what there is
//! to write. Decides nothing about an event.

use std::sync::Arc;

use tidegate_broker::journal::Changes;
use tidegate_registry::{FloodPolicy, Integration, RateLimit};
use tidegate_schemas::{EnvironmentId, UnixMillis};

use crate::config::FloodConfig;
use crate::fairness::{Asking, connection_of, turn};
use crate::flood::FingerprintKey;
use crate::held::HeldLimit;
use crate::set_aside::Entry;
use crate::state::{Aside, State, StateLimits, Turn};

/// The turns of one integration's connections, in one partition.
#[derive(Debug)]
pub struct RehearsedTurns {
    state: State,
    integration: Integration,
    policy: FloodPolicy,
}

impl RehearsedTurns {
    /// Every connection goes at `limit`; what exceeds it is set aside within `bytes_max` bytes.
    #[must_use]
    pub fn new(limit: RateLimit, bytes_max: usize) -> Self {
        let mut state = State::new(&StateLimits {
            set_aside_bytes_max: bytes_max,
            flood: FloodConfig::default().limits(1),
            held: HeldLimit::new(0),
        });
        state.flood.begin(UnixMillis(1), || FingerprintKey([0; 16]));
        let environment = EnvironmentId(uuid::Uuid::nil());
        let mut integration = Integration::new(environment, "rehearsed", "rehearsed", UnixMillis(1));
        integration.partitions = vec![0];
        Self {
            state,
            integration,
            policy: FloodPolicy {
                rate: Some(limit),
                ..FloodPolicy::default()
            },
        }
    }

    /// Whether an event of `connection` at `offset` may be decided at once; else it is set aside, if there is room.
    pub fn come(&mut self, connection: &str, offset: u64, now: UnixMillis) -> bool {
        self.turn(connection, (offset, false), now) != Turn::Later
    }

    /// Those whose turn has come, with their queues' names (the integration's id, `/`, the connection); they are set aside no
    /// more.
    pub fn serve(&mut self, now: UnixMillis) -> Vec<(Arc<str>, u64)> {
        let mut served = Vec::new();
        for run in self.state.turns(now) {
            let aside = |entry: &Entry| Aside {
                key: run.key.clone(),
                entry: *entry,
                since: run.since,
            };
            let asides: Vec<Aside> = run.entries.iter().map(aside).collect();
            self.state.take_out(asides.iter());
            let connection = connection_of(&run.key.0).unwrap_or_default();
            for entry in &run.entries {
                self.turn(connection, (entry.offset, true), now);
                served.push((run.key.0.name.clone(), entry.offset));
            }
        }
        served
    }

    /// When somebody's turn comes next, if anybody waits.
    #[must_use]
    pub fn due_at(&self) -> Option<UnixMillis> {
        self.state.set_aside().due_at()
    }

    /// Bytes that what is set aside counts for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state.set_aside().len_bytes()
    }

    /// What changed since the last call, as a journal's message would hold it.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::new();
        self.state.write_changes(&mut changes);
        changes
    }

    fn turn(&mut self, connection: &str, (offset, in_turn): (u64, bool), now: UnixMillis) -> Turn {
        let asking = Asking {
            integration: &self.integration,
            connection: Some(connection),
            policy: &self.policy,
            entry: Entry {
                offset,
                position: Some(0),
                replay: false,
            },
            in_turn,
        };
        turn(&asking, &mut self.state, now)
    }
}
