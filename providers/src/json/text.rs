//! The content of a JSON string: borrowed where it holds no escapes, else written out. In: the bytes between the
//! quotes, validated. Out: UTF-8 text, or none where an escape names half of a surrogate pair.

use std::borrow::Cow;

/// The text that a string's bytes stand for.
pub(crate) fn unescaped(inside: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'\\', inside) else {
        return Some(Cow::Borrowed(inside));
    };
    let mut text = Vec::with_capacity(inside.len());
    let mut rest = inside;
    let mut next = Some(first);
    while let Some(at) = next {
        text.extend_from_slice(rest.get(..at)?);
        rest = write_escape(rest.get(at + 1..)?, &mut text)?;
        next = memchr::memchr(b'\\', rest);
    }
    text.extend_from_slice(rest);
    Some(Cow::Owned(text))
}

/// Writes what the escape behind a backslash stands for; yields what follows it.
fn write_escape<'a>(escape: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = escape.split_first()?;
    let plain = match kind {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return write_unicode(rest, text),
        other => *other,
    };
    text.push(plain);
    Some(rest)
}

fn write_unicode<'a>(digits: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (high, mut rest) = hex4(digits)?;
    let mut code = u32::from(high);
    if (0xd800..0xdc00).contains(&code) {
        let (low, after) = hex4(rest.strip_prefix(b"\\u")?)?;
        let low = u32::from(low).checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        code = 0x1_0000 + ((code - 0xd800) << 10) + low;
        rest = after;
    }
    let mut buffer = [0; 4];
    text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
    Some(rest)
}

fn hex4(digits: &[u8]) -> Option<(u16, &[u8])> {
    let (four, rest) = digits.split_at_checked(4)?;
    let text = std::str::from_utf8(four).ok()?;
    Some((u16::from_str_radix(text, 16).ok()?, rest))
}
