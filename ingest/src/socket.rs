//! A provider's connection as hyper reads and writes it. It passes bytes on, except that a reply which hyper makes by
//! itself (to a head it cannot parse) is replaced by ours, so that every reply carries a request id, and that it tells
//! whether a head had begun when the time for it ran out. Parses nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tidegate_schemas::{Reason, RequestId, UnixMillis};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::reply::{Refusal, code_of, status_of};

/// A connection.
pub struct Socket {
    stream: TcpStream,
    /// Whether bytes came in since the last reply.
    begun: bool,
}

impl Socket {
    /// Wraps an accepted connection.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, begun: false }
    }

    /// Whether a head had begun and got no reply yet.
    pub fn head_begun(&self) -> bool {
        self.begun
    }

    /// Writes a whole refusal and nothing more; hyper is done with this connection.
    pub fn refuse(&self, refusal: &Refusal) {
        let reply = raw_refusal(refusal);
        if let Err(error) = self.stream.try_write(&reply) {
            tracing::debug!(%error, "the refusal of a broken connection was not written");
        }
    }
}

/// A refusal as bytes on the wire; the connection ends behind it.
fn raw_refusal(refusal: &Refusal) -> Vec<u8> {
    let id = RequestId::new(UnixMillis::from(std::time::SystemTime::now()));
    let (status, code) = (status_of(refusal.reason), code_of(refusal.reason));
    let body = format!(
        r#"{{"error":{{"code":"{code}","message":"{}"}}}}"#,
        refusal.message
    );
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ntidegate-request-id: {id}\r\nconnection: close\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    )
    .into_bytes()
}

/// The refusal that stands for a reply made by hyper itself: one that begins with such a status and lacks our header.
fn stands_for(written: &[u8]) -> Option<Refusal> {
    let status = written
        .strip_prefix(b"HTTP/1.1 4")
        .or_else(|| written.strip_prefix(b"HTTP/1.0 4"))?;
    if memchr::memmem::find(written, b"tidegate-request-id").is_some() {
        return None;
    }
    Some(match status.get(..2)? {
        b"31" | b"14" => Refusal::new(Reason::HeadersTooLarge, "the request's head is too large"),
        _ => Refusal::new(Reason::BadRequest, "the request's head is not valid HTTP"),
    })
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.begun |= buffer.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refusal) = stands_for(bytes) {
            self.refuse(&refusal);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.begun = false;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replies_without_a_request_id_are_replaced() {
        let reason = |bytes: &[u8]| stands_for(bytes).map(|refusal| refusal.reason);
        assert_eq!(
            reason(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
            Some(Reason::BadRequest)
        );
        assert_eq!(
            reason(b"HTTP/1.1 431 Too Large\r\n\r\n"),
            Some(Reason::HeadersTooLarge)
        );
        assert_eq!(
            reason(b"HTTP/1.1 401 Unauthorized\r\ntidegate-request-id: 1\r\n\r\n"),
            None
        );
        assert_eq!(reason(b"HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(reason(b"HTTP/1.1 4"), None);
    }

    #[test]
    fn a_raw_refusal_is_a_whole_reply() {
        let reply = raw_refusal(&Refusal::new(Reason::HeaderTimeout, "too slow"));
        let text = String::from_utf8(reply).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{head}"
        );
        assert!(head.contains("tidegate-request-id: "), "{head}");
    }
}
