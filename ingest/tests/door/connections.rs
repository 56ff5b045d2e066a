//! Connections: how many, how long, in which protocol. In: many at once, pipelined, closing, HTTP/2. Out: every one of
//! them served.

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::house::{House, Plan, Sent, soon};

#[tokio::test]
async fn further_connections_wait_and_none_is_dropped() {
    for threads in [1, 2, 4] {
        let mut plan = Plan::default();
        plan.limits.threads = threads;
        plan.limits.connections_max = 1;
        let house = House::of(plan).await;
        let request = Sent::to("open").bytes(&house);
        let mut waiting = Vec::new();
        for _ in 0..12 {
            let mut wire = house.connect().await;
            wire.send(&request).await;
            waiting.push(tokio::spawn(async move { wire.reply().await.status }));
        }
        for one in waiting {
            assert_eq!(soon("a waiting connection", one).await.expect("served"), 200);
        }
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_pipelined_ones_in_order() {
    let house = House::usual().await;
    let mut wire = house.connect().await;
    let mut many = Vec::new();
    for n in 0..20 {
        let body = n.to_string();
        many.extend(
            Sent {
                body: body.as_bytes(),
                ..Sent::to("open")
            }
            .bytes(&house),
        );
    }
    wire.send(&many).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let reply = wire.reply().await;
        assert_eq!(reply.status, 200);
        ids.push(reply.id().to_owned());
    }
    let appended = house.appended(("open", 2)).await;
    for (n, ((meta, message), id)) in appended.iter().zip(&ids).enumerate() {
        assert_eq!(message.value.as_ref(), n.to_string().as_bytes());
        assert_eq!(&meta.id.0.to_string(), id);
    }
    assert_eq!(appended.len(), 20);
}

#[tokio::test]
async fn a_connection_is_closed_when_its_sender_asks_for_it() {
    let house = House::usual().await;
    for _ in 0..20 {
        let mut wire = house.connect().await;
        let closing = Sent {
            headers: "connection: close\r\n",
            ..Sent::to("open")
        };
        wire.send(&closing.bytes(&house)).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
        wire.ends().await;
    }
}

#[tokio::test]
async fn http2_without_tls_is_served_by_prior_knowledge() {
    let house = House::usual().await;
    let stream = tokio::net::TcpStream::connect(house.ingest.address())
        .await
        .expect("connects");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = soon("an HTTP/2 connection", handshake).await.expect("HTTP/2");
    let driver = tokio::spawn(connection);
    let mut replies = Vec::new();
    for n in 0..10 {
        let url = format!("http://{}{}", house.ingest.address(), house.path("open"));
        let request = http::Request::post(url).body(Full::new(bytes::Bytes::from(n.to_string())));
        let mut sender = sender.clone();
        replies.push(tokio::spawn(async move {
            sender.send_request(request.expect("a request")).await
        }));
    }
    for reply in replies {
        let reply = soon("a reply", reply).await.expect("sent").expect("answered");
        assert_eq!(reply.status(), 200);
        assert!(reply.headers().contains_key("tidegate-request-id"));
        let body = reply.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body.as_ref(), br#"{"status":"success"}"#);
    }
    drop(sender);
    soon("the connection's end", driver)
        .await
        .expect("no panic")
        .expect("a clean end");
    let mut kept: Vec<_> = house
        .appended(("open", 2))
        .await
        .into_iter()
        .map(|(_, message)| message.value)
        .collect();
    kept.sort();
    assert_eq!(kept.concat(), b"0123456789");
}

#[tokio::test]
async fn threads_share_one_port() {
    let mut plan = Plan::default();
    plan.limits.threads = 3;
    let house = House::of(plan).await;
    let port = format!("0100007F:{:04X}", house.ingest.address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("this system's sockets");
    let listening = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(port.as_str()) && fields.nth(1) == Some("0A")
    };
    assert_eq!(table.lines().filter(listening).count(), 3);
    for _ in 0..64 {
        assert_eq!(house.send(Sent::to("open")).await.status, 200);
    }
}
