//! What is read ahead for one reader, within a budget of bytes: the thread that polls puts messages in, the reader
//! takes them out. In: messages in order. Out: the same, and when reading ahead should pause and go on.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::message::Message;

/// The messages that wait for one reader.
pub struct Feed {
    buffer: Mutex<Buffer>,
    pub ready: Notify,
    bytes_max: usize,
}

struct Buffer {
    messages: VecDeque<Message>,
    bytes: usize,
    /// The next offset that may be put in; what is below came from before a seek.
    next: u64,
    paused: bool,
    /// The offset that came last in place of `next`, and was not believed.
    gap: Option<u64>,
    /// Messages put in so far, to tell whether anything moves.
    taken_in: u64,
}

/// What the thread that polls must do after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Nothing,
    /// The budget is used up: pause the partition.
    Pause,
    /// Messages are missing: read from the next offset again. A message that was on its way when another reader of the
    /// partition left looks like that, and so does a partition that was trimmed.
    BeginAnew,
}

impl Feed {
    pub fn new(from: u64, bytes_max: usize) -> Self {
        let buffer = Buffer {
            messages: VecDeque::new(),
            bytes: 0,
            next: from,
            paused: false,
            gap: None,
            taken_in: 0,
        };
        Self {
            buffer: Mutex::new(buffer),
            ready: Notify::new(),
            bytes_max,
        }
    }

    /// Puts a message in; one that was there before is passed over, and a gap is believed when it shows a second time.
    pub fn put(&self, message: Message) -> After {
        let mut buffer = self.buffer.lock();
        if message.offset < buffer.next {
            return After::Nothing;
        }
        if message.offset > buffer.next && buffer.gap != Some(message.offset) {
            buffer.gap = Some(message.offset);
            return After::BeginAnew;
        }
        buffer.gap = None;
        buffer.next = message.offset + 1;
        buffer.bytes += message.len_bytes();
        buffer.taken_in += 1;
        buffer.messages.push_back(message);
        let pauses = !buffer.paused && buffer.bytes >= self.bytes_max;
        buffer.paused |= pauses;
        drop(buffer);
        self.ready.notify_one();
        if pauses { After::Pause } else { After::Nothing }
    }

    /// Takes messages out, at least one if there is one; says whether the partition must go on being read.
    pub fn take(&self, (messages_max, bytes_max): (usize, usize)) -> (Vec<Message>, bool) {
        let mut buffer = self.buffer.lock();
        let mut bytes = 0;
        let fits = buffer
            .messages
            .iter()
            .take(messages_max.max(1))
            .take_while(|message| {
                bytes += message.len_bytes();
                bytes <= bytes_max
            });
        let count = fits.count().max(1).min(buffer.messages.len());
        let messages: Vec<Message> = buffer.messages.drain(..count).collect();
        buffer.bytes -= messages.iter().map(Message::len_bytes).sum::<usize>();
        let resumes = buffer.paused && buffer.bytes <= self.bytes_max / 2;
        buffer.paused &= !resumes;
        (messages, resumes)
    }

    /// How many messages came so far, the next offset to come, and whether none can come because it is paused.
    pub fn standing(&self) -> (u64, u64, bool) {
        let buffer = self.buffer.lock();
        (buffer.taken_in, buffer.next, buffer.paused)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use tidegate_schemas::{Topic, UnixMillis};

    use super::*;

    /// A message of so many bytes.
    pub(in crate::kafka) fn message(offset: u64, bytes: usize) -> Message {
        Message {
            topic: Topic::Requests,
            partition: 0,
            offset,
            timestamp: UnixMillis(0),
            key: Bytes::new(),
            meta: Bytes::new(),
            value: Bytes::from(vec![0; bytes]),
        }
    }

    fn offsets(messages: &[Message]) -> Vec<u64> {
        messages.iter().map(|message| message.offset).collect()
    }

    #[test]
    fn it_pauses_at_its_budget_and_goes_on_when_half_is_taken() {
        let feed = Feed::new(0, 100);
        assert_eq!(feed.put(message(0, 60)), After::Nothing);
        assert_eq!(feed.put(message(1, 60)), After::Pause);
        assert_eq!(feed.put(message(2, 60)), After::Nothing, "it is paused already");
        let (messages, resumes) = feed.take((1, 1000));
        assert_eq!((offsets(&messages), resumes), (vec![0], false));
        let (messages, resumes) = feed.take((10, 1000));
        assert_eq!((offsets(&messages), resumes), (vec![1, 2], true));
        assert_eq!(feed.take((10, 1000)), (vec![], false));
    }

    #[test]
    fn the_first_message_is_taken_however_large_it_is() {
        let feed = Feed::new(0, 1000);
        feed.put(message(0, 500));
        feed.put(message(1, 1));
        assert_eq!(offsets(&feed.take((10, 5)).0), [0]);
        assert_eq!(offsets(&feed.take((10, 5)).0), [1]);
    }

    #[test]
    fn what_came_before_a_seek_is_passed_over() {
        let feed = Feed::new(5, 1000);
        assert_eq!(feed.put(message(4, 1)), After::Nothing);
        assert_eq!(feed.put(message(5, 1)), After::Nothing);
        assert_eq!(feed.put(message(5, 1)), After::Nothing);
        assert_eq!(offsets(&feed.take((10, 1000)).0), [5]);
        assert_eq!(feed.standing(), (1, 6, false));
    }

    #[test]
    fn a_gap_is_believed_when_it_shows_again() {
        let feed = Feed::new(5, 1000);
        assert_eq!(
            feed.put(message(90, 1)),
            After::BeginAnew,
            "left from another reader"
        );
        assert_eq!(feed.put(message(5, 1)), After::Nothing);
        assert_eq!(feed.put(message(8, 1)), After::BeginAnew);
        assert_eq!(
            feed.put(message(9, 1)),
            After::BeginAnew,
            "trimming goes on meanwhile"
        );
        assert_eq!(
            feed.put(message(9, 1)),
            After::Nothing,
            "6 to 8 are gone from the topic"
        );
        assert_eq!(offsets(&feed.take((10, 1000)).0), [5, 9]);
        assert_eq!(feed.standing(), (2, 10, false));
    }
}
