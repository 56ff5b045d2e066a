//! Starts the real servers for tests
