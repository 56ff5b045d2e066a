//! The former owner: a processor in a process of its own, this test's binary again, that stands still at the step of its
//! loop that it is told. The broker's trace events name the steps ([`STEPS`]); the child listens to them, so that nothing
//! in the processor knows of this. In: lines on its standard input (`stop at STEP`, `go on`). Out: lines on its standard
//! output: `at STEP`, and `lost` when it finds that another has opened a journal of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tidegate_broker::journal::STEPS;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::world::{FOR_EVER_MS, Place, start};
use crate::{PATIENCE, TEST};

const BOOTSTRAP: &str = "TIDEGATE_TEST_WOKEN_BOOTSTRAP";
const PREFIX: &str = "TIDEGATE_TEST_WOKEN_PREFIX";
/// What stands before each line that is meant for the test; the test harness prints lines too.
const MARK: &str = "former owner: ";
/// Lines that wait to be heard.
const LINES_MAX: usize = 10_000;

/// Where the topics lie, if this process is to be the former owner.
pub fn told() -> Option<Place> {
    Some(Place {
        bootstrap: std::env::var(BOOTSTRAP).ok()?,
        prefix: std::env::var(PREFIX).ok()?,
    })
}

/// Runs the former owner until it is killed.
pub async fn run(place: &Place) -> ! {
    let stops = Arc::new(Stops::default());
    let listening = Listening(stops.clone());
    let wanted = Targets::new()
        .with_target(STEPS, LevelFilter::TRACE)
        .with_target("tidegate", LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(listening.with_filter(wanted))
        .init();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            stops.told(&line);
        }
        // Whoever asked is gone.
        std::process::exit(0);
    });
    let broker = place.connect().await;
    let _running = start(&broker, FOR_EVER_MS);
    std::future::pending().await
}

#[derive(Default)]
struct Stops {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: Option<String>,
    /// How often it was told to go on.
    goes: u64,
}

impl Stops {
    fn told(&self, line: &str) {
        let mut state = self.state.lock();
        match line.strip_prefix("stop at ") {
            Some(step) => state.wanted = Some(step.to_owned()),
            None => state.goes += 1,
        }
        self.changed.notify_all();
    }

    /// A journal's owner has come to a step: it stays there if that is the one.
    fn reached(&self, step: &str) {
        let mut state = self.state.lock();
        if state.wanted.as_deref() != Some(step) {
            return;
        }
        state.wanted = None;
        let goes = state.goes;
        println!("{MARK}at {step}");
        while state.goes == goes {
            self.changed.wait(&mut state);
        }
    }
}

struct Listening(Arc<Stops>);

impl<S: tracing::Subscriber> Layer<S> for Listening {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        if event.metadata().target() == STEPS {
            self.0.reached(&said.step);
        } else if said.error.contains("has another owner") {
            println!("{MARK}lost");
        }
    }
}

#[derive(Default)]
struct Said {
    step: String,
    error: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "step" {
            value.clone_into(&mut self.step);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "error" {
            self.error = format!("{value:?}");
        }
    }
}

/// The former owner's process, as the test has it.
pub struct Former {
    child: Child,
    orders: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Former {
    /// Starts it.
    pub fn start(place: &Place) -> Former {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(BOOTSTRAP, &place.bootstrap)
            .env(PREFIX, &place.prefix)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, lines) = mpsc::channel(LINES_MAX);
        let printed = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in printed.lines().map_while(Result::ok) {
                let Some((_, line)) = line.split_once(MARK) else {
                    continue;
                };
                // The test may be over.
                let _ = said.blocking_send(line.to_owned());
            }
        });
        let orders = child.stdin.take().unwrap();
        Former { child, orders, lines }
    }

    /// Tells it where to stand still next.
    pub fn stop_at(&mut self, step: &str) {
        writeln!(self.orders, "stop at {step}").unwrap();
    }

    /// Whether it says this within a moment.
    pub async fn says(&mut self, wanted: &str, moment: Duration) -> bool {
        let heard = async {
            while let Some(line) = self.lines.recv().await {
                if line == wanted {
                    return;
                }
            }
            panic!("the former owner has ended");
        };
        tokio::time::timeout(moment, heard).await.is_ok()
    }

    /// Waits until it says this.
    pub async fn waits_to_say(&mut self, wanted: &str) {
        assert!(
            self.says(wanted, PATIENCE).await,
            "the former owner never says {wanted:?}"
        );
    }

    /// All of its process stands still, heartbeats too.
    pub fn stand_still(&self) {
        let pid = self.signal(Signal::STOP);
        let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
        assert!(
            stopped.is_some_and(|(_, status)| status.stopped()),
            "it has ended"
        );
    }

    /// It wakes up and goes on at the very step.
    pub fn wake(&mut self) {
        writeln!(self.orders, "go on").unwrap();
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        pid
    }
}

impl Drop for Former {
    fn drop(&mut self) {
        // That it has already ended does not matter here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
