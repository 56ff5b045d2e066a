//! A reply's body: nothing, one piece, or pieces as they come.
//!
//! In: pieces through a bounded channel. Out: an HTTP body. A sender that ends without [`Piece::End`] breaks the transfer, so that a client never
//! takes half a result for a whole one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// What a sender sends.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    End,
}

/// The transfer was broken off on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the result ended early")]
pub(crate) struct Broken;

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A reply's body.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Piece>),
    Ended,
}

impl ReplyBody {
    pub(crate) fn empty() -> Self {
        ReplyBody::Ended
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        ReplyBody::Whole(Some(bytes.into()))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let body = self.get_mut();
        match body {
            ReplyBody::Whole(bytes) => Poll::Ready(
                bytes
                    .take()
                    .filter(|bytes| !bytes.is_empty())
                    .map(|bytes| Ok(Frame::data(bytes))),
            ),
            ReplyBody::Ended => Poll::Ready(None),
            ReplyBody::Pieces(receiver) => match receiver.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Piece::Bytes(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(Piece::End)) => {
                    *body = ReplyBody::Ended;
                    Poll::Ready(None)
                }
                Poll::Ready(None) => {
                    *body = ReplyBody::Ended;
                    Poll::Ready(Some(Err(Broken)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, ReplyBody::Ended | ReplyBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ReplyBody::Ended => SizeHint::with_exact(0),
            ReplyBody::Pieces(_) => SizeHint::default(),
        }
    }
}
