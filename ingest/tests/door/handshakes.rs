//! Handshakes: answered at once, verified first, refused, and with a secret to be stored. In: handshakes of a test's
//! definition. Out: replies, stored secrets, and what the audit is given.

use tidegate_schemas::{Reason, RequestKind};

use crate::house::{House, Plan, SECRET, Sent};

fn awaiting() -> Plan {
    Plan {
        change: |integration| integration.awaits_secret = true,
        ..Plan::default()
    }
}

#[tokio::test]
async fn a_challenge_is_answered_at_once_and_recorded() {
    let house = House::usual().await;
    for (method, body) in [("GET", "a<b"), ("HEAD", "")] {
        let reply = house
            .send(Sent {
                method,
                more: "?challenge=a%3Cb",
                ..Sent::to("crm")
            })
            .await;
        assert_eq!((reply.status, reply.body.as_str()), (200, body));
    }
    let appended = house.appended(("crm", 1)).await;
    let kinds: Vec<_> = appended
        .iter()
        .map(|(meta, _)| (meta.kind, meta.refusal))
        .collect();
    assert_eq!(kinds, [(RequestKind::Answered, Some(Reason::Handshake)); 2]);
}

#[tokio::test]
async fn a_handshake_is_verified_first_where_the_definition_says_so() {
    let house = House::usual().await;
    let token = format!("x-token: {SECRET}\r\n");
    let check = Sent {
        headers: &token,
        body: br#"{"type":"check","challenge":"abc"}"#,
        ..Sent::to("crm")
    };
    let reply = house.send(check).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "abc"));
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    let forged = house
        .send(Sent {
            headers: "x-token: no\r\n",
            ..check
        })
        .await;
    assert_eq!(forged.status, 401);
    assert!(!forged.body.contains("abc"));
}

#[tokio::test]
async fn a_handshake_without_the_agreed_word_is_refused_and_recorded_as_refused() {
    let house = House::usual().await;
    for (more, status) in [("?word=swordfish", 204), ("?word=guessed", 404)] {
        let sent = Sent {
            method: "GET",
            more,
            ..Sent::to("crm")
        };
        assert_eq!(house.send(sent).await.status, status, "{more}");
    }
    let appended = house.appended(("crm", 1)).await;
    let seen: Vec<_> = appended
        .iter()
        .map(|(meta, _)| (meta.kind, meta.refusal, meta.status))
        .collect();
    assert_eq!(
        seen,
        [
            (RequestKind::Answered, Some(Reason::Handshake), 204),
            (RequestKind::Refused, Some(Reason::HandshakeRefused), 404),
        ]
    );
}

const DELIVERY: &str = "x-hook-secret: delivered\r\n";

#[tokio::test]
async fn a_delivered_secret_is_stored_before_the_answer() {
    let house = House::of(awaiting()).await;
    let reply = house
        .send(Sent {
            headers: DELIVERY,
            ..Sent::to("crm")
        })
        .await;
    let stored = house.stored.lock().expect("unharmed").clone();
    assert_eq!(
        (reply.status, reply.header("x-hook-secret")),
        (200, Some("delivered"))
    );
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].1, b"delivered");
}

#[tokio::test]
async fn a_delivered_secret_that_was_not_stored_is_not_acknowledged() {
    let plan = Plan {
        keeps_secrets: false,
        ..awaiting()
    };
    let house = House::of(plan).await;
    let reply = house
        .send(Sent {
            headers: DELIVERY,
            ..Sent::to("crm")
        })
        .await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (403, Reason::HandshakeRefused.label())
    );
    assert_eq!(reply.header("x-hook-secret"), None);
}

#[tokio::test]
async fn a_secret_that_nobody_awaits_is_not_stored() {
    let house = House::usual().await;
    let reply = house
        .send(Sent {
            headers: DELIVERY,
            ..Sent::to("crm")
        })
        .await;
    assert_eq!(
        reply.status, 401,
        "without a handshake it is a request without its token"
    );
    assert!(house.stored.lock().expect("unharmed").is_empty());
}
