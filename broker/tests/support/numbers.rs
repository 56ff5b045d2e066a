//! Tables for journals under test: numbers by name, and their owners. In and out: changes as text.

use std::collections::BTreeMap;

use tidegate_broker::Broker;
use tidegate_broker::journal::{ChangeError, Changes, Journal, Tables};
use tidegate_schemas::Topic;

/// Where tests keep a journal of numbers.
pub const JOURNAL: (Topic, u32) = (Topic::State, 1);

/// A new owner of that journal: with the input offset reached, and what the journal held.
pub async fn take_over(broker: &Broker) -> (Journal, u64, Numbers) {
    let mut numbers = Numbers::default();
    let (journal, input) = Journal::open(broker, JOURNAL, &mut numbers, |_| {})
        .await
        .unwrap();
    (journal, input, numbers)
}

/// Numbers by name; a change is `name=number`, or `name` alone when it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers(pub BTreeMap<String, u64>);

impl Numbers {
    /// Sets a number, or takes it away; returns the change that says so.
    pub fn set(&mut self, name: &str, number: Option<u64>) -> Vec<u8> {
        let change = number.map_or_else(|| name.to_owned(), |number| format!("{name}={number}"));
        self.apply(change.as_bytes()).unwrap();
        change.into_bytes()
    }
}

impl Tables for Numbers {
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        let text = std::str::from_utf8(change).map_err(|error| ChangeError::new(error.to_string()))?;
        match text.split_once('=') {
            None => drop(self.0.remove(text)),
            Some((name, number)) => {
                let number = number
                    .parse()
                    .map_err(|_| ChangeError::new(format!("{number:?} is no number")))?;
                self.0.insert(name.to_owned(), number);
            }
        }
        Ok(())
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let after = after.map(|after| String::from_utf8(after.to_vec()).unwrap());
        let mut last = None;
        for (name, number) in &self.0 {
            if after.as_ref().is_some_and(|after| name <= after) {
                continue;
            }
            if last.is_some() && out.len_bytes() >= bytes_max {
                return last;
            }
            out.push(format!("{name}={number}").as_bytes());
            last = Some(name.clone().into_bytes());
        }
        None
    }
}
