//! JSON written by hand where every request needs it: an object's members in order, texts copied whole where nothing in
//! them needs an escape, which is nearly always. In: values. Out: the bytes that `serde_json` writes for them. Reads nothing.

use serde::Serialize;

/// An object being written.
pub(crate) struct Object {
    out: Vec<u8>,
}

impl Object {
    /// Begins one in memory for `bytes` bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self { out }
    }

    /// A member of any kind: `write` writes its value.
    pub(crate) fn member(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        write(&mut self.out);
        self
    }

    /// A member that is a text.
    pub(crate) fn text(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.member(name, |out| text(out, value.as_bytes(), &value))
    }

    /// A member that is a text, left out when there is none.
    pub(crate) fn text_if(&mut self, name: &'static str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// A member that is a number.
    pub(crate) fn number(&mut self, name: &'static str, mut value: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut from = digits.len();
        loop {
            from -= 1;
            digits[from] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.member(name, |out| out.extend_from_slice(&digits[from..]))
    }

    /// The object's bytes.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        self.out.push(b'}');
        std::mem::take(&mut self.out)
    }
}

/// Writes a text: its bytes where they are plain, else as its type has it.
pub(crate) fn text(out: &mut Vec<u8>, bytes: &[u8], value: &impl Serialize) {
    if is_plain(bytes) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        serde_json::to_writer(out, value).expect("a text is JSON, and a Vec takes everything");
    }
}

/// Whether bytes are ASCII that JSON writes as it is.
fn is_plain(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        let plain = |byte: &u8| (0x20..0x80).contains(byte) && *byte != b'"' && *byte != b'\\';
        return bytes.iter().all(plain);
    };
    // The last eight overlap those before them, so that none are left over.
    let mut marks = escaped(u64::from_ne_bytes(*last));
    for eight in bytes.as_chunks::<8>().0 {
        marks |= escaped(u64::from_ne_bytes(*eight));
    }
    marks & HIGH == 0
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// Eight bytes at once: a high bit is set where one is no ASCII, below a space, a quote or a backslash. (A borrow may set
/// one too many, but none without cause.)
const fn escaped(bytes: u64) -> u64 {
    let quote = bytes ^ (ONES * b'"' as u64);
    let backslash = bytes ^ (ONES * b'\\' as u64);
    bytes | below(bytes, 0x20) | below(quote, 1) | below(backslash, 1)
}

/// Marks bytes below a limit.
const fn below(bytes: u64, limit: u64) -> u64 {
    bytes.wrapping_sub(ONES * limit) & !bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str) {
        let mut out = Vec::new();
        text(&mut out, value.as_bytes(), &value);
        let expected = serde_json::to_string(value).expect("a text is JSON");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn texts_are_written_as_serde_json_writes_them() {
        for length in 0..20 {
            let plain = "plain ~ text, more"
                .chars()
                .cycle()
                .take(length)
                .collect::<String>();
            check(&plain);
            for position in 0..length {
                for character in [
                    '\0', '\n', '\u{1f}', ' ', '!', '"', '#', '[', '\\', ']', '\u{7f}', 'ö',
                ] {
                    let mut text: Vec<char> = plain.chars().collect();
                    text[position] = character;
                    check(&text.into_iter().collect::<String>());
                }
            }
        }
    }

    #[test]
    fn numbers_are_written_as_serde_json_writes_them() {
        for value in [0, 1, 9, 10, 99, 100, 1_763_721_600_123, u64::MAX] {
            let bytes = Object::with_capacity(1).number("n", value).end();
            assert_eq!(String::from_utf8_lossy(&bytes), format!("{{\"n\":{value}}}"));
        }
    }
}
