//! Verify, split, attribute, route
