//! The early check and required identifiers. In: tokens right, wrong and missing. Out: 401, 400 or acceptance, and what
//! the audit is given of each.

use tidegate_schemas::{Reason, RequestKind};

use crate::house::{House, Plan, SECRET, Sent};

fn lenient() -> Plan {
    Plan {
        change: |integration| integration.flags.early_check = false,
        ..Plan::default()
    }
}

async fn check(house: &House, (integration, headers): (&'static str, &str), (status, code): (u16, &str)) {
    let reply = house
        .send(Sent {
            headers,
            body: b"{}",
            ..Sent::to(integration)
        })
        .await;
    assert_eq!(reply.status, status, "{integration} {headers}: {}", reply.body);
    if status >= 400 {
        assert_eq!(reply.code(), code);
    }
}

#[tokio::test]
async fn forgeries_are_answered_401_and_recorded() {
    let house = House::usual().await;
    check(
        &house,
        ("crm", "x-token: guessed\r\n"),
        (401, Reason::TokenWrong.label()),
    )
    .await;
    check(&house, ("crm", ""), (401, Reason::SignatureMissing.label())).await;
    check(&house, ("crm", &format!("x-token: {SECRET}\r\n")), (200, "")).await;
    let appended = house.appended(("crm", 1)).await;
    let seen: Vec<_> = appended
        .iter()
        .map(|(meta, _)| (meta.kind, meta.refusal, meta.status))
        .collect();
    assert_eq!(
        seen,
        [
            (RequestKind::Refused, Some(Reason::TokenWrong), 401),
            (RequestKind::Refused, Some(Reason::SignatureMissing), 401),
            (RequestKind::Received, None, 200),
        ]
    );
}

#[tokio::test]
async fn without_the_early_check_everything_is_accepted_unless_the_definition_requires_it() {
    let house = House::of(lenient()).await;
    check(&house, ("crm", "x-token: guessed\r\n"), (200, "")).await;
    check(
        &house,
        ("strict", "x-token: guessed\r\n"),
        (401, Reason::TokenWrong.label()),
    )
    .await;
    let appended = house.appended(("crm", 1)).await;
    assert_eq!(appended.len(), 1);
    assert_eq!(appended[0].0.kind, RequestKind::Received);
}

#[tokio::test]
async fn a_missing_required_identifier_is_answered_400_and_recorded() {
    let house = House::usual().await;
    check(&house, ("named", ""), (400, Reason::IdentifierMissing.label())).await;
    check(
        &house,
        ("named", "x-account: \r\n"),
        (400, Reason::IdentifierMissing.label()),
    )
    .await;
    check(&house, ("named", "x-account: a\r\n"), (200, "")).await;
    let appended = house.appended(("named", 3)).await;
    let refusals: Vec<_> = appended.iter().map(|(meta, _)| meta.refusal).collect();
    let missing = Some(Reason::IdentifierMissing);
    assert_eq!(refusals, [missing, missing, None]);
}

#[tokio::test]
async fn the_audit_is_given_only_so_many_refusals_and_their_first_bytes() {
    let mut plan = Plan::default();
    plan.limits.refusals_per_second_max = 1;
    plan.limits.refusal_body_bytes_max = 4;
    let house = House::of(plan).await;
    let began = std::time::Instant::now();
    for _ in 0..60 {
        let forged = Sent {
            body: b"0123456789",
            ..Sent::to("crm")
        };
        assert_eq!(house.send(forged).await.status, 401);
    }
    let allowed = 2 + usize::try_from(began.elapsed().as_secs()).expect("a short test");
    let appended = house.appended(("crm", 1)).await;
    assert!(
        (1..=allowed).contains(&appended.len()),
        "{} recorded",
        appended.len()
    );
    let (meta, message) = &appended[0];
    assert_eq!(
        (message.value.as_ref(), meta.body_bytes),
        (b"0123".as_slice(), 10)
    );
}
