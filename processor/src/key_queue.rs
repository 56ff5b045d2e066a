//! The queue in which a request waits for a key, as a name. In: the key's address and, where an event of the request had
//! waited its turn before, whose turn it was. Out: both again. So what is read again when the key has come is what was
//! undecided, and not what the request's other connections have got meanwhile.

use crate::request::InTurn;
use crate::set_aside::{Cause, Queue};

/// Stands before and behind the connection whose turn it is. No address begins with it, and no connection's id holds it.
const TURN: char = '\u{1}';

/// The queue of those who wait for a key from `address`.
pub(crate) fn key_queue(address: &str, in_turn: Option<&InTurn>) -> Queue {
    let name = match in_turn {
        None => address.into(),
        Some(turn) => {
            let connection = turn.connection.as_deref().unwrap_or_default();
            format!("{TURN}{connection}{TURN}{address}").into()
        }
    };
    Queue {
        cause: Cause::Key,
        name,
    }
}

/// Where the key of a queue with this name is fetched from.
pub(crate) fn address_of(name: &str) -> &str {
    parts_of(name).map_or(name, |(_, address)| address)
}

/// Whose turn it is in a queue, if those in it have waited for that before.
pub(crate) fn turn_of(queue: &Queue) -> Option<InTurn> {
    let (connection, _) = parts_of(&queue.name).filter(|_| queue.cause == Cause::Key)?;
    let connection = Some(connection).filter(|connection| !connection.is_empty());
    Some(InTurn {
        connection: connection.map(Into::into),
    })
}

fn parts_of(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(TURN)?.split_once(TURN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_name_comes_out_of_it() {
        let address = "https://keys.example.com/set?a=1%20b";
        let turns = [
            None,
            Some(InTurn { connection: None }),
            Some(InTurn {
                connection: Some("a connection of four words".into()),
            }),
        ];
        for in_turn in turns {
            let queue = key_queue(address, in_turn.as_ref());
            assert_eq!(address_of(&queue.name), address);
            assert_eq!(turn_of(&queue), in_turn);
        }
        let other = Queue {
            cause: Cause::Connection,
            ..key_queue(address, Some(&InTurn { connection: None }))
        };
        assert_eq!(turn_of(&other), None);
    }
}
