//! Environments, integrations, connections, endpoints, keys
