//! Fingerprints: 96 bits that stand for a delivery id or an object, keyed per partition so that nobody can make two
//! that meet. In: texts. Out: fingerprints in one fixed order. Wrong matches are rarer than one in 10¹⁸ events.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};
use tidegate_schemas::IntegrationId;

/// What is hashed at once, in bytes.
const SHORT_BYTES: usize = 256;
/// Bytes of a fingerprint.
pub(crate) const FINGERPRINT_BYTES: usize = 12;

/// What stands for a delivery id or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint(pub [u8; FINGERPRINT_BYTES]);

/// The key of one partition's fingerprints; the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FingerprintKey(pub [u8; 16]);

/// What a fingerprint stands for: kinds never meet.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Delivery = 1,
    Repeat = 2,
    Object = 3,
    Payer = 4,
}

impl FingerprintKey {
    /// A provider's delivery id, for one connection or nobody.
    pub fn delivery(&self, owner: (IntegrationId, Option<&str>), delivery_id: &str) -> Fingerprint {
        self.of(Kind::Delivery, owner, delivery_id.as_bytes())
    }

    /// A payload whose repeats are byte-identical.
    pub fn repeat(&self, owner: (IntegrationId, Option<&str>), payload: &[u8]) -> Fingerprint {
        self.of(Kind::Repeat, owner, payload)
    }

    /// An object of a connection.
    pub fn object(&self, (integration, connection): (IntegrationId, &str), object_key: &str) -> Fingerprint {
        self.of(
            Kind::Object,
            (integration, Some(connection)),
            object_key.as_bytes(),
        )
    }

    /// A connection, or its integration, that goes at a rate of its own.
    pub fn payer(&self, owner: (IntegrationId, Option<&str>)) -> Fingerprint {
        self.of(Kind::Payer, owner, &[])
    }

    fn of(
        &self,
        kind: Kind,
        (integration, connection): (IntegrationId, Option<&str>),
        of: &[u8],
    ) -> Fingerprint {
        let hasher = SipHasher13::new_with_key(&self.0);
        let connection_bytes = connection.map_or(0, |connection| connection.len() as u64 + 1);
        let first = (connection_bytes << 8 | kind as u64).to_le_bytes();
        let connection = connection.unwrap_or_default().as_bytes();
        let parts: [&[u8]; 4] = [&first, integration.0.as_bytes(), connection, of];
        let hash = hash_of(hasher, parts);
        let mut bytes = [0; FINGERPRINT_BYTES];
        bytes[..8].copy_from_slice(&hash.h1.to_be_bytes());
        bytes[8..].copy_from_slice(&hash.h2.to_be_bytes()[..4]);
        Fingerprint::new(bytes)
    }
}

/// The hash of parts in a row. Hashing them at once takes half as long, so short ones are put together first.
fn hash_of(mut hasher: SipHasher13, parts: [&[u8]; 4]) -> Hash128 {
    let mut together = [0; SHORT_BYTES];
    let mut rest = &mut together[..];
    for part in parts {
        let Some((place, behind)) = rest.split_at_mut_checked(part.len()) else {
            parts.iter().for_each(|part| hasher.write(part));
            return hasher.finish128();
        };
        place.copy_from_slice(part);
        rest = behind;
    }
    let left = rest.len();
    hasher.hash(&together[..SHORT_BYTES - left])
}

impl Fingerprint {
    /// A fingerprint of these bytes; all zeros mean that there is none, and become another.
    pub fn new(bytes: [u8; FINGERPRINT_BYTES]) -> Self {
        if bytes == [0; FINGERPRINT_BYTES] {
            return Self([1; FINGERPRINT_BYTES]);
        }
        Self(bytes)
    }

    /// Its first 64 bits, in the order of the fingerprints.
    pub fn prefix(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Its other 32 bits.
    pub fn rest(self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

/// Fingerprints are hashes already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A map of few fingerprints.
pub(crate) type FingerprintMap<T> = std::collections::HashMap<Fingerprint, T, BuildHasherDefault<AsItIs>>;
/// A set of few fingerprints.
pub(crate) type FingerprintSet = std::collections::HashSet<Fingerprint, BuildHasherDefault<AsItIs>>;

#[cfg(test)]
mod tests {
    use tidegate_schemas::UnixMillis;

    use super::*;

    #[test]
    fn each_part_of_what_it_stands_for_counts() {
        let key = FingerprintKey([7; 16]);
        let one = IntegrationId::new(UnixMillis(1));
        let other = IntegrationId::new(UnixMillis(2));
        let all = [
            key.delivery((one, Some("ab")), "c"),
            key.delivery((one, Some("a")), "bc"),
            key.delivery((one, Some("")), "abc"),
            key.delivery((one, None), "abc"),
            key.delivery((other, Some("ab")), "c"),
            key.repeat((one, Some("ab")), b"c"),
            key.object((one, "ab"), "c"),
            key.payer((one, Some("ab"))),
            key.payer((one, None)),
            FingerprintKey([8; 16]).object((one, "ab"), "c"),
        ];
        let different: std::collections::BTreeSet<Fingerprint> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(key.object((one, "ab"), "c"), all[6]);
    }

    #[test]
    fn parts_are_hashed_alike_at_once_and_one_after_the_other() {
        let text = [7; 2 * SHORT_BYTES];
        for length in [0, 1, 7, 8, SHORT_BYTES - 13, SHORT_BYTES - 12, SHORT_BYTES] {
            let parts: [&[u8]; 4] = [&text[..3], &text[..8], &[1], &text[..length]];
            let mut one_by_one = SipHasher13::new_with_key(&[5; 16]);
            parts.iter().for_each(|part| one_by_one.write(part));
            let at_once = hash_of(SipHasher13::new_with_key(&[5; 16]), parts);
            assert_eq!(
                at_once.as_u128(),
                one_by_one.finish128().as_u128(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn the_order_of_prefix_and_rest_is_the_order_of_the_bytes() {
        let mut bytes: Vec<[u8; 12]> = (0u8..200)
            .map(|n| std::array::from_fn(|at| n.wrapping_mul(31).wrapping_add((at * 77 % 256) as u8)))
            .collect();
        bytes.sort_unstable();
        assert!(bytes.is_sorted_by_key(|bytes| (Fingerprint(*bytes).prefix(), Fingerprint(*bytes).rest())));
    }
}
