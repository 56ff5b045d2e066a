//! Small numbers for texts and ids that stand in very many connections: property names, integrations.
//! In: a key. Out: its number, the same until it is forgotten; numbers of forgotten keys are given out again.

use std::hash::Hash;

use hashbrown::{Equivalent, HashMap};

/// Numbers for keys, in both directions.
pub(super) struct Numbers<K> {
    by_key: HashMap<K, u32>,
    by_number: Vec<Option<(K, usize)>>,
    free: Vec<u32>,
}

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            by_number: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Numbers<K> {
    /// The number of a known key.
    pub(super) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The key of a number that is in use.
    pub(super) fn key(&self, number: u32) -> &K {
        let entry = self.by_number.get(number as usize).and_then(Option::as_ref);
        &entry.expect("a number in use has its key").0
    }

    /// The number of `key`, given to it now if it has none; counts one more use.
    pub(super) fn hold(&mut self, key: &K) -> u32 {
        let number = match self.by_key.get(key) {
            Some(number) => *number,
            None => self.give(key.clone()),
        };
        if let Some(Some((_, uses))) = self.by_number.get_mut(number as usize) {
            *uses += 1;
        }
        number
    }

    /// Counts one use less; the last one frees the number.
    pub(super) fn release(&mut self, number: u32) {
        let Some(entry) = self.by_number.get_mut(number as usize) else {
            return;
        };
        let Some((_, uses)) = entry else {
            return;
        };
        *uses -= 1;
        if *uses == 0
            && let Some((key, _)) = entry.take()
        {
            self.by_key.remove(&key);
            self.free.push(number);
        }
    }

    fn give(&mut self, key: K) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.by_number.push(None);
            u32::try_from(self.by_number.len() - 1).expect("fewer than 2^32 distinct keys fit in memory")
        });
        self.by_key.insert(key.clone(), number);
        if let Some(entry) = self.by_number.get_mut(number as usize) {
            *entry = Some((key, 0));
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_while_it_is_used_and_given_out_again_after() {
        let mut numbers = Numbers::<String>::default();
        let (a, b) = (numbers.hold(&"a".into()), numbers.hold(&"b".into()));
        assert_eq!(numbers.hold(&"a".into()), a);
        numbers.release(a);
        assert_eq!((numbers.get("a"), numbers.get("b")), (Some(a), Some(b)));
        numbers.release(a);
        assert_eq!(numbers.get("a"), None);
        assert_eq!(numbers.hold(&"c".into()), a);
        assert_eq!(numbers.key(a), "c");
    }
}
