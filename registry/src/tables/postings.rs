//! Which connections carry a value: doubly linked lists in one vector, one list per distinct value.
//! In: places of values in records. Out: the places in one list. Knows no texts: the index compares them.

/// Stands for no posting, and for no place.
pub(super) const NONE: u32 = u32::MAX;

/// Where one value stands: the slot of its connection, and where in the record the value begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: u32,
    pub(super) start: u32,
}

/// 16 bytes: what a value costs besides its text and its share of the hash table.
#[derive(Clone, Copy)]
struct Posting {
    place: Place,
    previous: u32,
    next: u32,
}

/// All postings. Freed ones are chained by `next` and used again.
pub(super) struct Postings {
    postings: Vec<Posting>,
    free: u32,
}

impl Default for Postings {
    fn default() -> Self {
        Self {
            postings: Vec::new(),
            free: NONE,
        }
    }
}

impl Postings {
    /// A new posting, in no list yet and of no place yet.
    pub(super) fn reserve(&mut self) -> u32 {
        let empty = Posting {
            place: Place {
                slot: NONE,
                start: NONE,
            },
            previous: NONE,
            next: NONE,
        };
        if self.free == NONE {
            self.postings.push(empty);
            return u32::try_from(self.postings.len() - 1).expect("fewer than 2^32 values fit in memory");
        }
        let posting = self.free;
        self.free = self.at(posting).next;
        *self.at_mut(posting) = empty;
        posting
    }

    /// Gives `posting` its place and makes it the first of the list that `head` begins (`NONE`: of a new list).
    pub(super) fn link(&mut self, posting: u32, place: Place, head: u32) {
        *self.at_mut(posting) = Posting {
            place,
            previous: NONE,
            next: head,
        };
        if head != NONE {
            self.at_mut(head).previous = posting;
        }
    }

    /// Takes `posting` out of its list and frees it. Gives the posting that follows when it was the first.
    pub(super) fn unlink(&mut self, posting: u32) -> Unlinked {
        let Posting { previous, next, .. } = *self.at(posting);
        if next != NONE {
            self.at_mut(next).previous = previous;
        }
        if previous != NONE {
            self.at_mut(previous).next = next;
        }
        let free = self.free;
        self.at_mut(posting).next = free;
        self.free = posting;
        match (previous, next) {
            (NONE, NONE) => Unlinked::Last,
            (NONE, next) => Unlinked::First { next },
            _ => Unlinked::Inner,
        }
    }

    /// The posting that follows in the list; `NONE` behind the last.
    pub(super) fn next(&self, posting: u32) -> u32 {
        self.at(posting).next
    }

    /// The place of a posting that is in a list.
    pub(super) fn place(&self, posting: u32) -> Place {
        self.at(posting).place
    }

    /// Heap bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.postings.capacity() * size_of::<Posting>()
    }

    fn at(&self, posting: u32) -> &Posting {
        self.postings
            .get(posting as usize)
            .expect("postings are named only by who reserved them")
    }

    fn at_mut(&mut self, posting: u32) -> &mut Posting {
        self.postings
            .get_mut(posting as usize)
            .expect("postings are named only by who reserved them")
    }
}

/// What was taken out of a list.
pub(super) enum Unlinked {
    /// Its first, which `next` follows.
    First { next: u32 },
    /// One in between, or its end.
    Inner,
    /// The only one: the list is gone.
    Last,
}
