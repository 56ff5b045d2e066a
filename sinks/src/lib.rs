//! Forward and audit
