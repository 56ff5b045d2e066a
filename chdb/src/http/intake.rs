//! A request's body, taken in: the statement as text, an insert's rows as a file.
//!
//! In: the [`Call`] and the body as it comes. Out: [`Taken`]: the whole text of the statement, what it is, and the rows that follow it.
//! The statement of the URL and the body make one text, a line break between them. At most a statement's bytes are held here; rows go straight to
//! the [`Spool`]. Nothing runs before all rows are here, so that a client that dies halfway leaves nothing behind.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::blocks;
use crate::config::Limits;
use crate::exception::{Exception, codes};
use crate::http::call::Call;
use crate::http::coding::Decoder;
use crate::http::form;
use crate::http::spool::{Budget, Spool};
use crate::statement::Statement;

/// How much of a body is read before the statement's head is looked for in it.
const HEAD: usize = 64 << 10;

/// A body, taken in.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) text: Vec<u8>,
    pub(crate) statement: Statement,
    pub(crate) rows: Option<Spool>,
}

/// What taking in needs to know.
pub(crate) struct Intake<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) budget: &'a Arc<Budget>,
    /// Where bodies go that are too large for memory.
    pub(crate) directory: &'a Path,
}

impl Intake<'_> {
    /// Takes the body in. A form's fields go into `call`.
    pub(crate) async fn take(
        &self,
        call: &mut Call,
        content_type: Option<&str>,
        body: Incoming,
    ) -> Result<Taken, Exception> {
        let blocks = call
            .decompress
            .then(|| blocks::Decoder::new(self.limits.block_bytes_max));
        let mut pieces = Pieces {
            body,
            decoder: Decoder::new(call.body_coding, blocks),
            limits: self.limits,
            taken: 0,
            ended: false,
        };
        if let Some(boundary) = form::boundary(content_type) {
            let mut form = Vec::new();
            self.read_up_to(&mut pieces, &mut form, usize::MAX).await?;
            for (name, value) in form::fields(&form, &boundary)? {
                call.set(name, value)?;
            }
        }
        let mut text = std::mem::take(&mut call.query).into_bytes();
        let mut behind_url = Vec::new();
        self.read_up_to(&mut pieces, &mut behind_url, HEAD).await?;
        if !text.is_empty() && !behind_url.is_empty() {
            text.push(b'\n');
        }
        text.append(&mut behind_url);
        let mut statement = Statement::parse(&text);
        if !pieces.ended && !matches!(statement, Ok(Statement::Insert(_))) {
            self.read_up_to(&mut pieces, &mut text, usize::MAX).await?;
            statement = Statement::parse(&text);
        }
        let statement = statement?;
        let rows = match &statement {
            Statement::Insert(insert) => {
                let begun = text.split_off(insert.rows.min(text.len()));
                Some(self.spool(begun, pieces).await?)
            }
            Statement::Rows(_) | Statement::Plain { .. } => None,
        };
        Ok(Taken {
            text,
            statement,
            rows,
        })
    }

    /// Reads until `text` has `bytes` or the body ends.
    async fn read_up_to(
        &self,
        pieces: &mut Pieces<'_>,
        text: &mut Vec<u8>,
        bytes: usize,
    ) -> Result<(), Exception> {
        while text.len() < bytes {
            let Some(piece) = pieces.next().await? else { break };
            text.extend_from_slice(&piece);
            if bytes == usize::MAX && text.len() > self.limits.statement_bytes_max {
                let sentence = format!(
                    "The statement is larger than {} bytes.",
                    self.limits.statement_bytes_max
                );
                return Err(Exception::new(codes::QUERY_IS_TOO_LARGE, sentence));
            }
        }
        Ok(())
    }

    async fn spool(&self, begun: Vec<u8>, mut pieces: Pieces<'_>) -> Result<Spool, Exception> {
        let mut spool = Spool::new(self.budget)?;
        spool.write(&begun, self.directory)?;
        while let Some(piece) = pieces.next().await? {
            spool.write(&piece, self.directory)?;
        }
        Ok(spool)
    }
}

/// A body's decoded pieces.
struct Pieces<'a> {
    body: Incoming,
    decoder: Decoder,
    limits: &'a Limits,
    taken: u64,
    ended: bool,
}

impl Pieces<'_> {
    /// The next piece that is not empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Exception> {
        while !self.ended {
            let silent = |_| {
                Exception::new(
                    codes::SOCKET_TIMEOUT,
                    "The client was silent for too long inside the body.",
                )
            };
            let broken = |error: hyper::Error| {
                Exception::new(codes::NETWORK_ERROR, format!("The body ended early: {error}."))
            };
            let frame = timeout(self.limits.idle_wait(), self.body.frame())
                .await
                .map_err(silent)?;
            let piece = match frame.transpose().map_err(broken)? {
                Some(frame) => frame.into_data().unwrap_or_default(),
                None => {
                    self.ended = true;
                    Bytes::new()
                }
            };
            let piece = match self.ended {
                true => Bytes::from(self.decoder.finish()?),
                false if self.decoder.is_identity() => piece,
                false => Bytes::from(self.decoder.push(&piece)?),
            };
            self.taken += piece.len() as u64;
            if self.taken > self.limits.body_bytes_max {
                let sentence = format!("The body is larger than {} bytes.", self.limits.body_bytes_max);
                return Err(Exception::new(codes::QUERY_IS_TOO_LARGE, sentence));
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}
