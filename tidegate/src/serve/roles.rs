//! The roles as tasks: started with what they share, watched for failure, stopped in the order of an event's way.
//! In: the parts of the process. Out: [`Roles`]. A role that fails ends the process: its next start recovers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tidegate_broker::Broker;
use tidegate_chdb::supervise;
use tidegate_ingest::{Context, Ingest};
use tidegate_processor::Processor;
use tidegate_providers::Catalogue;
use tidegate_registry::{
    CopyError, Desk, EndpointState, Entity, EntityRef, Follower, KeyFile, Keyring, Registry, Write, Writer,
};
use tidegate_schemas::Topic;
use tidegate_sinks::audit::{Audit, Status};
use tidegate_sinks::forward::{Clock, DisableEndpoint, Forwarder};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::copy::RegistryCopy;
use super::lead::Lead;
use super::{RoleName, Shape, internal};
use crate::config::Config;
use crate::{admin_key, doctor};

/// How often the registry's journal is looked after.
const TEND_EVERY: Duration = Duration::from_secs(600);
/// How often it is looked whether the registry's copy is old.
const COPY_EVERY: Duration = Duration::from_secs(2);
/// How many endpoints may wait to be switched off.
const DISABLE_PENDING_MAX: usize = 64;

/// What every role is made from.
pub struct Role<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The topics.
    pub broker: &'a Broker,
    /// What users configured.
    pub registry: &'a Registry,
    /// The definitions.
    pub catalogue: &'a Arc<Catalogue>,
    /// HTTP out.
    pub client: &'a tidegate_egress::Client,
    /// Where writes of the registry are handed in.
    pub desk: &'a Desk,
}

type Running<E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send>>;

/// The roles that run as tasks.
#[derive(Default)]
pub struct Roles {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stops: Vec<(&'static str, CancellationToken)>,
}

impl Roles {
    fn run<E: Into<anyhow::Error> + 'static>(
        &mut self,
        name: &'static str,
        role: impl FnOnce(CancellationToken) -> Running<E>,
    ) {
        let stop = CancellationToken::new();
        self.stops.push((name, stop.clone()));
        let running = role(stop);
        self.tasks
            .spawn(async move { (name, running.await.map_err(Into::into)) });
    }

    /// Reads the registry, and writes it where the process has that role: embedded at once and for ever, on Kafka when
    /// it is this process's turn. `address` is where other processes reach this one.
    ///
    /// # Errors
    /// When its journal cannot be read, or the keys are not those it was written with.
    pub async fn registry(
        &mut self,
        (config, shape): (&Config, &Shape),
        broker: &Broker,
        address: String,
    ) -> anyhow::Result<(Desk, Registry)> {
        let keyring = Arc::new(KeyFile::load_or_create(&config.key_file())?);
        if !broker.is_shared() {
            let opened = Writer::open(broker, keyring.clone(), (&config.registry, None)).await?;
            let (writer, registry, follower) = opened;
            self.follow(follower);
            registry.ready().await?;
            let desk = Desk::new(registry.clone(), keyring, (&config.registry, None));
            desk.appoint(writer);
            return Ok((desk, registry));
        }
        if shape.has(RoleName::Api) && !config.registry_copy().exists() {
            // The API would show an empty registry.
            broker.connected().await?;
        }
        // Else nobody waits for a Kafka that is away: what can be done with the copy goes on, the rest is done later.
        let is_there = broker.is_connected();
        let registry = if is_there {
            let (registry, follower) = Follower::open(broker, keyring.clone(), (&config.registry, true));
            self.follow(follower);
            if registry.ready().await.is_err() {
                // The follower has ended, and says why.
                return Err(self.failed().await);
            }
            registry
        } else {
            self.begin_with_copy((config, broker), keyring.clone())?
        };
        let pass = Some(internal::pass()?);
        let desk = Desk::new(registry.clone(), keyring.clone(), (&config.registry, pass));
        if shape.has(RoleName::Api) {
            let lead = Lead {
                broker: broker.clone(),
                registry: registry.clone(),
                keyring,
                config: config.registry.clone(),
                desk: desk.clone(),
                address,
            };
            self.lead(lead, is_there).await?;
        }
        Ok((desk, registry))
    }

    /// Takes part in writing the registry, and brings the admin key into it: before anything else where the broker is
    /// there, else once it is back.
    async fn lead(&mut self, lead: Lead, is_there: bool) -> anyhow::Result<()> {
        let named = admin_key::from_environment()?;
        let (broker, registry, desk) = (lead.broker.clone(), lead.registry.clone(), lead.desk.clone());
        let assignments = broker.assignments(Topic::Registry, "registry")?;
        self.run("registry writer", |stop| Box::pin(lead.run(assignments, stop)));
        if is_there {
            admin_key::ensure_there(&registry, &desk, named.as_ref()).await?;
        } else {
            self.run("admin key", |stop| {
                Box::pin(async move {
                    let brought = admin_key::ensure_there_in_time(&registry, &desk, named.as_ref());
                    match stop.run_until_cancelled(brought).await {
                        Some(Err(error)) => Err(error),
                        Some(Ok(())) => {
                            stop.cancelled().await;
                            Ok(())
                        }
                        None => Ok(()),
                    }
                })
            });
        }
        self.run("lag", |stop| Box::pin(doctor::watch(broker, stop)));
        Ok(())
    }

    /// Begins with this process's last copy of the registry, while the broker is away.
    fn begin_with_copy(
        &mut self,
        (config, broker): (&Config, &Broker),
        keyring: Arc<Keyring>,
    ) -> Result<Registry, CopyError> {
        let copy = config.registry_copy();
        let (registry, follower) = Follower::open_copy(broker, keyring, (&config.registry, true, &copy))?;
        self.follow(follower);
        tracing::warn!(
            integrations = registry.read().integrations().count(),
            "the registry is this process's last copy until the broker is back"
        );
        let reading = registry.clone();
        tokio::spawn(async move {
            if reading.ready().await.is_ok() {
                tracing::info!("the registry's end is read: its copy is no longer needed");
            }
        });
        Ok(registry)
    }

    /// Ends the process when the broker can go on only in a new one, or is back and cannot be used.
    pub fn watch(&mut self, broker: &Broker) {
        let broker = broker.clone();
        self.run("broker", |stop| {
            Box::pin(async move {
                let fails = async {
                    match broker.connected().await {
                        Ok(()) => broker.failed().await,
                        Err(refused) => refused,
                    }
                };
                stop.run_until_cancelled(fails).await.map_or(Ok(()), Err)
            })
        });
    }

    /// Keeps this process's registry up to date.
    fn follow(&mut self, follower: Follower) {
        self.tasks
            .spawn(async move { ("registry", follower.run().await.map_err(Into::into)) });
    }

    /// Keeps the registry's journal short, if this process writes it, and this process's last copy of it on the disk.
    pub fn tend(&mut self, role: &Role<'_>) {
        let (desk, broker) = (role.desk.clone(), role.broker.clone());
        let mut copy = RegistryCopy::new(role);
        self.run("registry journal", move |stop| {
            Box::pin(async move {
                copy.refresh(&broker).await;
                let mut tended = Instant::now();
                while tokio::time::timeout(COPY_EVERY, stop.cancelled()).await.is_err() {
                    if let Some(writer) = desk.writer().filter(|_| tended.elapsed() >= TEND_EVERY) {
                        tended = Instant::now();
                        if let Err(error) = writer.idle().await {
                            tracing::warn!(%error, "the registry's journal is not kept short now");
                        }
                    }
                    copy.refresh(&broker).await;
                }
                copy.save(&broker).await;
                Ok::<(), anyhow::Error>(())
            })
        });
    }

    /// Starts the audit; with an embedded engine once that has answered for the first time.
    pub fn audit(&mut self, role: &Role<'_>, engine: Option<watch::Receiver<supervise::State>>) -> Status {
        let audit = Audit::new(
            role.config.clickhouse.clone(),
            role.broker.clone(),
            role.catalogue.clone(),
            role.registry.clone(),
        );
        let status = audit.status();
        self.run("audit", |stop| {
            Box::pin(async move {
                if let Some(mut states) = engine {
                    let up = states.wait_for(|state| matches!(state, supervise::State::Ready { .. }));
                    // Neither an end of the engine nor a stop is waited for any further: the audit sees to both.
                    stop.run_until_cancelled(up).await;
                }
                audit.run(stop).await
            })
        });
        status
    }

    /// Starts forwarding, and what switches endpoints off that are gone.
    pub fn forward(&mut self, role: &Role<'_>) {
        let (disable, gone) = mpsc::channel(DISABLE_PENDING_MAX);
        let parts = tidegate_sinks::forward::Parts {
            broker: role.broker.clone(),
            registry: role.registry.clone(),
            client: role.client.clone(),
            clock: Clock::System,
            disable,
        };
        let forwarder = Forwarder::new(parts, role.config.forward.clone());
        self.run("forward", |stop| Box::pin(forwarder.run(stop)));
        let (registry, desk) = (role.registry.clone(), role.desk.clone());
        self.run("endpoint switch", |stop| {
            Box::pin(async move {
                stop.run_until_cancelled(switch_off(gone, registry, desk)).await;
                Ok::<(), anyhow::Error>(())
            })
        });
    }

    /// Starts the processor.
    pub fn process(&mut self, role: &Role<'_>) {
        let parts = tidegate_processor::Parts {
            broker: role.broker.clone(),
            registry: role.registry.clone(),
            catalogue: role.catalogue.clone(),
            client: role.client.clone(),
        };
        let processor = Processor::new(parts, role.config.processor.clone());
        self.run("processor", |stop| Box::pin(processor.run(stop)));
    }

    /// Resolves when a role has ended though nobody stopped it.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Err(panic)) => anyhow!("a role panicked: {panic}"),
            Some(Ok((name, result))) => {
                self.stops.retain(|(role, _)| *role != name);
                result
                    .err()
                    .unwrap_or_else(|| anyhow!("ended by itself"))
                    .context(name)
            }
        }
    }

    /// Stops one role after the other, each within `timeout`: what an earlier one still hands on, the later ones take.
    ///
    /// # Errors
    /// The first that a role ended with.
    pub async fn stop(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let mut result = Ok(());
        for name in [
            "processor",
            "forward",
            "endpoint switch",
            "audit",
            "registry journal",
            "lag",
            "admin key",
            "registry writer",
            "broker",
        ] {
            let Some((_, stop)) = self.stops.iter().find(|(role, _)| *role == name) else {
                continue;
            };
            stop.cancel();
            let ended = tokio::time::timeout(timeout, self.wait_for(name)).await.unwrap_or_else(|_| {
                Err(anyhow!("did not end within {timeout:?} (server.stop_timeout_ms); what it held is done again at the next start"))
            });
            if let Err(error) = ended {
                tracing::warn!(
                    role = name,
                    error = format!("{error:#}"),
                    "a role did not stop cleanly"
                );
                result = result.and(Err(error.context(name)));
            }
        }
        self.tasks.shutdown().await;
        result
    }

    async fn wait_for(&mut self, name: &str) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            let (role, result) = match ended {
                Ok(ended) => ended,
                Err(panic) => {
                    tracing::error!(%panic, "a role panicked");
                    continue;
                }
            };
            if role == name {
                return result;
            }
            self.stops.retain(|(other, _)| *other != role);
            if let Err(error) = result {
                tracing::warn!(
                    role,
                    error = format!("{error:#}"),
                    "a role failed while another stopped"
                );
            }
        }
        Ok(())
    }
}

/// Starts ingest, on threads of its own.
pub fn ingest(role: &Role<'_>) -> anyhow::Result<Ingest> {
    let desk = role.desk.clone();
    let store_secret: tidegate_ingest::StoreSecret = Arc::new(move |integration, connection, secret| {
        let desk = desk.clone();
        let at = match connection {
            None => EntityRef::Integration(integration),
            Some(id) => EntityRef::Connection(integration, id),
        };
        Box::pin(async move {
            let stored = desk.store_secret(&at, &secret).await;
            stored
                .inspect_err(|error| tracing::warn!(%error, "a delivered secret was not stored"))
                .is_ok()
        })
    });
    let context = Context {
        config: role.config.ingest.clone(),
        public_url: role.config.server.public_url.trim_end_matches('/').to_owned(),
        broker: role.broker.clone(),
        registry: role.registry.clone(),
        catalogue: role.catalogue.clone(),
        store_secret,
        egress: role.client.clone(),
    };
    Ok(Ingest::start(context)?)
}

/// Switches endpoints off that answered 410, unless they were changed meanwhile.
async fn switch_off(mut gone: mpsc::Receiver<DisableEndpoint>, registry: Registry, desk: Desk) {
    while let Some(DisableEndpoint { endpoint, version }) = gone.recv().await {
        let current = registry
            .read()
            .endpoint(&endpoint)
            .filter(|it| it.version == version)
            .cloned();
        let Some(current) = current.filter(|endpoint| endpoint.is_enabled()) else {
            continue;
        };
        let mut changed = current.as_ref().clone();
        changed.state = EndpointState::DisabledGone;
        let written = desk.write(vec![Write::put(Entity::Endpoint(changed))]).await;
        match written {
            Ok(_) => tracing::warn!(
                endpoint = current.name,
                "an endpoint answered 410 and is switched off"
            ),
            Err(error) => {
                tracing::warn!(endpoint = current.name, %error, "an endpoint that answered 410 was not switched off");
            }
        }
    }
}
