//! What is kept of a request: its body byte for byte, its head, and durably before the reply. In: bodies of any kind.
//! Out: the messages of `requests`.

use tidegate_schemas::{RequestKind, Topic};

use crate::house::{House, SECRET, Sent};

#[tokio::test]
async fn every_body_of_every_method_and_type_is_kept_byte_for_byte() {
    let house = House::usual().await;
    let every: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let bodies: [&[u8]; 5] = [b"", b"{ \"a\" :1 }\r\n", b"\xff\xfe\x00", b"a=1&b=%zz", &every];
    let mut sent_bodies = Vec::new();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for (body, kind) in bodies
            .into_iter()
            .zip(["", "application/json", "image/png", "odd", "text/xml"])
        {
            let headers = format!("content-type: {kind}\r\ncontent-encoding: gzip\r\n");
            let sent = Sent {
                method,
                headers: &headers,
                body,
                ..Sent::to("open")
            };
            assert_eq!(house.send(sent).await.status, 200, "{method} {kind}");
            sent_bodies.push((method.to_owned(), body.to_vec()));
        }
    }
    let appended = house.appended(("open", 2)).await;
    let kept: Vec<_> = appended
        .iter()
        .map(|(meta, message)| (meta.method.clone(), message.value.to_vec()))
        .collect();
    assert!(kept == sent_bodies, "a body was changed on its way");
}

#[tokio::test]
async fn a_chunked_body_is_kept_without_its_chunks() {
    let house = House::usual().await;
    let mut wire = house.connect().await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
        house.path("open")
    );
    wire.send(head.as_bytes()).await;
    wire.send(b"3\r\nabc\r\n").await;
    wire.send(b"4;x=y\r\n\r\n\r\n\r\n0\r\ntrailer: t\r\n\r\n").await;
    assert_eq!(wire.reply().await.status, 200);
    let appended = house.appended(("open", 2)).await;
    assert_eq!(appended[0].1.value.as_ref(), b"abc\r\n\r\n");
}

#[tokio::test]
async fn the_head_is_kept_as_it_came() {
    let house = House::usual().await;
    let headers = format!("X-Token: {SECRET}\r\nX-Twice: a\r\nX-Twice: b\r\n");
    let sent = Sent {
        method: "PUT",
        more: "/c-1?q=%20&q=",
        headers: &headers,
        body: b"{}",
        ..Sent::to("crm")
    };
    let reply = house.send(sent).await;
    let appended = house.appended(("crm", 1)).await;
    let (meta, message) = &appended[0];
    let path = house.path("crm") + "/c-1";
    assert_eq!(meta.kind, RequestKind::Received);
    assert_eq!(meta.id.0.to_string(), reply.id());
    assert_eq!(
        (meta.environment, meta.integration.as_str()),
        (house.environment, "crm")
    );
    assert_eq!(message.key.as_ref(), b"crm");
    assert_eq!(
        (meta.method.as_str(), meta.path.as_str(), meta.query.as_str()),
        ("PUT", path.as_str(), "q=%20&q=")
    );
    assert_eq!(
        meta.url,
        format!("http://{}{path}?q=%20&q=", house.ingest.address())
    );
    assert_eq!(meta.headers.all("x-twice").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(meta.headers.get("x-token"), Some(SECRET));
    assert_eq!(meta.remote.as_deref(), Some("127.0.0.1"));
    assert_eq!((meta.body_bytes, meta.status, meta.refusal), (2, 200, None));
    assert!(meta.received_at.0 > 1_700_000_000_000);
}

#[tokio::test]
async fn a_request_is_readable_when_its_reply_comes() {
    let house = House::usual().await;
    for count in 1..=20 {
        house.accept_one("open").await;
        assert_eq!(house.broker.offsets(Topic::Requests, 2), 0..count);
    }
}

#[tokio::test]
async fn what_cannot_be_appended_is_not_acknowledged() {
    let house = House::usual().await;
    house.accept_one("open").await;
    house.broker.clone().close().await.expect("a clean stop");
    let reply = house
        .send(Sent {
            body: b"{}",
            ..Sent::to("open")
        })
        .await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "no_space"));
    assert!(reply.header("retry-after").is_some());
}
