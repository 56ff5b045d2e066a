//! `tidegate top`: who floods now, and what flood control does with it, refreshed every second. In: rows of ClickHouse and
//! the metrics of the running server, through its admin socket; keys. Out: a screen, or one table where there is none.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::logs::duration;
use crate::api;
use crate::client::Client;
use crate::command::{Shared, waiting};
use crate::top::Snapshot;
use crate::top::draw::draw;
use crate::top::gauges::Gauges;
use crate::top::question::{self, Question, Sort, View};
use crate::top::screen::{Screen, Turn};
use crate::top::words::{Budgets, plain};

/// How often the screen is refreshed.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// How often the reader of keys looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many keys may wait to be looked at.
const KEYS_MAX: usize = 64;

/// The hottest integrations, connections and objects, and what flood control does with them, live.
#[derive(Args)]
#[command(
    after_help = "tidegate top                                      # keys: 1 2 3 s + - p q\n\
    tidegate top objects --sort absorbed --last 10m   # whose floods are tamed most\n\
    tidegate top connections --once                   # one table, as without a terminal\n\n\
    Rows appear when the audit has written them, about a second after the verdict. A held event counts as debounced until\n\
    its window hands it on. Open windows and the fill of the tables are those of the server's own process."
)]
pub struct Arguments {
    /// What is counted by
    #[arg(value_enum, default_value_t = View::Integrations)]
    view: View,
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Events)]
    sort: Sort,
    /// Events received within this time count: 30s, 15m, 1h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    last: Duration,
    /// How many rows
    #[arg(long, short = 'n', default_value_t = 200, value_name = "NUMBER")]
    rows: u32,
    /// Print one table and end
    #[arg(long)]
    once: bool,
}

/// An answer, with what was asked.
type Answer = (Question, Result<Snapshot, String>);

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        if self.last.is_zero() {
            bail!("--last is zero: give a time such as 60s");
        }
        let config = shared.load()?;
        let client = Client::of(&config.server.data)?;
        let question = Question {
            view: self.view,
            sort: self.sort,
            last: self.last,
            rows_max: self.rows,
        };
        let budgets = Budgets::from(&config.processor.flood);
        waiting()?.block_on(async {
            if self.once || !std::io::stdout().is_terminal() {
                let snapshot = ask(&client, &question).await?;
                let text = plain(&snapshot, &question, &budgets);
                std::io::stdout().lock().write_all(text.as_bytes())?;
                return Ok(ExitCode::SUCCESS);
            }
            // The first answer comes before the screen, so that a server which does not answer is an ordinary error.
            let mut screen = Screen::new(question, budgets);
            screen.snapshot = ask(&client, &question).await?;
            let mut terminal = ratatui::try_init()?;
            let shown = show(&mut terminal, screen, Arc::new(client)).await;
            ratatui::try_restore()?;
            shown?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Asks for everything that is shown.
async fn ask(client: &Client, question: &Question) -> anyhow::Result<Snapshot> {
    let asked = api::question::Question {
        sql: question.sql(),
        format: "JSONEachRow".to_owned(),
    };
    let answer = client.stream("/api/v1/query", &asked).await?;
    let rows = question::read(&answer.text().await?)?;
    let gauges = Gauges::read(&client.get_text("/metrics").await?);
    Ok(Snapshot { rows, gauges })
}

/// Shows the screen until somebody quits. One question is under way at a time, and keys never wait for its answer.
async fn show(terminal: &mut DefaultTerminal, mut screen: Screen, client: Arc<Client>) -> anyhow::Result<()> {
    let mut keys = Keys::read();
    let (answer_to, mut answers) = mpsc::channel::<Answer>(1);
    let mut refresh = interval(REFRESH_EVERY);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = false;
    let mut again = false;
    // Ended from outside it leaves the terminal as it was, too.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    loop {
        terminal.draw(|frame| draw(frame, &screen))?;
        let mut wants = false;
        tokio::select! {
            event = keys.pressed.recv() => {
                let Some(event) = event else { return Ok(()) };
                if let Event::Key(key) = event? && key.kind != KeyEventKind::Release {
                    match screen.press(key) {
                        Turn::Quit => return Ok(()),
                        Turn::Ask => wants = true,
                        Turn::Draw | Turn::Nothing => {}
                    }
                }
            }
            Some((asked, answer)) = answers.recv() => {
                asking = false;
                screen.show(&asked, answer);
                wants = std::mem::take(&mut again);
            }
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            _ = refresh.tick() => wants = !screen.paused && !asking,
        }
        if wants && asking {
            again = true;
        } else if wants {
            asking = true;
            let (client, asked, answer_to) = (client.clone(), screen.question, answer_to.clone());
            tokio::spawn(async move {
                let answer = ask(&client, &asked).await.map_err(|error| format!("{error:#}"));
                // Nobody listens any more once the screen has ended.
                let _ = answer_to.send((asked, answer)).await;
            });
        }
    }
}

/// Keys, read by a thread of their own for as long as they are wanted.
struct Keys {
    pressed: mpsc::Receiver<std::io::Result<Event>>,
    _stop: StopOnDrop,
}

/// Ends the thread that reads keys.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Keys {
    fn read() -> Self {
        let (press, pressed) = mpsc::channel(KEYS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let event = match event::poll(LOOK_EVERY) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let failed = event.is_err();
                if press.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        Self {
            pressed,
            _stop: StopOnDrop(stop),
        }
    }
}
