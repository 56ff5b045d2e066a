//! The URLs of webhooks and their replies. In: methods and paths. Out: statuses and codes.

use crate::house::{House, SECRET, Sent};

const NOWHERE: &str = "/webhook/0192f0c1-0000-7000-8000-0000000000e1/crm";

#[tokio::test]
async fn a_genuine_request_is_accepted_by_every_shape_of_its_url() {
    let house = House::usual().await;
    let token = format!("x-token: {SECRET}\r\n");
    let (mut expected, mut ids) = (Vec::new(), Vec::new());
    for (more, connection) in [
        ("", None),
        ("/", None),
        ("/c%2F1", Some("c/1")),
        ("?connection=c-2", Some("c-2")),
        ("?a=b&nangoConnectionId=c-3", Some("c-3")),
    ] {
        let sent = Sent {
            more,
            headers: &token,
            body: b"{}",
            ..Sent::to("crm")
        };
        let reply = house.send(sent).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, r#"{"status":"success"}"#)
        );
        assert_eq!(reply.header("content-type"), Some("application/json"));
        expected.push(connection.map(str::to_owned));
        ids.push(reply.id().to_owned());
    }
    let appended = house.appended(("crm", 1)).await;
    let connections: Vec<_> = appended.iter().map(|(meta, _)| meta.connection.clone()).collect();
    let appended: Vec<_> = appended.iter().map(|(meta, _)| meta.id.0.to_string()).collect();
    assert_eq!((connections, appended), (expected, ids));
}

#[tokio::test]
async fn urls_that_name_nothing_are_answered_404_and_not_appended() {
    let house = House::usual().await;
    let path = house.path("nobody");
    for (path, code) in [
        ("/", "unknown_route"),
        ("/favicon.ico", "unknown_route"),
        ("/webhook/not-a-uuid/crm", "unknown_environment"),
        (NOWHERE, "unknown_environment"),
        (path.as_str(), "unknown_provider_config"),
    ] {
        let mut wire = house.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: hooks.test\r\ncontent-length: 0\r\n\r\n");
        wire.send(head.as_bytes()).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (404, code), "{path}");
    }
    for partition in 0..house.broker.partitions(tidegate_schemas::Topic::Requests) {
        let offsets = house.broker.offsets(tidegate_schemas::Topic::Requests, partition);
        assert!(offsets.is_empty(), "partition {partition}: {offsets:?}");
    }
}

#[tokio::test]
async fn an_integration_without_its_definition_is_asked_to_come_again() {
    let house = House::usual().await;
    let reply = house.send(Sent::to("lost")).await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
}

#[tokio::test]
async fn methods_that_carry_no_events_are_answered_405() {
    let house = House::usual().await;
    for method in ["GET", "HEAD", "DELETE", "PROPFIND"] {
        let reply = house
            .send(Sent {
                method,
                ..Sent::to("crm")
            })
            .await;
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.header("allow").is_some());
    }
}

#[tokio::test]
async fn a_definitions_own_reply_is_given() {
    let house = House::usual().await;
    let quiet = Sent {
        headers: "x-account: quiet\r\n",
        ..Sent::to("named")
    };
    let reply = house.send(quiet).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
}
