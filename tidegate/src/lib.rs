//! The one binary, as a library so that its tests can reach in: the command line ([`command`]), the configuration
//! ([`config`]), the wiring of the roles into one process ([`serve`]) and the API that the commands speak to ([`api`]).
//!
//! Only this package reads the environment, configuration files and the clock of a command. The rooms know nothing of
//! one another beyond their arrows: what runs where is decided in [`serve`] alone.

pub mod admin_key;
pub mod api;
pub mod client;
pub mod command;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod sample;
pub mod serve;
pub mod simulate;
pub mod top;
