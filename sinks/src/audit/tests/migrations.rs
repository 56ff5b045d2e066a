//! Migrations: once, twice, by several processes at once, tampered with, refused; and the terms of rows and bodies.

use tidegate_schemas::clickhouse::{MIGRATIONS, Migration};

use super::super::migrate::apply;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_does_nothing_more() {
    let house = House::open().await;
    let first = migrate(&house.config)
        .await
        .expect("an empty database can be migrated");
    assert_eq!(first.applied.len(), MIGRATIONS.len());
    let second = migrate(&house.config)
        .await
        .expect("a migrated one can be migrated");
    assert_eq!(
        (second.applied.len(), second.present, second.terms.len()),
        (0, MIGRATIONS.len(), 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_migrate_at_once() {
    let house = House::open().await;
    let (a, b, c) = tokio::join!(
        migrate(&house.config),
        migrate(&house.config),
        migrate(&house.config)
    );
    for report in [a, b, c] {
        report.expect("each of them succeeds");
    }
    house
        .check(
            "SELECT count(), uniqExact(number) = count() FROM schema_migrations FINAL",
            &format!("{}\t1", MIGRATIONS.len()),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_run_twice() {
    let house = House::migrated().await;
    house.execute("TRUNCATE TABLE schema_migrations").await;
    let again = migrate(&house.config)
        .await
        .expect("a crash before the note leaves nothing broken");
    assert_eq!(again.applied.len(), MIGRATIONS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_migration_stops_and_names_the_file() {
    let house = House::migrated().await;
    house
        .execute("INSERT INTO schema_migrations (number, file, checksum) VALUES (2, 'x', 'other')")
        .await;
    let error = migrate(&house.config).await.expect_err("a migration was changed");
    assert!(
        error.to_string().contains("0002_webhook_events.sql") && !error.is_retryable(),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_statement_names_file_and_statement() {
    let house = House::migrated().await;
    let client = connect(&house.config).expect("the configuration is right");
    let sql = "SELECT 1;\nCREATE TABLE IF NOT EXISTS t (a Nonsense) ENGINE = Memory;\n";
    let wrong = [Migration {
        number: 900,
        file: "0900_wrong.sql",
        sql,
    }];
    let error = apply(&client, &wrong, house.config.insert_timeout())
        .await
        .expect_err("no such type");
    assert!(
        error
            .to_string()
            .starts_with("migration 0900_wrong.sql, statement 2: "),
        "{error}"
    );
    house
        .check("SELECT count() FROM schema_migrations WHERE number = 900", "0")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_left_alone() {
    let house = House::migrated().await;
    house
        .execute("INSERT INTO schema_migrations (number, file, checksum) VALUES (999, '0999_later.sql', 'c')")
        .await;
    let report = migrate(&house.config).await.expect("an older build goes on");
    assert_eq!(report.newer, ["0999_later.sql"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_follow_the_configuration() {
    let mut house = House::migrated().await;
    let days = "SELECT name, extractAll(create_table_query, 'toIntervalDay\\\\((\\\\d+)\\\\)') FROM system.tables \
         WHERE database = currentDatabase() AND name IN ('webhook_requests', 'webhook_events', 'delivery_attempts') \
         ORDER BY name";
    let shown = |body: u32, rows: u32| {
        let line = |name: &str| format!("{name}\t['{body}','{rows}']");
        ["delivery_attempts", "webhook_events", "webhook_requests"]
            .map(line)
            .join("\n")
    };
    house.check(days, &shown(14, 90)).await;
    (house.config.rows_ttl_days, house.config.body_ttl_days) = (30, 3);
    let report = migrate(&house.config).await.expect("terms can be changed");
    assert_eq!(report.terms.len(), 6, "{:?}", report.terms);
    house.check(days, &shown(3, 30)).await;
    assert!(
        migrate(&house.config).await.expect("again").terms.is_empty(),
        "set only where they differ"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn old_bodies_and_rows_go() {
    let house = House::migrated().await;
    let audit = house.audit();
    let day = 24 * 60;
    for (number, days) in [(1, 1), (2, 20), (3, 100)] {
        let row = EventRow {
            payload: "text".to_owned(),
            ..event(number, earlier(days * day))
        };
        house.decide(0, u64::from(number), &[row]).await;
    }
    house.until("SELECT max(version) FROM webhook_events", "2").await;
    house
        .until(
            "SELECT count() FROM system.parts WHERE active AND table = 'webhook_events' AND rows > 0",
            "2",
        )
        .await;
    house.execute("OPTIMIZE TABLE webhook_events FINAL").await;
    house
        .check(
            "SELECT version, text FROM webhook_events ORDER BY version",
            "1\ttext\n2\t",
        )
        .await;
    audit.stop().await;
}
