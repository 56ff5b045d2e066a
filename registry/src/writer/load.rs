//! Which partitions a new integration gets: the least loaded ones.
//! In: the integrations there are. Out: partitions. Hashes nothing, so that more partitions move nobody.

use crate::entity::Integration;

/// How much each partition carries: an integration weighs one, shared by its partitions.
pub(super) struct Loads {
    weights: Vec<f64>,
}

impl Loads {
    /// The loads of `partitions` partitions.
    pub(super) fn of<'a>(partitions: u32, integrations: impl Iterator<Item = &'a Integration>) -> Self {
        let mut loads = Self {
            weights: vec![0.0; partitions as usize],
        };
        for integration in integrations {
            loads.add(&integration.partitions);
        }
        loads
    }

    /// The `spread` least loaded partitions in ascending order, now loaded with one integration more.
    pub(super) fn choose(&mut self, spread: u32) -> Vec<u32> {
        let mut partitions: Vec<(usize, f64)> = self.weights.iter().copied().enumerate().collect();
        partitions.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let mut chosen: Vec<u32> = partitions
            .iter()
            .take(spread as usize)
            .filter_map(|(partition, _)| u32::try_from(*partition).ok())
            .collect();
        chosen.sort_unstable();
        self.add(&chosen);
        chosen
    }

    fn add(&mut self, partitions: &[u32]) {
        for partition in partitions {
            if let Some(weight) = self.weights.get_mut(*partition as usize) {
                *weight += 1.0 / partitions.len() as f64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_partitions_are_chosen() {
        let mut loads = Loads::of(4, std::iter::empty());
        assert_eq!(loads.choose(1), [0]);
        assert_eq!(loads.choose(2), [1, 2]);
        assert_eq!(loads.choose(1), [3], "1 and 2 carry half an integration each");
        assert_eq!(loads.choose(4), [0, 1, 2, 3]);
        assert_eq!(loads.choose(1), [1]);
    }

    #[test]
    fn many_integrations_spread_evenly() {
        let mut loads = Loads::of(32, std::iter::empty());
        let mut counts = [0; 32];
        for _ in 0..320 {
            counts[loads.choose(1)[0] as usize] += 1;
        }
        assert_eq!(counts, [10; 32]);
    }
}
