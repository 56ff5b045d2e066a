//! Choices that can be made again: a generator whose seed is printed. In: `TIDEGATE_CHAOS_SEED`, else the process id and
//! the time. Out: numbers.

use std::time::SystemTime;

/// The generator (SplitMix64).
pub struct Chance(u64);

impl Chance {
    /// A generator with a new seed, or the one that is asked for.
    pub fn new() -> Chance {
        let seed = match std::env::var("TIDEGATE_CHAOS_SEED") {
            Ok(seed) => seed.parse().expect("TIDEGATE_CHAOS_SEED is a number"),
            Err(_) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                u64::from(now.subsec_nanos()) << 32 | u64::from(std::process::id())
            }
        };
        println!("seed {seed}: TIDEGATE_CHAOS_SEED={seed} makes the same choices again");
        Chance(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
