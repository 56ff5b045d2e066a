//! Sixteen bytes looked at together: which of them end a run. In: bytes. Out: a mask, its lowest bit for the first byte.
//! On x86-64 by SSE2, which every such processor has; elsewhere byte by byte, which compilers turn into what the processor has.

/// How many bytes are looked at together.
pub(super) const LANES: usize = 16;

/// Quotes, backslashes and control characters: what ends a run inside a string (RFC 8259, section 7).
#[inline]
pub(super) fn special(bytes: &[u8; LANES]) -> u32 {
    imp::special(bytes)
}

/// Whatever is no digit.
#[inline]
pub(super) fn not_digit(bytes: &[u8; LANES]) -> u32 {
    imp::not_digit(bytes)
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    use super::LANES;

    #[inline]
    #[allow(unsafe_code)]
    pub fn special(bytes: &[u8; LANES]) -> u32 {
        // SAFETY: SSE2 belongs to the x86-64 architecture itself.
        unsafe { specials(bytes) }
    }

    #[inline]
    #[allow(unsafe_code)]
    pub fn not_digit(bytes: &[u8; LANES]) -> u32 {
        // SAFETY: SSE2 belongs to the x86-64 architecture itself.
        unsafe { not_digits(bytes) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn specials(bytes: &[u8; LANES]) -> u32 {
        let lanes = lanes(bytes);
        let quote = _mm_cmpeq_epi8(lanes, _mm_set1_epi8(b'"'.cast_signed()));
        let backslash = _mm_cmpeq_epi8(lanes, _mm_set1_epi8(b'\\'.cast_signed()));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(lanes, _mm_set1_epi8(0x1f)), lanes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn not_digits(bytes: &[u8; LANES]) -> u32 {
        let above = _mm_sub_epi8(lanes(bytes), _mm_set1_epi8(b'0'.cast_signed()));
        let digit = _mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8(9)), above);
        _mm_movemask_epi8(digit).cast_unsigned() ^ 0xffff
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn lanes(bytes: &[u8; LANES]) -> __m128i {
        let both = u128::from_le_bytes(*bytes);
        let [low, high] = [both, both >> 64].map(|half| (half as u64).cast_signed());
        _mm_set_epi64x(high, low)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    use super::LANES;

    pub fn special(bytes: &[u8; LANES]) -> u32 {
        mask(bytes, |byte| matches!(byte, b'"' | b'\\' | ..0x20))
    }

    pub fn not_digit(bytes: &[u8; LANES]) -> u32 {
        mask(bytes, |byte| !byte.is_ascii_digit())
    }

    fn mask(bytes: &[u8; LANES], test: impl Fn(u8) -> bool) -> u32 {
        let bits = bytes.iter().enumerate();
        bits.fold(0, |mask, (lane, byte)| mask | (u32::from(test(*byte)) << lane))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_mask_says_of_each_byte_what_it_is(bytes in any::<[u8; LANES]>()) {
            for (lane, byte) in bytes.into_iter().enumerate() {
                let is = |mask: u32| mask & (1 << lane) != 0;
                prop_assert_eq!(is(special(&bytes)), matches!(byte, b'"' | b'\\' | ..0x20));
                prop_assert_eq!(is(not_digit(&bytes)), !byte.is_ascii_digit());
            }
        }
    }
}
