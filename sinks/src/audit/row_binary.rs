//! Rows in ClickHouse's RowBinary: fixed numbers little-endian, texts behind their length as LEB128, nullable values
//! behind a byte, arrays and maps behind their count. In: values, in the order of the columns. Out: bytes and where
//! each row ends, so that any run of rows can be sent again as it was.

use bytes::Bytes;
use tidegate_schemas::UnixMillis;
use uuid::Uuid;

/// Rows being written.
#[derive(Debug, Default)]
pub(crate) struct RowWriter {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Written rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl RowWriter {
    /// A writer with room for rows of about so many bytes.
    pub(crate) fn for_bytes(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::new(),
        }
    }

    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.count(text.len());
        self.bytes.extend_from_slice(text);
    }

    /// How many entries of an array or map follow.
    pub(crate) fn count(&mut self, count: usize) {
        let mut rest = count;
        while rest >= 0x80 {
            self.bytes.push(low_byte(rest) | 0x80);
            rest >>= 7;
        }
        self.bytes.push(low_byte(rest));
    }

    pub(crate) fn u8(&mut self, number: u8) {
        self.bytes.push(number);
    }

    pub(crate) fn u16(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// A `DateTime64(3)`.
    pub(crate) fn time(&mut self, time: UnixMillis) {
        self.u64(time.min(UnixMillis::MAX).0);
    }

    /// A `Nullable(DateTime64(3))`.
    pub(crate) fn time_or_null(&mut self, time: Option<UnixMillis>) {
        self.u8(u8::from(time.is_none()));
        if let Some(time) = time {
            self.time(time);
        }
    }

    /// A `UUID`: its two halves, each little-endian.
    pub(crate) fn uuid(&mut self, id: Uuid) {
        let (high, low) = id.as_u64_pair();
        self.u64(high);
        self.u64(low);
    }

    /// Ends a row.
    pub(crate) fn end_row(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn finish(self) -> Rows {
        Rows {
            bytes: self.bytes.into(),
            ends: self.ends,
        }
    }
}

impl Rows {
    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a run of rows.
    pub(crate) fn slice(&self, rows: std::ops::Range<usize>) -> Bytes {
        let end_of = |count: usize| match count.checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or(self.bytes.len()),
            None => 0,
        };
        self.bytes
            .slice(end_of(rows.start)..end_of(rows.end).max(end_of(rows.start)))
    }
}

fn low_byte(number: usize) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_clickhouse_reads_them() {
        let mut writer = RowWriter::default();
        writer.text("é");
        writer.time_or_null(None);
        writer.end_row();
        writer.text(vec![b'a'; 300]);
        writer.uuid(
            "00112233-4455-6677-8899-aabbccddeeff"
                .parse()
                .expect("a literal UUID"),
        );
        writer.time_or_null(Some(UnixMillis(1)));
        writer.end_row();
        let rows = writer.finish();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.slice(0..1).as_ref(), [2, 0xc3, 0xa9, 1]);
        let second = rows.slice(1..2);
        assert_eq!(second[..2], [0xac, 0x02], "300 as LEB128");
        assert_eq!(
            second[302..306],
            [0x77, 0x66, 0x55, 0x44],
            "the high half first, little-endian"
        );
        assert_eq!(second[318..], [0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert!(rows.slice(1..1).is_empty());
    }
}
