//! What users configure: environments, integrations, connections, endpoints, API keys.
//!
//! One process writes: a [`Change`] is checked against the versions and names there are, its secrets are sealed by
//! the [`Keyring`], and it is appended to the journal in the topic `registry`. Every process reads that journal into
//! its [`Tables`] and looks things up there through its [`Registry`] handle: an integration by the URL's two parts,
//! connections by a value that an event carries, an environment's endpoints.
//!
//! Knows no provider's definition and no HTTP: what a provider demands is handed in as plain facts.

mod call;
mod change;
mod config;
mod copy;
mod desk;
mod entity;
mod file;
mod follower;
mod key_file;
mod keyring;
pub mod manifest;
mod metrics;
mod question;
mod registry;
mod tables;
mod writer;

pub use call::CallError;
pub use change::{Change, DecodeError};
pub use config::Config;
pub use copy::CopyError;
pub use desk::{Desk, Pass, PassError};
pub use entity::{
    ApiKey, ApiKeyId, Connection, ConnectionDetails, Debounce, DebounceSettings, Edge, Endpoint,
    EndpointState, Entity, EntityRef, Environment, FloodPolicy, FloodSettings, Integration, IntegrationFlags,
    Keep, LIST_BYTES_MAX, Layout, MAX_WAIT_MAX, Mode, RateLimit, StaticHeader, StoredSecret, active_at,
};
pub use follower::Follower;
pub use key_file::{KeyFile, KeyFileError};
pub use keyring::{KEY_BYTES, Keyring, SealError};
pub use metrics::describe;
pub use registry::{NotReadToEnd, Registry};
pub use tables::{ApplyError, ConnectionBytes, ConnectionRef, ReadError, Tables};
pub use writer::{OpenError, Write, WriteError, Writer, Written};

/// The registry has one partition.
const PARTITION: u32 = 0;
