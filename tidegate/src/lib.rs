//! The one binary: CLI, config, API, wiring of roles
