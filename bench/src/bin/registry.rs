//! What the registry costs: CPU per lookup and per restored connection, and bytes per connection, at a million
//! connections with an id and three properties of 24 bytes. Beside each lookup stands its floor: one `get` of a
//! `HashMap<String, u32>` with the same values.
//!
//! Run: `cargo run --release -p tidegate-bench --bin registry [connections]`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use tidegate_registry::{Change, Connection, Entity, Integration, KEY_BYTES, Keyring, Tables};
use tidegate_schemas::{EnvironmentId, IntegrationId, Secret, UnixMillis};
// Its allocator.
use tidegate_bench as _;

const LOOKUPS: usize = 2_000_000;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const PROPERTIES: [&str; 3] = ["account", "team", "site"];

fn main() {
    let count = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let keyring = Keyring::new(&[Secret::new([1; KEY_BYTES])]).expect("32 bytes");
    let mut tables = Tables::new(Arc::new(keyring), true);
    let integration = IntegrationId::new(NOW);
    let encoded: Vec<Vec<u8>> = (0..count)
        .map(|number| change(integration, number).encode())
        .collect();
    let resident_before = resident_bytes();
    let restore = cpu_micros(|| {
        for change in &encoded {
            tables.apply_encoded(change).expect("encoded above");
        }
    });
    let resident = resident_bytes().saturating_sub(resident_before);
    println!("connections: {count}");
    println!(
        "restore: {:.2} CPU-µs a connection (JSON change to index)",
        restore / count as f64
    );
    println!(
        "memory: {} bytes a connection by the tables' own count",
        tables.connection_bytes().matched / count
    );
    println!("memory: {} bytes a connection resident", resident / count);
    lookups(&tables, integration, count);
    integrations(&mut tables);
}

fn change(integration: IntegrationId, number: usize) -> Change {
    let mut connection = Connection::new(integration, format!("customer-{number:015}"), NOW);
    connection.version = 1;
    for property in PROPERTIES {
        connection = connection.with_property(property, &value(property, number));
    }
    Change::put(Entity::Connection(connection))
}

/// 24 bytes.
fn value(property: &str, number: usize) -> String {
    format!("{property}-{number:0>width$}", width = 23 - property.len())
}

fn lookups(tables: &Tables, integration: IntegrationId, count: usize) {
    // A fixed stride that is no divisor visits everything in an order that no cache foresees.
    let order: Vec<usize> = (0..LOOKUPS)
        .map(|at| at.wrapping_mul(7_368_787) % count)
        .collect();
    let hits: Vec<String> = order.iter().map(|number| value("team", *number)).collect();
    let misses: Vec<String> = order.iter().map(|number| value("miss", *number)).collect();
    let map: HashMap<String, u32> = (0..count)
        .map(|number| (value("team", number), number as u32))
        .collect();
    let mut found = 0;
    let hit = cpu_micros(|| {
        for text in &hits {
            found += tables
                .connections_by(&integration, "team", text)
                .map(|it| usize::from(!it.id().is_empty()))
                .sum::<usize>();
        }
    });
    assert_eq!(found, LOOKUPS, "every one is there");
    let miss = cpu_micros(|| {
        for text in &misses {
            found += tables.connections_by(&integration, "team", text).count();
        }
    });
    assert_eq!(found, LOOKUPS, "none is there");
    let floor = cpu_micros(|| {
        for text in &hits {
            black_box(map.get(text));
        }
    });
    let each = LOOKUPS as f64;
    println!(
        "lookup that hits: {:.3} CPU-µs, {:.2} × the floor",
        hit / each,
        hit / floor
    );
    println!("lookup that misses: {:.3} CPU-µs", miss / each);
    println!("floor (HashMap<String, u32>::get): {:.3} CPU-µs", floor / each);
}

fn integrations(tables: &mut Tables) {
    let environment = EnvironmentId::new(NOW);
    for number in 0..1000 {
        let integration = Integration::new(environment, &format!("integration-{number}"), "any", NOW);
        let put = Change::put(Entity::Integration(integration));
        tables.apply(put).expect("it has no secrets");
    }
    let keys: Vec<String> = (0..LOOKUPS)
        .map(|at| format!("integration-{}", at % 1000))
        .collect();
    let spent = cpu_micros(|| {
        for key in &keys {
            black_box(tables.integration(&environment, key));
        }
    });
    println!(
        "integration by key among 1000: {:.3} CPU-µs",
        spent / LOOKUPS as f64
    );
}

fn cpu_micros(act: impl FnOnce()) -> f64 {
    let micros = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
    };
    let before = micros();
    act();
    micros() - before
}

/// What the process holds in memory, by the kernel's count.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}
