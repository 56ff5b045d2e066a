//! Reading the journal into memory, for as long as the process lives.
//! In: the topic `registry`. Out: tables that are never behind for long, and word of how far they are. Writes nothing.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::journal::{
    ChangeError, Changes, JournalError, Progress, Replay, Tables as Journalled, Telling,
};
use tidegate_broker::{Broker, Error, Reader};
use tidegate_schemas::Topic;

use crate::PARTITION;
use crate::change::Change;
use crate::config::Config;
use crate::copy::{self, CopyError};
use crate::keyring::Keyring;
use crate::metrics;
use crate::registry::{Applied, Registry, Shared};
use crate::tables::{Cursor, Tables};

/// Messages and bytes read at a time.
const READ_MAX: (usize, usize) = (256, 8 * 1024 * 1024);
/// How soon a question that was not answered is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Reads the registry's journal into a [`Registry`] while [`Follower::run`] is polled.
pub struct Follower {
    shared: Arc<Shared>,
    broker: Broker,
    reader: Reader,
    replay: Replay,
}

impl Follower {
    /// A registry that is read from its journal. It is empty until the follower runs: wait for [`Registry::ready`].
    /// Without details (metadata, tags and secrets of connections) it is smaller.
    #[must_use]
    pub fn open(
        broker: &Broker,
        keyring: Arc<Keyring>,
        (config, keeps_details): (&Config, bool),
    ) -> (Registry, Self) {
        let tables = Tables::new(keyring, keeps_details);
        Self::over(broker, tables, (config, 0))
    }

    /// As [`Follower::open`], but begins with the copy that [`Registry::save_copy`] left at `path`, and reads only what
    /// came since. Until [`Registry::ready`] or [`Registry::read_to_end`] has returned, the registry says that it runs
    /// on its copy. A copy from before what the journal still holds is of no use and left out, and so is a missing one.
    /// While the broker was never reached nobody can tell: then [`Follower::run`] finds it out later.
    ///
    /// # Errors
    /// [`CopyError`] when the file is damaged or its secrets do not open: delete it, and the journal is read whole.
    pub fn open_copy(
        broker: &Broker,
        keyring: Arc<Keyring>,
        (config, keeps_details, path): (&Config, bool, &Path),
    ) -> Result<(Registry, Self), CopyError> {
        let mut tables = Tables::new(keyring.clone(), keeps_details);
        let copied = copy::read(path, &mut tables)?;
        let held = broker.offsets(Topic::Registry, PARTITION);
        let goes_on = |copied: &Applied| !broker.is_connected() || goes_on_in(&held, copied.next);
        let Some(copied) = copied.filter(goes_on) else {
            return Ok(Self::open(broker, keyring, (config, keeps_details)));
        };
        let (registry, mut follower) = Self::over(broker, tables, (config, copied.next));
        follower.replay.epoch = copied.epoch;
        registry.shared.applied.send_modify(|applied| *applied = copied);
        Ok((registry, follower))
    }

    /// A registry that holds `tables` already and goes on from offset `from`.
    pub(crate) fn over(broker: &Broker, tables: Tables, (config, from): (&Config, u64)) -> (Registry, Self) {
        let end_wait = Duration::from_millis(config.end_wait_ms);
        let registry = Registry::over(tables, Some(broker.clone()), end_wait);
        let follower = Self {
            shared: registry.shared.clone(),
            broker: broker.clone(),
            reader: broker.reader(Topic::Registry, PARTITION, from),
            replay: Replay::default(),
        };
        (registry, follower)
    }

    /// Applies what comes until the broker closes. Whoever waits for the registry is told when this ends, for
    /// whatever reason, dropped included.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read on: a change of a newer version, a secret that does not open,
    /// damage, or a copy from before what the journal still holds. Nothing is skipped: this process must not go on
    /// deciding with what it knows.
    pub async fn run(mut self) -> Result<(), JournalError> {
        self.check_copy().await?;
        let mut telling = Some(Telling::of(&self.broker, (Topic::Registry, PARTITION)));
        loop {
            let messages = match self.reader.next(READ_MAX.0, READ_MAX.1).await {
                Ok(messages) => messages,
                Err(Error::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for message in &messages {
                let mut tables = self.shared.tables.write();
                self.replay.take(message, &mut *tables)?;
            }
            self.publish();
            let come = Progress {
                offset: self.reader.position(),
                end: self.broker.offsets(Topic::Registry, PARTITION).end,
            };
            match &mut telling {
                Some(telling) if come.offset < come.end => telling.tell(come),
                _ => drop(telling.take().map(Telling::ended)),
            }
        }
    }

    /// Whether the journal goes on where the copy ends, once it can be told.
    async fn check_copy(&self) -> Result<(), JournalError> {
        let next = self.reader.position();
        if next == 0 {
            return Ok(());
        }
        let held = loop {
            match self.broker.latest(Topic::Registry).await {
                Ok(ranges) => break ranges.into_iter().next().unwrap_or_default(),
                Err(Error::Closed) => return Ok(()),
                Err(error) => tracing::debug!(%error, "it is not known yet whether the copy is of use"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        };
        if goes_on_in(&held, next) {
            return Ok(());
        }
        Err(JournalError::Read(Error::Config(format!(
            "the registry's copy ends at offset {next}, its journal holds {held:?}: start this process again, it reads the journal then"
        ))))
    }

    fn publish(&self) {
        let next = self.reader.position();
        metrics::applied(next, self.shared.tables.read().connections_count());
        self.shared.applied.send_modify(|applied| {
            applied.next = next;
            applied.epoch = self.replay.epoch;
            applied.replay.clone_from(&self.replay);
        });
    }
}

/// Whether a journal that holds these offsets can be read on from `next`.
fn goes_on_in(held: &Range<u64>, next: u64) -> bool {
    held.start <= next && next <= held.end
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.applied.send_modify(|applied| applied.stopped = true);
    }
}

impl Journalled for Tables {
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        self.apply_encoded(change)
            .map_err(|error| ChangeError::new(error.to_string()))
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let cursor = match after {
            Some(cursor) => serde_json::from_slice(cursor).expect("a cursor that an earlier slice gave"),
            None => Cursor::Start,
        };
        for (cursor, entity) in self.walk(cursor) {
            out.push(&Change::put(entity).encode());
            if out.len_bytes() >= bytes_max {
                return Some(serde_json::to_vec(&cursor).expect("a cursor has only numbers and ids"));
            }
        }
        None
    }
}
