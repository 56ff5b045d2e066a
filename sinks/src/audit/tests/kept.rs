//! How long what is kept: rows 90 days, bodies, payloads and answers 14, as the engine itself throws them away. And that
//! no column stays empty: every one is written once with a value that is not its default.

use super::*;

const DAY_MS: u64 = 24 * 3_600_000;

/// A time so many days ago.
fn days_ago(days: u64) -> UnixMillis {
    UnixMillis(earlier(5).0 - days * DAY_MS)
}

/// A provider whose bodies are written as they are.
fn known_provider(house: &House) -> String {
    let mut names = house.masker.catalogue.names();
    names.next().expect("there are definitions").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_after_90_days_and_bodies_after_14() {
    let house = House::migrated().await;
    let audit = house.audit();
    let provider = known_provider(&house);
    for (number, days) in (1..).zip([0, 13, 15, 89, 91]) {
        let at = days_ago(days);
        let meta = RequestMeta {
            provider: provider.clone(),
            ..request(number, at)
        };
        house.receive(0, &meta, b"{}").await;
        house.decide(0, u64::from(number), &[event(number, at)]).await;
        house
            .append_rows(Topic::Attempts, 0, (1, &[attempt(number, at)]))
            .await;
    }
    let tables = [
        ("webhook_requests", "body", "{}"),
        ("webhook_events", "text", "{}"),
        ("delivery_attempts", "response", "thanks"),
    ];
    for (table, column, text) in tables {
        let newest = format!("SELECT count() FROM {table} WHERE received_at > now() - INTERVAL 1 DAY");
        house.until(&newest, "1").await;
        house
            .execute(&format!(
                "ALTER TABLE {table} MATERIALIZE TTL SETTINGS mutations_sync = 2"
            ))
            .await;
        house.execute(&format!("OPTIMIZE TABLE {table} FINAL")).await;
        let left = format!(
            "SELECT dateDiff('day', received_at, now64(3, 'UTC')) AS days, {column} FROM {table} ORDER BY days"
        );
        house
            .until(&left, &format!("0\t{text}\n13\t{text}\n15\t\n89\t"))
            .await;
    }
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_written() {
    let house = House::migrated().await;
    let audit = house.audit();
    let at = earlier(5);
    let command = RequestMeta {
        kind: RequestKind::Replay,
        ..request(1, at)
    };
    house.receive(1, &command, b"").await;
    let meta = RequestMeta {
        provider: known_provider(&house),
        connection: Some("acme".to_owned()),
        query: "page=4".to_owned(),
        refusal: Some(Reason::SignatureWrong),
        detail: "no active secret made it".to_owned(),
        spilled: true,
        ..request(2, at)
    };
    house.receive(1, &meta, b"{}").await;
    let decided = EventRow {
        position: 1,
        detail: "lost to 8".to_owned(),
        window: Some(EventId::derive(request_id(7), 0, None)),
        endpoints: vec![attempt(1, at).endpoint_id],
        span_start: 1,
        span_bytes: 1,
        replay_of: Some(EventId::derive(request_id(8), 0, None)),
        ..event(1, at)
    };
    house.decide(0, 77, &[decided]).await;
    let tried = AttemptRow {
        error: "timed out".to_owned(),
        next_at: Some(at),
        ..attempt(1, at)
    };
    house.append_rows(Topic::Attempts, 0, (78, &[tried])).await;
    for table in Table::ALL.map(Table::name) {
        house.until(&format!("SELECT count() FROM {table}"), "1").await;
        let columns = format!(
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '{table}' ORDER BY position"
        );
        let columns = house.ask(&columns).await.expect("the table is there");
        assert!(columns.lines().count() > 20, "{table}: {columns}");
        let empty = columns.lines().map(|column| {
            let default = format!("toString(defaultValueOfArgumentType({column}))");
            format!("if(ifNull(toString({column}), '') = ifNull({default}, ''), '{column}', '')")
        });
        let empty = empty.collect::<Vec<_>>().join(", ");
        let left_empty = format!("SELECT arrayFilter(column -> column != '', [{empty}]) FROM {table}");
        house.check(&left_empty, "[]").await;
    }
    audit.stop().await;
}
