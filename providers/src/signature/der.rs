//! As much DER as finding a public key needs: the SubjectPublicKeyInfo alone, in a certificate, or bare PKCS#1. In: bytes
//! somebody sent. Out: the key's kind and bits, a certificate's validity. Checks no chain and no certificate's signature.

use tidegate_schemas::UnixMillis;

use crate::time::TimeFormat;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// What kind of key bits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyType {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

/// From when to when a certificate may be used.
pub(crate) type Validity = (UnixMillis, UnixMillis);

/// A key's kind and its bits.
type KeyBits<'a> = (KeyType, &'a [u8]);

/// A place in DER.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value of this tag; the place moves behind it.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (have, content, rest) = split(self.0)?;
        if have != tag {
            return None;
        }
        self.0 = rest;
        Some(content)
    }

    fn inside(&mut self, tag: u8) -> Option<Der<'a>> {
        self.next(tag).map(Der)
    }

    fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }
}

/// The first value: its tag, its content and what follows it.
fn split(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (
                bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The key of a SubjectPublicKeyInfo: RSA as PKCS#1, the others as their points.
pub(crate) fn public_key(der: &[u8]) -> Option<KeyBits<'_>> {
    public_key_info(Der(der).inside(SEQUENCE)?)
}

fn public_key_info(mut info: Der<'_>) -> Option<KeyBits<'_>> {
    let mut algorithm = info.inside(SEQUENCE)?;
    let bits = info.next(BIT_STRING)?.strip_prefix(&[0])?;
    let key_type = match algorithm.next(OID)? {
        RSA => KeyType::Rsa,
        ED25519 => KeyType::Ed25519,
        EC => match algorithm.next(OID)? {
            P256 => KeyType::P256,
            P384 => KeyType::P384,
            P521 => KeyType::P521,
            _ => return None,
        },
        _ => return None,
    };
    Some((key_type, bits))
}

/// Whether this is a bare PKCS#1 RSA key.
pub(crate) fn is_pkcs1(der: &[u8]) -> bool {
    Der(der)
        .inside(SEQUENCE)
        .and_then(|mut key| key.next(INTEGER))
        .is_some()
}

/// The key of an X.509 certificate, and from when to when the certificate is valid.
pub(crate) fn certificate(der: &[u8]) -> Option<(KeyBits<'_>, Validity)> {
    let mut fields = Der(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
    if fields.peek() == Some(VERSION) {
        fields.next(VERSION)?;
    }
    fields.next(INTEGER)?;
    fields.next(SEQUENCE)?;
    fields.next(SEQUENCE)?;
    let mut validity = fields.inside(SEQUENCE)?;
    let valid = (time(&mut validity)?, time(&mut validity)?);
    fields.next(SEQUENCE)?;
    Some((public_key_info(fields.inside(SEQUENCE)?)?, valid))
}

fn time(validity: &mut Der<'_>) -> Option<UnixMillis> {
    let (century, digits) = match validity.peek()? {
        UTC_TIME => {
            let digits = validity.next(UTC_TIME)?;
            let recent = digits.first().is_some_and(|digit| *digit < b'5');
            (if recent { "20" } else { "19" }, digits)
        }
        _ => ("", validity.next(GENERALIZED_TIME)?),
    };
    let digits = format!("{century}{}", std::str::from_utf8(digits).ok()?);
    let (date, clock) = digits.split_at_checked(8)?;
    TimeFormat::Iso.read(format!("{date}T{clock}").as_bytes())
}
