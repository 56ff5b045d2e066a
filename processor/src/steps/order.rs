//! Is this event older than one that was seen of its object? In: the newest rank seen and the event's own. Out: older
//! than which, or the newest rank from now on. Ranks of different kinds cannot be compared: such an event passes.

use tidegate_schemas::UnixMillis;

/// What an event is ranked by: its object's version, else the provider's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// The object's version.
    Version(i64),
    /// The provider's time.
    Time(UnixMillis),
}

/// Whether an event comes in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It does; this is the newest rank of its object from now on.
    Passes(Option<Rank>),
    /// It is older than this.
    Stale(Rank),
}

impl Rank {
    /// What an event with this version and time is ranked by.
    pub(crate) fn of(version: Option<i64>, time: Option<UnixMillis>) -> Option<Self> {
        version.map(Rank::Version).or(time.map(Rank::Time))
    }
}

/// Judges an event by the `newest` rank seen of its object.
pub(crate) fn order(newest: Option<Rank>, rank: Option<Rank>) -> Order {
    match (newest, rank) {
        (Some(Rank::Version(newest)), Some(Rank::Version(own))) if own < newest => {
            Order::Stale(Rank::Version(newest))
        }
        (Some(Rank::Time(newest)), Some(Rank::Time(own))) if own < newest => Order::Stale(Rank::Time(newest)),
        // A version tells more than a time: it is not given up for one.
        (Some(Rank::Version(newest)), Some(Rank::Time(_)) | None) => {
            Order::Passes(Some(Rank::Version(newest)))
        }
        (newest, own) => Order::Passes(own.or(newest)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn ranks_of_one_kind_are_compared() {
        let (version, time) = (Rank::Version, |at| Rank::Time(UnixMillis(at)));
        let check = |newest, rank, expected| assert_eq!(order(newest, rank), expected, "{newest:?} {rank:?}");
        check(None, None, Order::Passes(None));
        check(None, Some(version(-3)), Order::Passes(Some(version(-3))));
        check(Some(version(7)), Some(version(6)), Order::Stale(version(7)));
        check(
            Some(version(7)),
            Some(version(7)),
            Order::Passes(Some(version(7))),
        );
        check(
            Some(version(7)),
            Some(version(8)),
            Order::Passes(Some(version(8))),
        );
        check(Some(version(7)), Some(time(1)), Order::Passes(Some(version(7))));
        check(Some(time(9)), Some(version(1)), Order::Passes(Some(version(1))));
        check(Some(time(9)), Some(time(8)), Order::Stale(time(9)));
        check(Some(time(9)), None, Order::Passes(Some(time(9))));
        assert_eq!(Rank::of(Some(1), Some(UnixMillis(2))), Some(version(1)));
    }

    proptest! {
        #[test]
        fn what_passes_is_never_older_than_anything_before(versions in proptest::collection::vec(any::<i8>(), 1..60)) {
            let mut newest = None;
            let mut most = i64::MIN;
            for version in versions {
                let version = i64::from(version);
                let judged = order(newest, Some(Rank::Version(version)));
                prop_assert_eq!(matches!(judged, Order::Passes(_)), version >= most);
                if let Order::Passes(now) = judged {
                    newest = now;
                }
                most = most.max(version);
            }
        }
    }
}
