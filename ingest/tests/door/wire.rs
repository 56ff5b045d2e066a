//! A client that writes bytes as told and reads whole replies: for what no well-behaved client would send. In: bytes.
//! Out: replies, each checked for its request id. Speaks no HTTP by itself.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::house::soon;

pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(have, _)| have == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The id that every reply carries.
    pub fn id(&self) -> &str {
        self.header("tidegate-request-id")
            .expect("every reply carries its id")
    }

    /// The error's code.
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("an error is JSON");
        assert!(body["error"]["message"].is_string(), "{}", self.body);
        body["error"]["code"].as_str().expect("a code").to_owned()
    }
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address))
            .await
            .expect("connects");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the connection takes bytes");
    }

    pub async fn reply(&mut self) -> Reply {
        self.reply_to("POST").await
    }

    pub async fn reply_to(&mut self, method: &str) -> Reply {
        soon("a reply", self.read_reply(method)).await
    }

    async fn read_reply(&mut self, method: &str) -> Reply {
        let head = self.head().await;
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a status line");
        let split = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let mut reply = Reply {
            status: status.parse().expect("a number"),
            headers: lines.map(split).collect(),
            body: String::new(),
        };
        let length = match (method, reply.status) {
            ("HEAD", _) | (_, 204) => 0,
            _ => reply
                .header("content-length")
                .expect("a length")
                .parse()
                .expect("a number"),
        };
        while self.buffer.len() < length {
            self.more().await;
        }
        reply.body = String::from_utf8(self.buffer.drain(..length).collect()).expect("UTF-8");
        assert_eq!(reply.id().len(), 36, "{reply:?}");
        reply
    }

    /// `100 Continue`: the body is being waited for.
    pub async fn continued(&mut self) {
        let head = soon("100 Continue", self.head()).await;
        assert!(head.starts_with("HTTP/1.1 100"), "{head}");
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head[..end].to_vec()).expect("ASCII");
            }
            self.more().await;
        }
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.expect("readable");
        assert!(
            read > 0,
            "closed behind {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
    }

    /// No byte came behind the last reply, and none will.
    pub async fn ends(mut self) {
        let mut rest = std::mem::take(&mut self.buffer);
        // A reset is an end too: what was sent was not read.
        let _ended = soon("the end", self.stream.read_to_end(&mut rest)).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Whether nothing has come yet.
    pub fn is_silent(&mut self) -> bool {
        matches!(self.stream.try_read_buf(&mut self.buffer), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}
