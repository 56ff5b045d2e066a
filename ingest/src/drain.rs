//! The end of serving, as every connection hears of it: it finishes the request it is at and takes no other. In: a
//! connection being served. Out: its result. Knows no limit of time: that is the server's.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;

/// Whether the drain has begun; clones share it.
#[derive(Clone, Default)]
pub struct Drain {
    token: CancellationToken,
    /// Set before the token is cancelled, to be read where the token's lock would be taken for every request.
    begun: Arc<AtomicBool>,
}

impl Drain {
    /// Begins it.
    pub fn begin(&self) {
        self.begun.store(true, Relaxed);
        self.token.cancel();
    }

    /// Resolves when it begins.
    pub async fn begins(&self) {
        self.token.cancelled().await;
    }

    /// Serves a connection to its end; once the drain begins, `told` is called on it.
    pub async fn serve<C: Future + Unpin>(
        &self,
        served: &mut C,
        told: impl FnOnce(Pin<&mut C>),
    ) -> C::Output {
        let mut begins = pin!(self.token.cancelled());
        let (mut told, mut waits) = (Some(told), false);
        poll_fn(|cx| {
            // Once it waits, the task is woken by the drain: until then there is nothing to ask.
            if told.is_some() && (!waits || self.begun.load(Relaxed)) {
                waits = begins.as_mut().poll(cx).is_pending();
                if !waits && let Some(told) = told.take() {
                    told(Pin::new(served));
                }
            }
            Pin::new(&mut *served).poll(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    /// What is served until it is told to end.
    #[derive(Default)]
    struct Served {
        told: bool,
        polls: u32,
    }

    impl Future for Served {
        type Output = u32;

        fn poll(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<u32> {
            self.polls += 1;
            if self.told {
                Poll::Ready(self.polls)
            } else {
                Poll::Pending
            }
        }
    }

    #[tokio::test]
    async fn a_connection_is_told_that_the_drain_begins() {
        let drain = Drain::default();
        let other = drain.clone();
        let serving = tokio::spawn(async move {
            let told = |mut served: Pin<&mut Served>| served.told = true;
            other.serve(&mut Served::default(), told).await
        });
        tokio::task::yield_now().await;
        assert!(!serving.is_finished());
        drain.begin();
        assert_eq!(serving.await.expect("it does not panic"), 2);
    }

    #[tokio::test]
    async fn one_that_comes_later_is_told_at_once() {
        let drain = Drain::default();
        drain.begin();
        let told = |mut served: Pin<&mut Served>| served.told = true;
        assert_eq!(drain.serve(&mut Served::default(), told).await, 1);
    }
}
