//! One connection as bytes: its id, its properties, and where each of its values stands in the index.
//! In: a connection. Out: one boxed slice, and borrowed views of it. Knows no index and no other connection.
//!
//! Layout: integration number (4) · flags (1) · version, created, updated (varints) · id length (varint), id · count
//! of values (varint) · per value: posting (4), property (varint), length (varint), bytes. Little endian.

use crate::entity::Connection;

const AWAITS_SECRET: u8 = 1;
const HAS_FLOOD_SETTINGS: u8 = 2;

/// What the encoder is told besides the connection itself.
pub(super) struct Origin<'a> {
    /// The number that stands for the integration.
    pub(super) integration: u32,
    /// Its values with their properties' numbers, each with its posting, in any order.
    pub(super) values: &'a [(u32, u32, &'a str)],
}

/// Encodes `connection`; gives the bytes, and where in them each value begins.
pub(super) fn encode(connection: &Connection, origin: &Origin<'_>) -> (Box<[u8]>, Vec<u32>) {
    let mut bytes = Vec::with_capacity(32 + connection.id.len() + origin.values.len() * 32);
    bytes.extend_from_slice(&origin.integration.to_le_bytes());
    let mut flags = 0;
    if connection.awaits_secret {
        flags |= AWAITS_SECRET;
    }
    if !connection.details.flood.is_empty() {
        flags |= HAS_FLOOD_SETTINGS;
    }
    bytes.push(flags);
    write_varint(&mut bytes, connection.version);
    write_varint(&mut bytes, connection.created_at.0);
    write_varint(&mut bytes, connection.updated_at.0);
    write_text(&mut bytes, &connection.id);
    write_varint(&mut bytes, origin.values.len() as u64);
    let mut starts = Vec::with_capacity(origin.values.len());
    for (posting, property, value) in origin.values {
        starts.push(u32::try_from(bytes.len()).expect("the writer bounds a connection's size"));
        bytes.extend_from_slice(&posting.to_le_bytes());
        write_varint(&mut bytes, u64::from(*property));
        write_text(&mut bytes, value);
    }
    (bytes.into_boxed_slice(), starts)
}

/// An encoded connection's head.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) integration: u32,
    pub(super) awaits_secret: bool,
    pub(super) has_flood_settings: bool,
    pub(super) version: u64,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) id: &'a str,
    values: &'a [u8],
}

/// One value of an encoded connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) posting: u32,
    pub(super) property: u32,
    pub(super) text: &'a str,
}

/// The head of what [`encode`] wrote.
pub(super) fn head(record: &[u8]) -> Head<'_> {
    let mut rest = record;
    let integration = take_u32(&mut rest);
    let flags = take(&mut rest, 1).first().copied().unwrap_or_default();
    Head {
        integration,
        awaits_secret: flags & AWAITS_SECRET != 0,
        has_flood_settings: flags & HAS_FLOOD_SETTINGS != 0,
        version: take_varint(&mut rest),
        created_at: take_varint(&mut rest),
        updated_at: take_varint(&mut rest),
        id: take_text(&mut rest),
        values: rest,
    }
}

/// The value that begins at `start`, one of the places that [`encode`] gave.
pub(super) fn value_at(record: &[u8], start: u32) -> Value<'_> {
    take_value(&mut record.get(start as usize..).unwrap_or_default())
}

/// The number that stands for the integration, without reading further.
pub(super) fn integration(record: &[u8]) -> u32 {
    take_u32(&mut &*record)
}

impl<'a> Head<'a> {
    /// Every value with its property, in the order of encoding.
    pub(super) fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut rest = self.values;
        let count = take_varint(&mut rest);
        (0..count).map(move |_| take_value(&mut rest))
    }
}

fn take_value<'a>(rest: &mut &'a [u8]) -> Value<'a> {
    Value {
        posting: take_u32(rest),
        property: u32::try_from(take_varint(rest)).expect("encoded from a u32"),
        text: take_text(rest),
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write_varint(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// Records never leave memory, so a short one is a broken program.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest
        .split_at_checked(count)
        .expect("a record is read as it was encoded");
    *rest = left;
    taken
}

fn take_u32(rest: &mut &[u8]) -> u32 {
    u32::from_le_bytes(take(rest, 4).try_into().expect("4 bytes were taken"))
}

fn take_varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1).first().copied().unwrap_or_default();
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn take_text<'a>(rest: &mut &'a [u8]) -> &'a str {
    let length = usize::try_from(take_varint(rest)).expect("encoded from a length in memory");
    std::str::from_utf8(take(rest, length)).expect("encoded from text")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_schemas::{IntegrationId, UnixMillis};

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            id in ".{0,200}",
            numbers in any::<(u32, u64, u64, u64, bool)>(),
            values in proptest::collection::vec((any::<u32>(), any::<u32>(), ".{0,300}"), 0..8),
        ) {
            let (integration, version, created_at, updated_at, awaits_secret) = numbers;
            let mut connection = Connection::new(IntegrationId::new(UnixMillis(1)), id.clone(), UnixMillis(created_at));
            (connection.version, connection.updated_at, connection.awaits_secret) = (version, UnixMillis(updated_at), awaits_secret);
            let borrowed: Vec<_> = values.iter().map(|(p, n, text)| (*p, *n, text.as_str())).collect();
            let (record, starts) = encode(&connection, &Origin { integration, values: &borrowed });
            let head = head(&record);
            prop_assert_eq!(
                (head.integration, head.version, head.created_at, head.updated_at, head.awaits_secret, head.id),
                (integration, version, created_at, updated_at, awaits_secret, id.as_str())
            );
            let read: Vec<_> = head.values().map(|value| (value.posting, value.property, value.text)).collect();
            prop_assert_eq!(&read, &borrowed);
            for (start, value) in starts.iter().zip(head.values()) {
                prop_assert_eq!(value_at(&record, *start), value);
            }
        }
    }
}
