//! Append, read in order, journals
