//! What becomes of real requests by real definitions: who is proved, whose events are whose, and what leaves.

use bytes::Bytes;
use tidegate_registry::StoredSecret;
use tidegate_schemas::{Outcome, Proof, Reason, RequestMeta, UnixMillis};

use super::{Decided, House, RECEIVED_AT, World, decided, stored};
use crate::Config;

const TOKEN: &str = "a-token-of-the-integration";
const ROUTED: Reason = Reason::Ok;

fn accounts() -> World {
    let world = World::new("acme").secret(TOKEN);
    let world = world.connection("c1", &[("account", "1"), ("user", "u")], &[]);
    let world = world.connection("c2", &[("account", "2")], &[]);
    world.connection("c2b", &[("account", "2"), ("user", "u")], &[])
}

async fn check(world: &World, request: (RequestMeta, Bytes), expected: &[(u32, &str, Reason)]) {
    let body = String::from_utf8_lossy(&request.1).into_owned();
    let found = decided(world, request, expected.len()).await;
    let mut expected: Vec<_> = expected
        .iter()
        .map(|(at, whose, reason)| Decided::new(*at, whose, *reason))
        .collect();
    expected.sort();
    assert_eq!(found, expected, "{body}");
}

async fn check_accounts(body: &'static str, expected: &[(u32, &str, Reason)]) {
    let world = accounts();
    let request = world.request(&[("x-token", TOKEN)], body);
    check(&world, request, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_to_the_connections_of_the_first_identifier_that_fits() {
    check_accounts(r#"{"type":"t","account":1}"#, &[(0, "c1", ROUTED)]).await;
    check_accounts(
        r#"{"type":"t","account":2}"#,
        &[(0, "c2", ROUTED), (0, "c2b", ROUTED)],
    )
    .await;
    check_accounts(
        r#"{"type":"t","account":9,"user":"u"}"#,
        &[(0, "c1", ROUTED), (0, "c2b", ROUTED)],
    )
    .await;
    check_accounts(r#"{"type":"t","account":1,"user":"u"}"#, &[(0, "c1", ROUTED)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_unknown_identifier_matches_nobody() {
    let world = accounts().connection("empty", &[("account", "")], &[]);
    for body in [
        r#"{"type":"t","account":""}"#,
        r#"{"type":"t","account":null}"#,
        r#"{"type":"t"}"#,
        r#"{"type":"t","account":7}"#,
    ] {
        check(
            &world,
            world.request(&[("x-token", TOKEN)], body),
            &[(0, "", ROUTED)],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_split_and_nobody_sees_anothers_events() {
    let body = r#"{"events":[{"type":"a","account":1,"thing":5},{"type":"ping"},{"type":"b","account":2}]}"#;
    let world = accounts();
    let mut house = House::new().await;
    house
        .append(
            0,
            vec![world.request(&[("x-token", TOKEN), ("x-key", "k"), ("x-kind", "plain")], body)],
        )
        .await;
    house.start(&world, Config::default());
    let outcomes = house.outcomes(4).await;
    let dropped = outcomes
        .values()
        .find(|row| row.position == 1)
        .expect("the ping has its row");
    assert_eq!(
        (dropped.outcome, dropped.reason),
        (Outcome::Filtered, Reason::DropCondition)
    );
    house.stop().await.expect("a clean stop");
    let events = house.events().await;
    let seen = |connection: &str| -> Vec<String> {
        let of = events
            .iter()
            .filter(|(meta, _)| meta.connection.as_deref() == Some(connection));
        of.map(|(_, message)| String::from_utf8_lossy(&message.value).into_owned())
            .collect()
    };
    assert_eq!(seen("c1"), [r#"{"type":"a","account":1,"thing":5}"#]);
    assert_eq!(seen("c2"), [r#"{"type":"b","account":2}"#]);
    assert_eq!(seen("c2"), seen("c2b"));
    for (meta, _) in &events {
        let row = outcomes.get(&meta.id).expect("each event has its row");
        let start = usize::try_from(row.span_start).expect("small");
        let length = usize::try_from(row.span_bytes).expect("small");
        let (_, message) = events
            .iter()
            .find(|(other, _)| other.id == meta.id)
            .expect("itself");
        assert_eq!(
            body.get(start..start + length).map(str::as_bytes),
            Some(&message.value[..])
        );
        assert_eq!(
            (meta.verified, row.verified, meta.commit),
            (Proof::Token, Proof::Token, row.commit)
        );
        assert_eq!(meta.headers.get("x-kind"), Some("plain"));
        assert_eq!(meta.headers.get("x-key"), Some("*"), "redacted");
        assert_eq!(
            meta.headers.get("x-token"),
            Some("*".repeat(TOKEN.len()).as_str()),
            "what was compared"
        );
    }
    let keys: Vec<&[u8]> = events.iter().map(|(_, message)| &message.key[..]).collect();
    assert!(
        keys.contains(&&b"c1/thing/5"[..]) && keys.contains(&&b"c2"[..]),
        "{keys:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_says_whose_it_is_before_the_body_does() {
    let world = accounts();
    let named = |name: &str| {
        let (mut meta, body) = world.request(&[("x-token", TOKEN)], r#"{"type":"t","account":1}"#);
        meta.connection = Some(name.to_owned());
        (meta, body)
    };
    check(&world, named("c2"), &[(0, "c2", ROUTED)]).await;
    check(&world, named("nobody"), &[(0, "", ROUTED)]).await;
    check(&world, named(""), &[(0, "c1", ROUTED)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_genuine_is_rejected() {
    let world = accounts();
    let body = r#"{"events":[{"type":"a","account":1},{"type":"b","account":2}]}"#;
    check(
        &world,
        world.request(&[("x-token", "wrong")], body),
        &[(0, "", Reason::TokenWrong)],
    )
    .await;
    check(
        &world,
        world.request(&[], body),
        &[(0, "", Reason::SignatureMissing)],
    )
    .await;
    let bare = World::new("acme");
    check(
        &bare,
        bare.request(&[("x-token", TOKEN)], body),
        &[(0, "", Reason::SecretMissing)],
    )
    .await;
}

fn valid(secret: &str, from: Option<u64>, until: Option<u64>) -> StoredSecret {
    let mut stored = stored(secret);
    (stored.not_before, stored.not_after) = (from.map(UnixMillis), until.map(UnixMillis));
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_counts_that_was_valid_when_the_request_came() {
    let mut world = accounts();
    let at = RECEIVED_AT.0;
    world.integration.secrets = vec![
        valid("old", None, Some(at + 1)),
        valid("new", Some(at), None),
        valid("ended", None, Some(at)),
        valid("coming", Some(at + 1), None),
    ];
    let body = r#"{"type":"t","account":1}"#;
    for (token, reason) in [
        ("old", ROUTED),
        ("new", ROUTED),
        ("ended", Reason::TokenWrong),
        ("coming", Reason::TokenWrong),
    ] {
        let whose = if reason == ROUTED { "c1" } else { "" };
        check(
            &world,
            world.request(&[("x-token", token)], body),
            &[(0, whose, reason)],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connections_own_secret_proves_that_connections_events_alone() {
    let world = World::new("acme-accounts");
    let world =
        world
            .connection("c1", &[("account", "1")], &["one"])
            .connection("c2", &[("account", "2")], &["two"]);
    let world = world.connection("c3", &[("account", "3")], &[]);
    let post = |token: &str, body: &'static str| world.request(&[("x-token", token)], body);
    let first = r#"{"type":"t","account":1}"#;
    check(&world, post("one", first), &[(0, "c1", ROUTED)]).await;
    check(&world, post("two", first), &[(0, "", Reason::TokenWrong)]).await;
    let both = r#"{"events":[{"type":"t","account":1},{"type":"t","account":2},{"type":"t"}]}"#;
    let expected = [
        (0, "c1", ROUTED),
        (1, "", Reason::SignatureWrong),
        (2, "", Reason::ConnectionUnknown),
    ];
    check(&world, post("one", both), &expected).await;
    check(
        &world,
        post("one", r#"{"type":"t","account":9}"#),
        &[(0, "", Reason::ConnectionUnknown)],
    )
    .await;
    check(
        &world,
        post("one", r#"{"type":"t","account":3}"#),
        &[(0, "", Reason::SecretMissing)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_integrations_secret_counts_for_connections_without_one() {
    let world = World::new("acme-accounts").secret(TOKEN);
    let world =
        world
            .connection("c1", &[("account", "1")], &["one"])
            .connection("c3", &[("account", "3")], &[]);
    let post = |token: &str, body: &'static str| world.request(&[("x-token", token)], body);
    check(
        &world,
        post(TOKEN, r#"{"type":"t","account":3}"#),
        &[(0, "c3", ROUTED)],
    )
    .await;
    check(
        &world,
        post(TOKEN, r#"{"type":"t","account":1}"#),
        &[(0, "", Reason::TokenWrong)],
    )
    .await;
    let both = r#"{"events":[{"type":"t","account":3},{"type":"t","account":1}]}"#;
    check(
        &world,
        post(TOKEN, both),
        &[(0, "c3", ROUTED), (1, "", Reason::SignatureWrong)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_may_have_the_secrets_where_the_integration_usually_has() {
    let world = World::new("acme").connection("c1", &[("account", "1")], &["one"]);
    let post = |token: &str| world.request(&[("x-token", token)], r#"{"type":"t","account":1}"#);
    check(&world, post("one"), &[(0, "c1", ROUTED)]).await;
    check(&world, post("two"), &[(0, "", Reason::TokenWrong)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_items_with_tokens_of_their_own_only_the_proved_ones_leave() {
    let world = World::new("acme-items");
    let world =
        world
            .connection("c1", &[("account", "1")], &["one"])
            .connection("c2", &[("account", "2")], &["two"]);
    let body = r#"{"events":[{"account":1,"token":"one"},{"account":2,"token":"two"},{"account":2,"token":"one"},{"account":1,"token":"x"}]}"#;
    let found = decided(&world, world.request(&[], body), 4).await;
    let proved: Vec<_> = found
        .iter()
        .map(|row| (row.position, row.connection.as_str(), row.outcome))
        .collect();
    let expected = [
        (0, "c1", Outcome::Routed),
        (1, "c2", Outcome::Routed),
        (2, "", Outcome::Rejected),
        (3, "", Outcome::Rejected),
    ];
    assert_eq!(proved, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn unverified_integrations_say_so_for_ever() {
    let open = World::new("acme-open").connection("c1", &[("account", "1")], &[]);
    let mut allowed = World::new("acme").connection("c1", &[("account", "1")], &[]);
    allowed.integration.flags.allow_unverified = true;
    for world in [open, allowed] {
        let mut house = House::new().await;
        house
            .append(0, vec![world.request(&[], r#"{"type":"t","account":1}"#)])
            .await;
        house.start(&world, Config::default());
        let row = house.rows(1).await.remove(0);
        assert_eq!(
            (row.connection.as_str(), row.outcome, row.verified),
            ("c1", Outcome::Routed, Proof::None)
        );
        house.stop().await.expect("a clean stop");
        let events = house.events().await;
        assert_eq!(
            events.iter().map(|(meta, _)| meta.verified).collect::<Vec<_>>(),
            [Proof::None]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_or_reaches_too_much_is_malformed() {
    let mut world = World::new("acme").secret(TOKEN);
    for at in 0..4 {
        world = world.connection(&format!("c{at}"), &[("account", "1")], &[]);
    }
    let limits = |connections, events| Config {
        connections_per_event_max: connections,
        events_per_request_max: events,
        ..Config::default()
    };
    let one = r#"{"type":"t","account":1}"#;
    let three = r#"{"events":[{"type":"t"},{"type":"t"},{"type":"t"}]}"#;
    let cases = [
        (limits(3, 100), one, Some(Reason::TooManyConnections)),
        (limits(4, 3), one, Some(Reason::TooManyEvents)),
        (limits(4, 4), one, None),
        (limits(4, 2), three, Some(Reason::TooManyEvents)),
        (limits(4, 3), three, None),
    ];
    for (config, body, refused) in cases {
        let mut house = House::new().await;
        house
            .append(0, vec![world.request(&[("x-token", TOKEN)], body)])
            .await;
        house.start(&world, config);
        let row = house.rows(1).await.remove(0);
        assert_eq!(row.reason, refused.unwrap_or(Reason::Ok), "{body}");
        house.stop().await.expect("a clean stop");
    }
}
