//! A reader of one partition, attached to the first [pump](super::pump::Pump) that does not read that partition for
//! somebody else. In: where to begin. Out: messages in order. It is in no group: whoever reads keeps the offset itself.

use std::sync::Arc;

use tidegate_schemas::Topic;

use super::cluster::Cluster;
use super::feed::Feed;
use super::pump::Pump;
use crate::error::Error;
use crate::message::Message;

/// Reads one partition in order.
pub struct Reader {
    cluster: Arc<Cluster>,
    place: (Topic, u32),
    next: u64,
    attached: Option<Attached>,
    /// Reads old messages: on pumps of their own, which wait in no long answer.
    seeks: bool,
    /// Bytes that are read ahead.
    ahead_bytes_max: usize,
}

struct Attached {
    pump: Arc<Pump>,
    place: (Topic, u32),
    feed: Arc<Feed>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.pump.detach(self.place);
    }
}

impl Reader {
    /// A reader that begins at `from`.
    pub fn new(cluster: Arc<Cluster>, place: (Topic, u32), from: u64) -> Self {
        let ahead_bytes_max = match place.0 {
            Topic::Registry => cluster.config.registry_read_ahead_bytes_max,
            _ => cluster.config.read_ahead_bytes_max,
        };
        Self {
            cluster,
            place,
            next: from,
            attached: None,
            seeks: false,
            ahead_bytes_max,
        }
    }

    /// A reader of a whole journal.
    pub fn of_journal(cluster: Arc<Cluster>, place: (Topic, u32)) -> Self {
        let journal_ahead_bytes_max = cluster.config.journal_read_ahead_bytes_max;
        // What is known to be trimmed need not be asked for.
        let from = cluster.offsets(place.0, place.1).start;
        let reader = Self::new(cluster, place, from);
        Self {
            ahead_bytes_max: reader.ahead_bytes_max.max(journal_ahead_bytes_max),
            ..reader
        }
    }

    /// The same, for reading a few old messages.
    pub fn seeking(self) -> Self {
        Self { seeks: true, ..self }
    }

    /// The next messages, as [`crate::Reader::next`] promises.
    pub async fn next(&mut self, messages_max: usize, bytes_max: usize) -> Result<Vec<Message>, Error> {
        let cluster = self.cluster.clone();
        let mut closed = cluster.closed();
        let (pump, feed) = {
            let attached = self.attached()?;
            (attached.pump.clone(), attached.feed.clone())
        };
        loop {
            let mut ready = std::pin::pin!(feed.ready.notified());
            ready.as_mut().enable();
            let (messages, resumes) = feed.take((messages_max, bytes_max));
            if resumes {
                pump.resume(self.place);
            }
            if let Some(last) = messages.last() {
                self.next = last.offset + 1;
                return Ok(messages);
            }
            tokio::select! {
                () = ready => {}
                _ = closed.wait_for(|closed| *closed) => return Err(Error::Closed),
            }
        }
    }

    fn attached(&mut self) -> Result<&Attached, Error> {
        if self.attached.is_none() {
            let feed = Arc::new(Feed::new(self.next, self.ahead_bytes_max));
            let pump = self.cluster.attach(self.seeks, (self.place, self.next), &feed)?;
            let place = self.place;
            self.attached = Some(Attached { pump, place, feed });
        }
        Ok(self.attached.as_ref().expect("attached just now"))
    }

    /// What it reads.
    pub fn place(&self) -> (Topic, u32) {
        self.place
    }

    /// The offset from which it goes on.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Goes on from another offset.
    pub fn seek(&mut self, offset: u64) {
        if offset != self.next {
            self.attached = None;
            self.next = offset;
        }
    }
}
