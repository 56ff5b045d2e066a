//! HTTP in: limits, handshakes, early check, append, acknowledge
