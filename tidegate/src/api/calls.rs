//! `POST /internal/registry`: a call of another process to the registry's writer, sealed under a key that all processes
//! have; whoever has it not gets nothing done here. Answered sealed.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State as Shared;

use super::{Problem, State};

/// The route.
pub async fn write(Shared(state): Shared<Arc<State>>, sealed: Bytes) -> Result<Vec<u8>, Problem> {
    let parts = state.parts()?;
    parts.desk.answer(&sealed).await.map_err(Problem::forbidden)
}
