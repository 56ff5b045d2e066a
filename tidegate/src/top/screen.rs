//! What the screen shows and how keys turn it. In: keys, snapshots, failures. Out: the question to ask next, and what to
//! draw. Draws nothing and asks nothing itself.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Snapshot;
use super::question::{Question, View};
use super::words::Budgets;

/// The shortest and the longest time that may be looked back.
const LAST_MIN: Duration = Duration::from_secs(5);
const LAST_MAX: Duration = Duration::from_secs(3_600);

/// The screen.
#[derive(Debug, Clone)]
pub struct Screen {
    /// What is asked.
    pub question: Question,
    /// What is held against the gauges.
    pub budgets: Budgets,
    /// What was answered last.
    pub snapshot: Snapshot,
    /// Whether nothing new is asked.
    pub paused: bool,
    /// How many rows have been scrolled past.
    pub scrolled: usize,
    /// Why the last question was not answered.
    pub failure: Option<String>,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Nothing,
    /// Draw again.
    Draw,
    /// Ask again, now.
    Ask,
    /// End.
    Quit,
}

impl Screen {
    /// Nothing known yet.
    #[must_use]
    pub fn new(question: Question, budgets: Budgets) -> Self {
        Self {
            question,
            budgets,
            snapshot: Snapshot::default(),
            paused: false,
            scrolled: 0,
            failure: None,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, key: KeyEvent) -> Turn {
        let view = |view: View, screen: &mut Self| {
            screen.question.view = view;
            screen.scrolled = 0;
            Turn::Ask
        };
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Turn::Quit,
            KeyCode::Char('q') | KeyCode::Esc => Turn::Quit,
            KeyCode::Char('1' | 'i') => view(View::Integrations, self),
            KeyCode::Char('2' | 'c') => view(View::Connections, self),
            KeyCode::Char('3' | 'o') => view(View::Objects, self),
            KeyCode::Tab => view(self.question.view.next(), self),
            KeyCode::Char('s') => {
                self.question.sort = self.question.sort.next();
                Turn::Ask
            }
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                if self.paused { Turn::Draw } else { Turn::Ask }
            }
            KeyCode::Char('+') => self.look_back(self.question.last * 2),
            KeyCode::Char('-') => self.look_back(self.question.last / 2),
            KeyCode::Down | KeyCode::Char('j') => {
                let last = self.snapshot.rows.len().saturating_sub(1);
                self.scrolled = (self.scrolled + 1).min(last);
                Turn::Draw
            }
            KeyCode::Up | KeyCode::Char('k') => {
                self.scrolled = self.scrolled.saturating_sub(1);
                Turn::Draw
            }
            _ => Turn::Nothing,
        }
    }

    fn look_back(&mut self, last: Duration) -> Turn {
        self.question.last = last.clamp(LAST_MIN, LAST_MAX);
        Turn::Ask
    }

    /// Takes the answer to a question; one that has been turned meanwhile is asked again anyway.
    pub fn show(&mut self, asked: &Question, answer: Result<Snapshot, String>) {
        match answer {
            Ok(snapshot) if *asked == self.question => {
                self.scrolled = self.scrolled.min(snapshot.rows.len().saturating_sub(1));
                self.snapshot = snapshot;
                self.failure = None;
            }
            Ok(_) => {}
            Err(failure) => self.failure = Some(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_processor::FloodConfig;

    use super::super::question::{Row, Sort};
    use super::*;

    fn screen() -> Screen {
        let question = Question {
            view: View::Integrations,
            sort: Sort::Events,
            last: Duration::from_secs(60),
            rows_max: 100,
        };
        Screen::new(question, Budgets::from(&FloodConfig::default()))
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Turn {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_turn_the_screen() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, KeyCode::Tab), Turn::Ask);
        assert_eq!(screen.question.view, View::Connections);
        assert_eq!(press(&mut screen, KeyCode::Char('o')), Turn::Ask);
        assert_eq!(screen.question.view, View::Objects);
        assert_eq!(press(&mut screen, KeyCode::Char('s')), Turn::Ask);
        assert_eq!(screen.question.sort, Sort::Routed);
        assert_eq!(press(&mut screen, KeyCode::Char('p')), Turn::Draw);
        assert!(screen.paused);
        assert_eq!(press(&mut screen, KeyCode::Char(' ')), Turn::Ask);
        assert!(!screen.paused);
        for _ in 0..10 {
            press(&mut screen, KeyCode::Char('-'));
        }
        assert_eq!(screen.question.last, LAST_MIN);
        assert_eq!(press(&mut screen, KeyCode::Char('x')), Turn::Nothing);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Turn::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(interrupt), Turn::Quit);
    }

    #[test]
    fn an_answer_to_an_older_question_is_not_shown() {
        let mut screen = screen();
        let asked = screen.question;
        let snapshot = Snapshot {
            rows: vec![Row::default()],
            ..Snapshot::default()
        };
        press(&mut screen, KeyCode::Tab);
        screen.show(&asked, Ok(snapshot.clone()));
        assert!(screen.snapshot.rows.is_empty());
        screen.show(&asked, Err("it does not answer".to_owned()));
        assert!(screen.failure.is_some(), "a failure is shown whatever was asked");
        let asked = screen.question;
        screen.show(&asked, Ok(snapshot));
        assert_eq!((screen.snapshot.rows.len(), screen.failure), (1, None));
    }
}
