//! What a million connections cost in memory, and that deleting gives it back.
//! Counts what the allocator is asked for; its own overhead is estimated at 8 bytes a block, rounded up to 16.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_registry::{Change, Connection, Entity, EntityRef, KEY_BYTES, Keyring, Tables};
use tidegate_schemas::{IntegrationId, Secret, UnixMillis};

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn block_bytes(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16)
}

// SAFETY: every call is handed to the system's allocator unchanged; only a number is kept beside.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(block_bytes(layout), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(block_bytes(layout), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const COUNT: usize = 1_000_000;
const BYTES_MAX: usize = 400;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn value(property: &str, number: usize) -> String {
    format!("{property}-{number:0>width$}", width = 23 - property.len())
}

fn connection(integration: IntegrationId, number: usize) -> Connection {
    let id = format!("customer-{number:015}");
    let mut connection = Connection::new(integration, id, NOW);
    connection.version = 1;
    for property in ["account", "team", "site"] {
        connection = connection.with_property(property, &value(property, number));
    }
    connection
}

#[test]
fn a_million_connections_stay_within_400_bytes_each() {
    let keyring = Keyring::new(&[Secret::new([1; KEY_BYTES])]).expect("32 bytes");
    let mut tables = Tables::new(Arc::new(keyring), true);
    let integration = IntegrationId::new(NOW);
    let before = HELD.load(Ordering::Relaxed);
    for number in 0..COUNT {
        let put = Change::put(Entity::Connection(connection(integration, number)));
        tables.apply(put).expect("no secrets to open");
    }
    let held = HELD.load(Ordering::Relaxed) - before;
    assert!(held / COUNT <= BYTES_MAX, "{} bytes a connection", held / COUNT);
    for number in (0..COUNT).step_by(997) {
        let text = value("team", number);
        assert_eq!(text.len(), 24, "the size that the limit is for");
        let mut found = tables.connections_by(&integration, "team", &text);
        assert_eq!(
            found.next().map(|it| it.id().to_owned()),
            Some(format!("customer-{number:015}"))
        );
        assert!(found.next().is_none());
    }
    // New ones find room in what deleted ones leave.
    for number in 0..COUNT / 8 {
        let delete = Change::Delete(EntityRef::Connection(
            integration,
            format!("customer-{number:015}"),
        ));
        tables.apply(delete).expect("no secrets to open");
    }
    let deleted = HELD.load(Ordering::Relaxed) - before;
    assert!(
        held - deleted > COUNT / 8 * 100,
        "the records themselves are given back at once"
    );
    for number in 0..COUNT / 8 {
        let put = Change::put(Entity::Connection(connection(integration, COUNT + number)));
        tables.apply(put).expect("no secrets to open");
    }
    assert_eq!(tables.connections_count(), COUNT);
    let replaced = HELD.load(Ordering::Relaxed) - before;
    assert!(
        replaced < held + held / 50,
        "{held} bytes before, {replaced} after replacing an eighth"
    );
    println!(
        "{} bytes a connection, {} after replacing an eighth",
        held / COUNT,
        replaced / COUNT
    );
}
