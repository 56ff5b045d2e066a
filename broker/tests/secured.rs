//! Encrypted connections and users against a real Kafka with certificates made for the test: what is right connects,
//! appends and reads, with every mechanism; what is wrong is refused soon, and the error names the setting.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::time::Instant;

use support::record;
use tidegate_broker::embedded::PartitionCounts;
use tidegate_broker::{Broker, kafka};
use tidegate_schemas::{Secret, Topic};
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::kafka::{Kafka, PASSWORD, USER, unique_prefix};

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn config(bootstrap: String, prefix: &str, ca: &Path) -> kafka::Config {
    kafka::Config {
        bootstrap,
        prefix: prefix.to_owned(),
        partitions: PartitionCounts {
            requests: 1,
            events: 1,
            outcomes: 1,
            attempts: 1,
            dead: 1,
            audit: 1,
        },
        question_timeout_ms: 60_000,
        request_timeout_ms: 60_000,
        tls: kafka::Tls {
            enabled: true,
            ca: text(ca),
            ..kafka::Tls::default()
        },
        ..kafka::Config::default()
    }
}

/// With it a message is appended and read.
async fn works(config: &kafka::Config, what: &str) {
    let broker = Broker::connect(config)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let offsets = broker
        .append(vec![record(Topic::Requests, 0, what)])
        .await
        .unwrap();
    let mut reader = broker.reader(Topic::Requests, 0, offsets[0]);
    let read = reader.next(1, 1_000).await.unwrap();
    assert_eq!(read[0].value, what);
    broker.close().await.unwrap();
}

/// With it nothing comes about, and the error names a setting.
async fn is_refused(config: &kafka::Config, names: &str) {
    let began = Instant::now();
    let refused = Broker::connect(config).await.unwrap_err().to_string();
    println!("{:?}: {refused}", began.elapsed());
    assert!(refused.contains(names), "{names} is not named: {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_right_connects_and_what_is_wrong_is_named() {
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let kafka = Kafka::start_secured(&certificates).await;
    let prefix = unique_prefix("secured");
    let mut client = config(kafka.tls(), &prefix, &certificates.ca());
    client.tls.certificate = text(&certificates.client());
    client.tls.key = text(&certificates.client_key());
    works(&client, "a client's certificate").await;

    let change = |config: &kafka::Config, change: &dyn Fn(&mut kafka::Config)| {
        let mut config = config.clone();
        change(&mut config);
        config
    };
    let wrong = change(&client, &|it| it.tls.ca = text(&foreign.ca()));
    is_refused(&wrong, "broker.kafka.tls.ca").await;
    let missing = change(&client, &|it| it.tls.ca = "/nowhere/ca.pem".to_owned());
    is_refused(&missing, "broker.kafka.tls.ca").await;
    let nobody = change(&client, &|it| {
        (it.tls.certificate, it.tls.key) = (String::new(), String::new())
    });
    is_refused(&nobody, "broker.kafka.tls.certificate").await;
    // The broker only hangs up then, and the question is given up.
    let plain = change(&client, &|it| {
        (it.tls, it.question_timeout_ms) = (kafka::Tls::default(), 2_000);
    });
    is_refused(&plain, "broker.kafka.tls.enabled").await;
    let encrypted = change(&client, &|it| {
        (it.bootstrap, it.question_timeout_ms) = (kafka.bootstrap(), 2_000);
    });
    is_refused(&encrypted, "broker.kafka.tls.enabled").await;

    for mechanism in MECHANISMS {
        let mut user = config(kafka.users(), &prefix, &certificates.ca());
        user.sasl = kafka::Sasl {
            mechanism: mechanism.to_owned(),
            user: USER.to_owned(),
            password: Secret::new(PASSWORD),
        };
        works(&user, mechanism).await;
        let wrong = change(&user, &|it| it.sasl.password = Secret::new("another"));
        is_refused(&wrong, "broker.kafka.sasl.password").await;
        let unknown = change(&user, &|it| it.sasl.user = "somebody".to_owned());
        is_refused(&unknown, "broker.kafka.sasl.user").await;
    }
}
