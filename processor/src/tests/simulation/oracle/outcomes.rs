//! Exactly one outcome for every event: what the journal says became of it, and what the rows say, must be one and the
//! same. In: a history, and what was decided in it. Out: whatever says otherwise.

use std::collections::HashMap;

use tidegate_schemas::EventId;

use super::super::history::{Became, Entry, History};
use super::Oracle;

/// What is said of one event: one thing only, but for a broken promise.
#[derive(Debug, Default)]
struct Said {
    one: Option<Became>,
    others: Vec<Became>,
}

impl Said {
    fn add(&mut self, became: Became) {
        match self.one {
            None => self.one = Some(became),
            Some(_) if self.contains(became) => {}
            Some(_) => self.others.push(became),
        }
    }

    fn all(&self) -> impl Iterator<Item = Became> + '_ {
        self.one.into_iter().chain(self.others.iter().copied())
    }

    fn contains(&self, became: Became) -> bool {
        self.all().any(|of| of == became)
    }

    fn is_one(&self) -> bool {
        self.one.is_some() && self.others.is_empty()
    }

    /// What was held and is handed on has the later of its rows.
    fn forget_held(&mut self) {
        let is_held = |of: &Became| matches!(of, Became::Held(_));
        self.others.retain(|of| !is_held(of));
        if self.one.as_ref().is_some_and(is_held) {
            self.one = self.others.pop();
        }
    }
}

impl Oracle {
    /// Every event has exactly one outcome: the row with the highest commit, and what the journal says.
    pub(super) fn outcomes(&mut self, history: &History) {
        let mut said: HashMap<EventId, Said> = HashMap::with_capacity(history.sent.len());
        for entry in &history.entries {
            let (id, became) = match entry {
                Entry::Decided { sent, became, .. } if *became != Became::Repeat => (sent.id, *became),
                Entry::Ended {
                    kept: Some((sent, became)),
                    ..
                } => (sent.id, *became),
                _ => continue,
            };
            let said = said.entry(id).or_default();
            said.forget_held();
            said.add(became);
        }
        let uncommitted = history.rows.iter().find(|row| !row.committed);
        self.check(!history.is_atomic || uncommitted.is_none(), || {
            format!("outputs without their journal in one append: {uncommitted:?}")
        });
        let rows = true_rows(history, &said);
        let mut sent_times: HashMap<EventId, usize> = HashMap::new();
        for sent in &history.sent {
            *sent_times.entry(sent.id).or_default() += 1;
        }
        let nothing = Said::default();
        for sent in &history.sent {
            let by_journal = said.get(&sent.id).unwrap_or(&nothing);
            let by_rows = rows.get(&sent.id).map_or(&nothing, |(_, by_rows)| by_rows);
            // One that was appended twice and not remembered the first time is decided again.
            let once = sent_times.get(&sent.id) > Some(&1) || by_journal.is_one();
            self.check(once && by_journal.one.is_some(), || {
                format!("{} became {by_journal:?}", sent.id)
            });
            let agree = by_rows.is_one() && by_rows.all().all(|became| by_journal.contains(became));
            self.check(agree, || {
                format!("{}: rows say {by_rows:?}, the journal {by_journal:?}", sent.id)
            });
        }
        let decided = std::mem::take(&mut self.decided);
        for (id, times) in decided {
            let sent = sent_times.get(&id).copied().unwrap_or_default();
            self.check(times <= sent, || {
                format!("{id} was decided {times} times and sent {sent} times")
            });
        }
    }
}

/// What the rows say of each event: those with the highest commit. An owner that was one no more, or that ended before its
/// batch was in the journal, may have handed on what a window held, and the next owner kept another event for that
/// window: then the event is handed on once too often, which is promised to be no more than a batch. Such a row is true,
/// and passed over here.
fn true_rows(history: &History, said: &HashMap<EventId, Said>) -> HashMap<EventId, (usize, Said)> {
    let mut rows: HashMap<EventId, (usize, Said)> = HashMap::with_capacity(history.sent.len());
    for row in &history.rows {
        let once_too_often = match row.became {
            Became::HandedOn(Some(window)) | Became::Unchanged(Some(window)) => {
                let held = said.get(&row.id);
                !row.committed && held.is_some_and(|said| said.contains(Became::Held(window)))
            }
            _ => false,
        };
        if once_too_often {
            continue;
        }
        let (commit, became) = rows.entry(row.id).or_default();
        if row.commit > *commit {
            (*commit, *became) = (row.commit, Said::default());
        }
        if row.commit == *commit {
            became.add(row.became);
        }
    }
    rows
}
