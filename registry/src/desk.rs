//! Where a process hands its writes in, whichever process writes the registry: its own writer takes them while it has
//! one, else they are passed on to the address that the journal names. In: writes. Out: what they came to, once this
//! process's registry shows it. While nobody writes (a takeover) it waits, for a bounded time. Opens no connection: the
//! passing itself is handed in.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_schemas::{Secret, UnixMillis};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::call::{Ask, CallError, Calls, Plain, Reply};
use crate::config::Config;
use crate::entity::{EntityRef, StoredSecret};
use crate::keyring::Keyring;
use crate::metrics;
use crate::registry::Registry;
use crate::writer::{Write, WriteError, Writer, Written};

/// How soon a writer that could not be reached is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long behind an `open` another address is waited for.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);

/// Brings sealed bytes to the process at an address, and its sealed answer back.
pub type Pass = Arc<
    dyn Fn(String, Vec<u8>) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, PassError>> + Send>> + Send + Sync,
>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// Nothing was sent, or whoever is there has done nothing.
    #[error("not reached: {0}")]
    Unreached(String),
    /// Whoever is there does not take the call.
    #[error("refused: {0}")]
    Refused(String),
    /// It was sent, and what came of it is not known.
    #[error("no answer: {0}")]
    Unanswered(String),
}

/// Where writes are handed in; a cheap handle.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    calls: Calls,
    wait: Duration,
    pass: Option<Pass>,
    /// This process's writer, while it has one.
    writer: watch::Sender<Option<Writer>>,
}

/// What one try comes to.
enum Tried {
    Done(Result<Written, WriteError>),
    /// Nothing was done, and another try may go elsewhere.
    Again(String),
}

impl Desk {
    /// A desk without a writer of its own; without `pass` it reaches no other.
    #[must_use]
    pub fn new(registry: Registry, keyring: Arc<Keyring>, (config, pass): (&Config, Option<Pass>)) -> Self {
        let inner = Inner {
            registry,
            calls: Calls::new(keyring),
            wait: Duration::from_millis(config.write_wait_ms),
            pass,
            writer: watch::Sender::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// This process writes the registry from now on.
    pub fn appoint(&self, writer: Writer) {
        self.inner.writer.send_replace(Some(writer));
    }

    /// This process writes the registry no more.
    pub fn dismiss(&self) {
        self.inner.writer.send_replace(None);
    }

    /// This process's writer, while it has one.
    #[must_use]
    pub fn writer(&self) -> Option<Writer> {
        self.inner.writer.borrow().clone()
    }

    /// Writes all of `writes` or nothing; returns once the registry of this process shows them.
    ///
    /// # Errors
    /// As [`Writer::write`], here or elsewhere; [`WriteError::NoWriter`] when nobody writes the registry for
    /// `write_wait_ms`, [`WriteError::Unanswered`] when the writer was asked and is silent.
    pub async fn write(&self, writes: Vec<Write>) -> Result<Written, WriteError> {
        self.ask(Ask::Write(writes)).await
    }

    /// Keeps a secret that a handshake delivered, as [`Writer::store_secret`] does.
    ///
    /// # Errors
    /// As [`Desk::write`].
    pub async fn store_secret(&self, at: &EntityRef, secret: &Secret) -> Result<(), WriteError> {
        let (at, secret) = (at.clone(), Plain::of(secret));
        self.ask(Ask::StoreSecret { at, secret }).await.map(|_| ())
    }

    /// Answers the call of another process, sealed, as its registry's writer; one that is not says so.
    ///
    /// # Errors
    /// [`CallError`] when it does not count; nothing was done.
    pub async fn answer(&self, sealed: &[u8]) -> Result<Vec<u8>, CallError> {
        let (ask, thread) = self.inner.calls.open(sealed, now())?;
        let reply = match self.writer() {
            None => Reply::NotWriter,
            Some(writer) => match apply(&writer, ask).await {
                Err(error) if error.is_lost() => Reply::NotWriter,
                result => Reply::of(&result),
            },
        };
        self.inner.calls.seal_reply(&reply, &thread)
    }

    async fn ask(&self, ask: Ask) -> Result<Written, WriteError> {
        let waited = self.inner.wait;
        let until = Instant::now() + waited;
        let mut appointed = self.inner.writer.subscribe();
        loop {
            appointed.borrow_and_update();
            let last = match self.attempt(&ask, until).await {
                Tried::Done(result) => return result,
                Tried::Again(last) => last,
            };
            let changed = async {
                tokio::select! {
                    _ = appointed.changed() => {}
                    () = tokio::time::sleep(AGAIN) => {}
                }
            };
            if timeout_at(until, changed).await.is_err() {
                return Err(WriteError::NoWriter { waited, last });
            }
        }
    }

    async fn attempt(&self, ask: &Ask, until: Instant) -> Tried {
        if let Some(writer) = self.writer() {
            return match timeout_at(until, apply(&writer, ask.clone())).await {
                Ok(Err(error)) if error.is_lost() => Tried::Again(error.to_string()),
                Ok(result) => Tried::Done(result),
                Err(_) => Tried::Done(Err(WriteError::Unanswered {
                    writer: "this process".to_owned(),
                    reason: "its journal does not answer".to_owned(),
                })),
            };
        }
        let Some(pass) = &self.inner.pass else {
            return Tried::Again("this process does not write it yet".to_owned());
        };
        let Some(address) = self.inner.registry.writer_address() else {
            return Tried::Again("none has written it yet".to_owned());
        };
        self.pass_on(ask, (pass, address), until).await
    }

    async fn pass_on(&self, ask: &Ask, (pass, address): (&Pass, String), until: Instant) -> Tried {
        let epoch = self.inner.registry.epoch();
        let (sealed, thread) = self.inner.calls.seal(ask.clone(), now());
        let passed = tokio::select! {
            passed = timeout_at(until, pass(address.clone(), sealed)) => {
                passed.unwrap_or_else(|_| Err(PassError::Unanswered("it takes too long".to_owned())))
            }
            () = self.another_writes(epoch, &address) => {
                Err(PassError::Unanswered("another process has taken over".to_owned()))
            }
        };
        metrics::passed(match &passed {
            Ok(_) => "answered",
            Err(PassError::Unreached(_)) => "unreached",
            Err(PassError::Refused(_)) => "refused",
            Err(PassError::Unanswered(_)) => "unanswered",
        });
        match passed {
            Ok(sealed) => match self.inner.calls.open_reply(&sealed, &thread) {
                Ok(reply) => self.take(reply, (&address, until)).await,
                Err(error) => Tried::Done(Err(error.into())),
            },
            Err(error @ PassError::Unreached(_)) => Tried::Again(format!("{address} {error}")),
            Err(PassError::Refused(text)) => Tried::Done(Err(WriteError::Elsewhere {
                label: "call",
                text: format!("{address} refused the write: {text}"),
                is_retryable: false,
            })),
            Err(PassError::Unanswered(reason)) => self.settle(ask, (address, reason), (epoch, until)).await,
        }
    }

    /// Resolves when the registry is written at another address than this one, since `epoch`.
    async fn another_writes(&self, epoch: u64, address: &str) {
        let mut epoch = epoch;
        while self.inner.registry.opened_above(epoch).await {
            epoch = self.inner.registry.epoch();
            // The address follows the `open` at once, if it is another.
            let differs = async {
                while self.inner.registry.writer_address().as_deref() == Some(address) {
                    tokio::time::sleep(AGAIN).await;
                }
            };
            if tokio::time::timeout(ADDRESS_WAIT, differs).await.is_ok() {
                return;
            }
        }
        // Nothing is read any more, so nothing is found out either.
        std::future::pending().await
    }

    /// What an unanswered call came to. Once another has opened the journal behind it, it is as if never made unless the
    /// registry shows it by then.
    async fn settle(
        &self,
        ask: &Ask,
        (writer, reason): (String, String),
        (epoch, until): (u64, Instant),
    ) -> Tried {
        // The same secret once more is no error, so it may be handed in again.
        let is_repeatable = matches!(ask, Ask::StoreSecret { .. });
        let reopened = timeout_at(until, self.inner.registry.opened_above(epoch));
        if is_repeatable || (matches!(reopened.await, Ok(true)) && self.is_undone(ask)) {
            return Tried::Again(format!("{writer} did not answer: {reason}"));
        }
        Tried::Done(Err(WriteError::Unanswered { writer, reason }))
    }

    /// Whether the registry shows that nothing of the ask is written: a write is written whole or not at all.
    fn is_undone(&self, ask: &Ask) -> bool {
        let Ask::Write(writes) = ask else {
            return false;
        };
        let tables = self.inner.registry.read();
        match writes.first() {
            None => true,
            Some(Write::Put(entity)) => {
                let found = tables.entity(&entity.reference());
                found.is_ok_and(|found| found.map_or(0, |found| found.version()) == entity.version())
            }
            Some(Write::Delete { entity, .. }) => tables.entity(entity).is_ok_and(|found| found.is_some()),
        }
    }

    /// Takes the writer's reply; what it has written is read here too.
    async fn take(&self, reply: Reply, (address, until): (&str, Instant)) -> Tried {
        let (versions, generated, end) = match reply {
            Reply::Written {
                versions,
                generated,
                end,
            } => (versions, generated, end),
            Reply::NotWriter => return Tried::Again(format!("{address} writes it no more")),
            Reply::Refused {
                label,
                text,
                is_retryable,
            } => {
                return Tried::Done(Err(WriteError::Elsewhere {
                    label: WriteError::label_of(&label),
                    text,
                    is_retryable,
                }));
            }
        };
        let read = timeout_at(until, self.inner.registry.applied_up_to(end)).await;
        if !matches!(read, Ok(Ok(()))) {
            return Tried::Done(Err(WriteError::NotReadBack));
        }
        let opened = generated.into_iter().map(|(entity, label, plain)| {
            let stored = StoredSecret::new(plain.secret()?);
            Ok((entity, StoredSecret { label, ..stored }))
        });
        let generated: Result<Vec<_>, CallError> = opened.collect();
        Tried::Done(generated.map_err(WriteError::from).map(|generated| Written {
            versions,
            generated,
            end,
        }))
    }
}

async fn apply(writer: &Writer, ask: Ask) -> Result<Written, WriteError> {
    match ask {
        Ask::Write(writes) => writer.write(writes, now()).await,
        Ask::StoreSecret { at, secret } => writer.store_secret(&at, secret.secret()?, now()).await,
    }
}

fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}
