//! One question for everybody who waits: an answer may be shared by all who came before it was asked.
//! In: how to ask. Out: an answer that was asked for after the call. Remembers no answer for later callers.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// A question that is asked once for all who wait.
#[derive(Default)]
pub(crate) struct Question {
    begun: AtomicU64,
    last: Mutex<Answer>,
}

#[derive(Default, Clone, Copy)]
struct Answer {
    number: u64,
    value: u64,
}

impl Question {
    /// An answer to a question that began after this call did. Dropping the call loses nothing: the next one waiting
    /// asks.
    pub(crate) async fn ask<F: Future<Output = u64>>(&self, ask: impl FnOnce() -> F) -> u64 {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.number > begun_before {
            return last.value;
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let value = ask().await;
        *last = Answer { number, value };
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    /// Counts the questions, and answers each with its number once it may.
    #[derive(Default)]
    struct Source {
        asked: AtomicU64,
        may_answer: Notify,
    }

    impl Source {
        async fn answer(self: Arc<Self>) -> u64 {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            self.may_answer.notified().await;
            number
        }
    }

    #[tokio::test]
    async fn who_comes_while_a_question_is_open_shares_the_next_one() {
        let (question, source) = (Arc::new(Question::default()), Arc::new(Source::default()));
        let ask = || {
            let (question, source) = (question.clone(), source.clone());
            tokio::spawn(async move { question.ask(|| source.answer()).await })
        };
        let first = ask();
        while source.asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let later: Vec<_> = (0..100).map(|_| ask()).collect();
        // The test's runtime has one thread: after a yield each of them has come and waits.
        tokio::task::yield_now().await;
        source.may_answer.notify_one();
        assert_eq!(first.await.expect("answered"), 1);
        source.may_answer.notify_one();
        for one in later {
            assert_eq!(one.await.expect("answered"), 2, "an answer from after it came");
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_answer_is_not_remembered() {
        let question = Question::default();
        assert_eq!(question.ask(async || 1).await, 1);
        assert_eq!(question.ask(async || 2).await, 2);
    }
}
