//! `tidegate doctor`, and what a start on Kafka refuses: what is wrong is named with what mends it. In: folders, engines
//! and topics that are as they should be, and some that are not.

use std::os::unix::fs::PermissionsExt as _;

use tidegate_testkit::server::Launch;

use crate::kafka::on_kafka;
use crate::launch;

/// What `doctor` prints, and whether it found nothing wrong.
fn doctor(launch: &Launch) -> (String, bool) {
    let output = launch.command(&["doctor"]).output().expect("the program starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!printed.is_empty(), "nothing is printed: {error}");
    (printed, output.status.success())
}

/// The line about something.
fn line<'p>(printed: &'p str, degree: &str, about: &str) -> &'p str {
    let found = printed
        .lines()
        .find(|line| line.starts_with(degree) && line.contains(about));
    found.unwrap_or_else(|| panic!("no {degree} about {about}:\n{printed}"))
}

#[test]
fn an_embedded_server_to_be_is_fine_and_what_is_wrong_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let launch = launch(folder.path()).set("TIDEGATE__BROKER__EMBEDDED__DISK_BYTES_MAX", "1073741824");
    let (printed, is_fine) = doctor(&launch);
    assert!(is_fine && !printed.contains("WRONG"), "{printed}");
    for about in [
        "configuration",
        "data folder",
        "disk",
        "key file",
        "definitions",
        "ClickHouse",
        "log",
    ] {
        line(&printed, "ok", about);
    }
    assert!(
        std::fs::read_dir(folder.path())
            .expect("it is ours")
            .next()
            .is_none(),
        "it makes nothing"
    );
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "AAAA").expect("it is ours");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let missing = folder.path().join("nowhere.so");
    let broken = launch
        .set("TIDEGATE_LIBCHDB", missing.to_str().expect("text"))
        .set("TIDEGATE__CLICKHOUSE__BODY_TTL_DAYS", "200");
    let (printed, is_fine) = doctor(&broken);
    assert!(!is_fine, "{printed}");
    line(&printed, "WRONG", "configuration");
    assert!(printed.contains("clickhouse.rows_ttl_days"), "{printed}");
    assert!(
        line(&printed, "WRONG", "key file").contains("chmod 600"),
        "{printed}"
    );
    line(&printed, "WRONG", "nowhere.so");
    assert!(printed.contains("`make engine`"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_readers_on_kafka_are_looked_at_and_nothing_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let (launch, _) = on_kafka(launch(folder.path()), "doctor").await;
    let (printed, is_fine) = doctor(&launch);
    assert!(is_fine, "{printed}");
    assert!(
        line(&printed, "warn", "requests").contains("is missing"),
        "{printed}"
    );
    let (printed, _) = doctor(&launch);
    line(&printed, "warn", "requests");
    let refuses = launch
        .clone()
        .set("TIDEGATE__BROKER__KAFKA__CREATE_TOPICS", "false");
    let (printed, is_fine) = doctor(&refuses);
    assert!(!is_fine && printed.contains("create_topics"), "{printed}");
    let server = launch.start().await;
    let (printed, is_fine) = doctor(&launch);
    assert!(is_fine, "{printed}");
    line(&printed, "ok", "Kafka");
    line(&printed, "ok", "lag");
    line(&printed, "ok", "server");
    line(&printed, "ok", "admin key");
    let longer = launch
        .clone()
        .set("TIDEGATE__BROKER__KAFKA__RETENTION_HOURS", "999");
    let (printed, is_fine) = doctor(&longer);
    assert!(!is_fine, "{printed}");
    for topic in ["requests", "events"] {
        line(&printed, "WRONG", &format!("{topic}: retention.ms"));
    }
    assert!(
        printed.contains("--add-config retention.ms=3596400000"),
        "{printed}"
    );
    let elsewhere = launch
        .set("TIDEGATE__BROKER__KAFKA__BOOTSTRAP", "127.0.0.1:1")
        .set("TIDEGATE__BROKER__KAFKA__QUESTION_TIMEOUT_MS", "500");
    let (printed, is_fine) = doctor(&elsewhere);
    assert!(!is_fine, "{printed}");
    assert!(
        line(&printed, "WRONG", "Kafka").contains("127.0.0.1:1"),
        "{printed}"
    );
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_kafka_without_an_admin_key_says_which_variable_to_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let (launch, _) = on_kafka(launch(folder.path()), "nokey").await;
    for (key, says) in [("", "there is none yet"), ("too-short", "at least 32 characters")] {
        let output = launch
            .clone()
            .set("TIDEGATE_ADMIN_KEY", key)
            .command(&["serve"])
            .output()
            .expect("the program starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{key:?} was taken");
        assert!(
            error.contains("TIDEGATE_ADMIN_KEY") && error.contains(says),
            "{key:?}: {error}"
        );
    }
    let server = launch.start().await;
    assert!(server.terminate().await.success());
    // Once it is in the registry, a start needs the variable no more.
    let again = launch.set("TIDEGATE_ADMIN_KEY", "").start().await;
    assert!(again.terminate().await.success());
}
