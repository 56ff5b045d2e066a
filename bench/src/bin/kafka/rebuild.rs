//! How long a process takes to hold what lies on Kafka, and nowhere else: a million connections, and a million parked
//! deliveries; of objects `objects` tells. In: a count of each. Out: seconds from the start of a process on an empty folder, and what it says meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tidegate_bench::Failure;
use tidegate_bench::kafka::{Node, PATIENCE, Process};
use tidegate_bench::webhook::Choice;
use tidegate_broker::journal::Changes;
use tidegate_broker::{Broker, Record};
use tidegate_registry::{Connection, Entity, KeyFile, Write, Writer};
use tidegate_schemas::{
    EndpointId, JournalKind, JournalMeta, Metadata as _, Topic, UnixMillis, WRITE_VERSION,
};

use crate::scene::Scene;

const PARTITIONS: u32 = 8;
/// Connections in one write.
const WRITE: u64 = 5_000;
/// Parked deliveries in one journal message.
const PARKED: u64 = 50_000;
/// How often it is looked whether all is there.
const POLL: Duration = Duration::from_millis(50);

/// So many connections, and as many parked deliveries.
pub async fn run((node, folder): (&Node, &Path), count: u64) -> Result<(), Failure> {
    let scene = Scene::new(&Choice::read(std::iter::empty())?, 1)?;
    let config = node.config("rebuild.", PARTITIONS);
    let broker = node.connect(&config).await?;
    let keys = folder.join("keys");
    let integration = scene.integrations().first().ok_or("one was made")?.id;
    let connection = |number: u64| {
        let mut connection = Connection::new(integration, format!("customer-{number:015}"), now());
        for property in ["account", "team", "site"] {
            connection = connection.with_property(property, &format!("{property}-{number:015}"));
        }
        Entity::Connection(connection)
    };
    let mut writes = vec![scene.entities()];
    writes.extend((0..count.div_ceil(WRITE)).map(|at| {
        (at * WRITE..count.min((at + 1) * WRITE))
            .map(connection)
            .collect()
    }));
    let began = Instant::now();
    write(&broker, &keys, writes).await?;
    park(&broker, count).await?;
    println!(
        "{count} connections and {count} parked deliveries written in {:.1?}",
        began.elapsed()
    );

    let began = Instant::now();
    let mut processor = Process::start(
        &folder.join("processor"),
        "processor",
        &node.settings(&config, &keys),
    )?;
    processor.ready().await?;
    println!(
        "{count} connections: ready {:.1?} after the start (goal 15 s)",
        began.elapsed()
    );
    told(&processor);
    processor.terminate()?;

    let settings = node.settings(&config, &keys);
    forwarder(
        Process::start(&folder.join("forward"), "forward", &settings)?,
        count,
    )
    .await?;
    broker.close().await?;
    Ok(())
}

/// Waits until a forwarder that was just started has all parked deliveries.
async fn forwarder(forwarder: Process, count: u64) -> Result<(), Failure> {
    let began = Instant::now();
    let mut ready = None;
    let family = "tidegate_sinks_forward_parked_deliveries";
    loop {
        let parked = forwarder.metric(family).await;
        if parked.is_some() && ready.is_none() {
            ready = Some(began.elapsed());
        }
        if parked.is_some_and(|parked| parked >= count as f64) {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{parked:?} of {count} are parked: {}", forwarder.printed()).into());
        }
        tokio::time::sleep(POLL).await;
    }
    let (ready, all) = (ready.unwrap_or_default(), began.elapsed());
    println!(
        "{count} parked deliveries: all there {:.1?} after the start, {:.1?} after the registry was read (goal 10 s; the \
         gauge says so once a second)",
        all,
        all.saturating_sub(ready)
    );
    told(&forwarder);
    forwarder.terminate()
}

/// Writes entities as the registry's writer does, one write after the other.
pub async fn write(broker: &Broker, keys: &Path, writes: Vec<Vec<Entity>>) -> Result<(), Failure> {
    let keyring = Arc::new(KeyFile::load_or_create(keys)?);
    let config = tidegate_registry::Config::default();
    let (writer, _registry, follower) = Writer::open(broker, keyring, (&config, None)).await?;
    let following = tokio::spawn(follower.run());
    for entities in writes {
        let puts = entities.into_iter().map(Write::put).collect();
        writer.write(puts, now()).await?;
    }
    following.abort();
    Ok(())
}

/// Writes the journals of owners that have parked so many deliveries, due in an hour. The bytes are those of
/// `sinks/src/forward/change.rs`, which are read for ever.
async fn park(broker: &Broker, count: u64) -> Result<(), Failure> {
    let (endpoint, due) = (EndpointId::new(now()), now().after(Duration::from_secs(3600)));
    for partition in 0..PARTITIONS {
        let open = meta(JournalKind::Open, (0, 0));
        let offsets = broker
            .append(vec![journalled(partition, &open, Vec::new())])
            .await?;
        let epoch = *offsets.first().ok_or("one offset for one record")?;
        let (mut at, end) = (0, count / u64::from(PARTITIONS));
        while at < end {
            let mut changes = Changes::new();
            let until = end.min(at + PARKED);
            for offset in at..until {
                let mut change = vec![1];
                change.extend_from_slice(endpoint.0.as_bytes());
                for number in [offset, 3, due.0, due.seconds() + 3600] {
                    varint(&mut change, number);
                }
                changes.push(&change);
            }
            let commit = meta(JournalKind::Commit, (epoch, changes.len_bytes() as u64));
            let record = journalled(partition, &commit, changes.as_bytes().to_vec());
            broker.append(vec![record]).await?;
            at = until;
        }
    }
    Ok(())
}

fn meta(kind: JournalKind, (epoch, changes_bytes): (u64, u64)) -> JournalMeta {
    JournalMeta {
        v: WRITE_VERSION,
        kind,
        epoch,
        input: 0,
        changes_bytes,
        round_start: None,
        round_complete: false,
        address: None,
    }
}

fn journalled(partition: u32, meta: &JournalMeta, value: Vec<u8>) -> Record {
    Record {
        topic: Topic::Retries,
        partition,
        key: Bytes::new(),
        meta: meta.encode().into(),
        value: value.into(),
    }
}

/// Seven bits a byte, the lowest first.
fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// What a process said of its progress.
pub fn told(process: &Process) {
    for line in process
        .printed()
        .lines()
        .filter(|line| line.contains("reading the"))
    {
        println!("  {line}");
    }
}

fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}
