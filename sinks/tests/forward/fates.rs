//! What becomes of deliveries over time: slow, dead and deleted endpoints, the schedule to its end, commands, and owners
//! that are killed. In: events and a clock that is moved by hand. Out: what arrived, rows, and dead letters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::{Arrival, PARTITION, Plan, Reply, World};
use tidegate_registry::EndpointState;
use tidegate_schemas::{DeliveryId, DeliveryStatus, EndpointId, EventId, EventKind, Pointer, Reason};

/// Fires what is due after this: due times are kept in steps of 256 ms, and put off by at most a second.
const SLACK: Duration = Duration::from_millis(1_300);

/// The `webhook-id`s that arrived at `path`, each with how often.
fn ids(arrivals: &[Arrival], path: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for arrival in arrivals.iter().filter(|arrival| arrival.path == path) {
        *counts.entry(arrival.header("webhook-id").to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_endpoints_never_slow_the_others() {
    const EVENTS: usize = 50;
    let hangs = |arrival: &Arrival, _| {
        if arrival.path == "/hangs" {
            Reply::Hang
        } else {
            Reply::ok()
        }
    };
    let mut plan = Plan::new(hangs).await;
    // Few places, little memory: what the dead ones take is missing to the others, if it may be.
    plan.config.in_flight_max = 8;
    plan.config.held_bytes_max = 64 * 1024;
    plan.config.timeout_ms = 600_000;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = unused.local_addr().expect("an address");
    drop(unused);
    let refuses = plan.endpoint_at("refuses", &format!("http://{closed}/"));
    let hanging = plan.endpoint("hangs");
    let mut endpoints = vec![refuses, hanging];
    endpoints.extend((0..40).map(|number| plan.endpoint(&format!("healthy-{number}"))));
    let mut world = plan.start().await;
    let mut expected = HashSet::new();
    for _ in 0..EVENTS {
        expected.insert(world.event(&endpoints).await.to_string());
    }
    let healthy = |arrivals: &[Arrival]| {
        arrivals
            .iter()
            .filter(|one| one.path.starts_with("/healthy"))
            .count()
    };
    // No connection of the hanging endpoint is let go before this is through.
    let arrivals = world
        .receiver
        .wait_for(|arrivals| healthy(arrivals) >= 40 * EVENTS)
        .await;
    for number in 0..40 {
        let got = ids(&arrivals, &format!("/healthy-{number}"));
        assert!(got.values().all(|count| *count == 1), "nothing twice");
        assert_eq!(got.into_keys().collect::<HashSet<_>>(), expected);
    }
    world.receiver.let_go();
    let all = |arrivals: &[Arrival]| ids(arrivals, "/hangs").len() == EVENTS;
    world.receiver.wait_for(all).await;
    let refused =
        |rows: &[tidegate_schemas::AttemptRow]| rows.iter().filter(|row| row.endpoint == "refuses").count();
    let rows = world.rows(|rows| refused(rows) >= 4).await;
    assert!(
        rows.iter()
            .all(|row| row.endpoint != "refuses" || row.reason == Reason::Connect)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_owners_lose_nothing_and_repeat_little() {
    const KILLS: usize = 4;
    const EVENTS: usize = 400;
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    plan.config.in_flight_max = 16;
    plan.config.commit_attempts_max = 20;
    let endpoints = [plan.endpoint("a"), plan.endpoint("b")];
    let mut world = plan.start().await;
    let mut sent = HashSet::new();
    for kill in 1..=KILLS {
        for _ in 0..EVENTS / KILLS {
            sent.insert(world.event(&endpoints).await.to_string());
        }
        let some = kill * 2 * EVENTS / KILLS - EVENTS / KILLS;
        world.receiver.wait_for(|arrivals| arrivals.len() >= some).await;
        world.kill().await;
        world.run();
    }
    let whole = |arrivals: &[Arrival]| {
        ["/a", "/b"]
            .iter()
            .all(|path| ids(arrivals, path).len() == EVENTS)
    };
    let mut arrivals = world.receiver.arrivals();
    while !whole(&arrivals) {
        // What was being tried when its owner was killed is parked until its attempt would have ended.
        world.clock.advance(Duration::from_secs(30));
        arrivals = world.receiver.wait_a_little().await;
    }
    world.stop().await;
    let arrivals = world.receiver.arrivals();
    for path in ["/a", "/b"] {
        assert_eq!(ids(&arrivals, path).into_keys().collect::<HashSet<_>>(), sent);
    }
    // Per kill: what was in flight, and what had ended since the commit before the one that was cut off.
    let repeats = arrivals.len() - 2 * EVENTS;
    assert!(repeats <= KILLS * (16 + 2 * (20 + 16)), "{repeats} repeats");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_delivery_survives_its_owner() {
    let mut plan = Plan::new(|_, before| {
        if before == 0 {
            Reply::status(500)
        } else {
            Reply::ok()
        }
    })
    .await;
    let endpoint = plan.endpoint("hook");
    let mut world = plan.start().await;
    let id = world.event(&[endpoint]).await;
    world.rows(|rows| rows.len() == 1).await;
    world.kill().await;
    world.clock.advance(Duration::from_secs(5) + SLACK);
    world.run();
    let arrivals = world.receiver.wait_for(|arrivals| arrivals.len() == 2).await;
    assert_eq!(
        (
            arrivals[1].header("tidegate-attempt"),
            arrivals[1].header("webhook-id")
        ),
        ("2", &*id.to_string())
    );
    let rows = world.rows(|rows| rows.len() == 2).await;
    assert_eq!((rows[1].number, rows[1].status), (2, DeliveryStatus::Delivered));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_ends_among_the_dead() {
    let mut plan = Plan::new(|_, _| Reply::status(500)).await;
    plan.config.schedule_ms = vec![1_000, 20_000];
    let endpoint = plan.endpoint("hook");
    let mut world = plan.start().await;
    let meta = world.meta(&[endpoint]);
    let offset = world.append(&meta, br#"{"last":"words"}"#).await;
    let mut first_at = None;
    for (number, delay) in [(1, 1_000), (2, 20_000), (3, 0)] {
        let row = world.rows(|rows| rows.len() == number).await.remove(number - 1);
        assert_eq!(row.number as usize, number);
        let expected = if number == 3 {
            DeliveryStatus::Dead
        } else {
            DeliveryStatus::Parked
        };
        assert_eq!(row.status, expected);
        let delay = Duration::from_millis(delay);
        assert_eq!(row.next_at, (number < 3).then(|| row.attempted_at.after(delay)));
        first_at.get_or_insert(row.attempted_at);
        world.clock.advance(delay + SLACK);
    }
    let (dead, value) = world.dead(1).await.remove(0);
    assert_eq!(
        (dead.delivery, dead.endpoint),
        (DeliveryId::derive(meta.id, endpoint), endpoint)
    );
    assert_eq!((dead.tries, dead.last_status), (3, Some(500)));
    assert_eq!(
        (dead.pointer, dead.event),
        (
            Pointer {
                partition: PARTITION,
                offset
            },
            meta
        )
    );
    assert_eq!(value, br#"{"last":"words"}"#);
    world.clock.advance(Duration::from_secs(86_400));
    world.stop().await;
    assert_eq!((world.receiver.arrivals().len(), world.dead_len()), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_obeyed() {
    let busy = Reply::Status(503, vec![("retry-after", "120".to_owned())]);
    let mut plan = Plan::new(move |_, before| if before == 0 { busy.clone() } else { Reply::ok() }).await;
    let endpoint = plan.endpoint("hook");
    let mut world = plan.start().await;
    world.event(&[endpoint]).await;
    let row = world.rows(|rows| rows.len() == 1).await.remove(0);
    assert_eq!(
        row.next_at,
        Some(row.attempted_at.after(Duration::from_secs(120)))
    );
    world.clock.advance(Duration::from_secs(120) + SLACK);
    world.receiver.wait_for(|arrivals| arrivals.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_gone_is_switched_off_and_its_deliveries_wait() {
    let mut plan = Plan::new(|_, before| {
        if before == 0 {
            Reply::status(410)
        } else {
            Reply::ok()
        }
    })
    .await;
    let endpoint = plan.endpoint("hook");
    let (environment, mut endpoints) = (plan.environment.clone(), plan.endpoints.clone());
    let mut world = plan.start().await;
    let first = world.event(&[endpoint]).await;
    let asked = tokio::time::timeout(crate::world::PATIENCE, world.disabled.recv())
        .await
        .expect("in time");
    assert_eq!(
        asked.map(|asked| (asked.endpoint, asked.version)),
        Some((endpoint, 0))
    );
    world.rows(|rows| rows.len() == 1).await;
    let second = world.event(&[endpoint]).await;
    world.committed(2).await;
    world.stop().await;
    assert_eq!(world.receiver.arrivals().len(), 1, "it was called again");

    endpoints[0].version = 1;
    world.register(environment.clone(), endpoints.clone());
    world.run();
    world.clock.advance(Duration::from_secs(5) + SLACK);
    let arrivals = world
        .receiver
        .wait_for(|arrivals| ids(arrivals, "/hook").len() == 2)
        .await;
    let got = ids(&arrivals, "/hook");
    assert!([first, second].iter().all(|id| got.contains_key(&id.to_string())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_to_an_endpoint_that_stays_off_die_when_their_schedule_is_over() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    plan.config.schedule_ms = vec![60_000];
    let endpoint = plan.endpoint("hook");
    plan.endpoints[0].state = EndpointState::DisabledByUser;
    let mut world = plan.start().await;
    let id = world.event(&[endpoint]).await;
    world.committed(1).await;
    assert_eq!(world.dead_len(), 0);
    world.clock.advance(Duration::from_secs(3_600));
    let row = world.rows(|rows| !rows.is_empty()).await.remove(0);
    assert_eq!(
        (row.status, row.reason, row.number),
        (DeliveryStatus::Dead, Reason::ScheduleOver, 0)
    );
    assert_eq!(world.dead(1).await.remove(0).0.event.id, id);
    world.stop().await;
    assert!(world.receiver.arrivals().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_to_a_deleted_endpoint_are_cancelled() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    let there = plan.endpoint("there");
    let mut world = plan.start().await;
    let deleted = EndpointId::new(world.clock.now());
    for _ in 0..20 {
        world.event(&[deleted, there]).await;
    }
    let rows = world.rows(|rows| rows.len() == 40).await;
    let closing: Vec<_> = rows.iter().filter(|row| row.endpoint_id == deleted).collect();
    assert_eq!(closing.len(), 20);
    for row in closing {
        assert_eq!(
            (row.status, row.reason, row.number),
            (DeliveryStatus::Cancelled, Reason::EndpointDeleted, 0)
        );
        assert_eq!((row.endpoint.as_str(), row.url.as_str()), ("", ""));
    }
    assert_eq!(world.dead_len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_parks_everything_and_a_probe_brings_it_back() {
    const EVENTS: usize = 300;
    let heals = Arc::new(AtomicBool::new(false));
    let healed = heals.clone();
    let behave = move |_: &Arrival, _| {
        if healed.load(Ordering::SeqCst) {
            Reply::ok()
        } else {
            Reply::status(503)
        }
    };
    let mut plan = Plan::new(behave).await;
    plan.config.breaker_failures = 5;
    let endpoint = plan.endpoint("hook");
    let mut world = plan.start().await;
    for _ in 0..EVENTS {
        world.event(&[endpoint]).await;
    }
    world.rows(|rows| rows.len() >= 5).await;
    world.committed(EVENTS as u64).await;
    // The clock stands still, so no probe is due: only what was in flight when it opened was tried.
    let tried = world.receiver.arrivals().len();
    assert!((5..20).contains(&tried), "{tried} attempts at a dead endpoint");
    heals.store(true, Ordering::SeqCst);
    let mut arrivals = world.receiver.arrivals();
    while ids(&arrivals[tried..], "/hook").len() < EVENTS {
        world.clock.advance(Duration::from_secs(5));
        arrivals = world.receiver.wait_a_little().await;
    }
    world.stop().await;
    assert_eq!(world.dead_len(), 0, "nothing is dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_an_endpoint_survives_its_owner() {
    const EVENTS: usize = 300;
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    let endpoint = plan.endpoint("hook");
    plan.config.endpoint_queue_max = 100;
    let (environment, on) = (plan.environment.clone(), plan.endpoints.clone());
    plan.endpoints[0].state = EndpointState::DisabledByUser;
    let mut world = plan.start().await;
    for _ in 0..EVENTS {
        world.event(&[endpoint]).await;
    }
    world.committed(EVENTS as u64).await;
    world.kill().await;
    assert!(
        world.receiver.arrivals().is_empty(),
        "an endpoint that is off was called"
    );
    world.register(environment, on);
    world.run();
    let arrivals = world.receiver.wait_for(|arrivals| arrivals.len() >= EVENTS).await;
    let got = ids(&arrivals, "/hook");
    assert_eq!((got.len(), arrivals.len()), (EVENTS, EVENTS), "each once");
}

/// A world with one parked delivery, and the metadata of a command about it.
async fn with_a_parked_delivery(kind: EventKind) -> (World, tidegate_schemas::EventMeta) {
    let mut plan = Plan::new(|_, before| {
        if before == 0 {
            Reply::status(500)
        } else {
            Reply::ok()
        }
    })
    .await;
    let endpoint = plan.endpoint("hook");
    let mut world = plan.start().await;
    let mut meta = world.meta(&[endpoint]);
    let offset = world.append(&meta, b"{}").await;
    world.rows(|rows| rows.len() == 1).await;
    meta.kind = kind;
    meta.pointer = Pointer {
        partition: PARTITION,
        offset,
    };
    meta.delivery = Some(DeliveryId::derive(meta.id, endpoint));
    (world, meta)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_command_makes_a_delivery_due() {
    let (mut world, command) = with_a_parked_delivery(EventKind::Retry).await;
    world.append(&command, b"").await;
    world.committed(2).await;
    world.clock.advance(SLACK);
    let arrivals = world.receiver.wait_for(|arrivals| arrivals.len() == 2).await;
    assert_eq!(arrivals[1].header("tidegate-attempt"), "2");
    // Once more, of a delivery that has ended: its event is sent again.
    world.rows(|rows| rows.len() == 2).await;
    world.append(&command, b"").await;
    world.committed(3).await;
    world.clock.advance(SLACK);
    let arrivals = world.receiver.wait_for(|arrivals| arrivals.len() == 3).await;
    assert_eq!(arrivals[2].header("webhook-id"), command.id.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_by_value_sends_a_dead_delivery_anew() {
    let (world, command) = with_a_parked_delivery(EventKind::Retry).await;
    world.append(&command, br#"{"from":"the dead"}"#).await;
    let arrivals = world.receiver.wait_for(|arrivals| arrivals.len() == 2).await;
    assert_eq!(arrivals[1].header("webhook-id"), command.id.to_string());
    let body: serde_json::Value = serde_json::from_slice(&arrivals[1].body).expect("JSON");
    assert_eq!(body["payload"]["from"], "the dead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_command_ends_a_delivery_with_a_closing_row() {
    let (mut world, command) = with_a_parked_delivery(EventKind::Cancel).await;
    world.append(&command, b"").await;
    let row = world.rows(|rows| rows.len() == 2).await.remove(1);
    assert_eq!(
        (row.status, row.reason, row.number),
        (DeliveryStatus::Cancelled, Reason::CancelRequested, 0)
    );
    assert_eq!(Some(row.delivery_id), command.delivery);
    world.clock.advance(Duration::from_secs(3_600));
    world.stop().await;
    assert_eq!(world.receiver.arrivals().len(), 1, "it was tried again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_mean_nothing_block_nobody() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    let endpoint = plan.endpoint("hook");
    let mut world = plan.start().await;
    for meta in ["{}", "no json", r#"{"v":1,"kind":"event"}"#] {
        world.append_raw(meta.as_bytes()).await;
    }
    let id: EventId = world.event(&[endpoint]).await;
    let arrivals = world.receiver.wait_for(|arrivals| arrivals.len() == 1).await;
    assert_eq!(arrivals[0].header("webhook-id"), id.to_string());
    // But one of a newer Tidegate must not be passed over.
    world.append_raw(br#"{"v":99}"#).await;
    let error = world.ended().await.expect_err("it stops");
    assert!(error.to_string().contains("version 99"), "{error}");
}
