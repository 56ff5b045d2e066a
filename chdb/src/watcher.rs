//! The thread that starts the child and starts it again.
//!
//! In: [`supervise::Config`](crate::supervise::Config) and events: a line that the child printed, its end, the wish to stop. Out: the
//! [`State`](crate::supervise::State). One thread decides; two small ones per child only wait for its lines and for its end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use crate::child::Said;
use crate::metrics::count_start;
use crate::supervise::{Config, State};

/// What the watcher waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// A child printed this.
    Said { child: u32, said: Said },
    /// A child ended; how.
    Ended { child: u32, how: String },
    /// It is to end for good.
    Stop,
}

/// Starts a child and starts it again.
pub(crate) struct Watcher {
    config: Config,
    state: watch::Sender<State>,
    send: Sender<Event>,
    events: Receiver<Event>,
    /// Where to listen: the first child's choice is kept.
    listen: SocketAddr,
}

/// How a child's life went.
enum Life {
    Ended {
        reason: String,
        refused: bool,
        was_up: Duration,
    },
    Stopped,
}

/// What is known of a child so far.
struct Lived {
    up_since: Option<Instant>,
    /// When patience with it ends.
    deadline: Instant,
    silent: bool,
    /// Why it says that it cannot start.
    refusal: Option<String>,
    /// Why it was killed.
    killed: Option<&'static str>,
}

impl Lived {
    fn begin(start_wait: Duration) -> Lived {
        Lived {
            up_since: None,
            deadline: Instant::now() + start_wait,
            silent: false,
            refusal: None,
            killed: None,
        }
    }

    fn end(self, how: String) -> Life {
        Life::Ended {
            refused: self.refusal.is_some(),
            reason: self.refusal.or(self.killed.map(str::to_owned)).unwrap_or(how),
            was_up: self.up_since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}

/// A child as its watcher holds it: the pipe that keeps it alive, and its id.
struct Alive {
    process: u32,
    _pipe: ChildStdin,
}

impl Watcher {
    pub(crate) fn new(
        config: Config,
        state: watch::Sender<State>,
        send: Sender<Event>,
        events: Receiver<Event>,
    ) -> Self {
        let listen = config.listen;
        Watcher {
            config,
            state,
            send,
            events,
            listen,
        }
    }

    pub(crate) fn run(mut self) {
        let (shortest, longest) = (self.config.restart_wait_min_ms, self.config.restart_wait_max_ms);
        let (shortest, longest) = (Duration::from_millis(shortest), Duration::from_millis(longest));
        let mut wait = shortest;
        loop {
            self.state.send_replace(State::Starting);
            let Life::Ended {
                reason,
                refused,
                was_up,
            } = self.live()
            else {
                break;
            };
            if was_up >= longest {
                wait = shortest;
            }
            tracing::warn!(reason, wait = ?wait, "the ClickHouse engine's process ended");
            self.state.send_replace(State::Waiting {
                reason,
                refused,
                wait,
            });
            if self.is_stopped_within(wait) {
                break;
            }
            wait = (wait * 2).min(longest);
        }
        self.state.send_replace(State::Stopped);
    }

    /// Waits; true when told to stop meanwhile.
    fn is_stopped_within(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            match self
                .events
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Ok(Event::Said { .. } | Event::Ended { .. }) => {}
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// One child from its start to its end.
    fn live(&mut self) -> Life {
        let alive = match self.start() {
            Ok(alive) => alive,
            Err(error) => {
                let reason = format!("{} cannot be started: {error}", self.config.executable.display());
                return Life::Ended {
                    reason,
                    refused: true,
                    was_up: Duration::ZERO,
                };
            }
        };
        count_start();
        let mut lived = Lived::begin(Duration::from_millis(self.config.start_wait_ms));
        loop {
            let left = lived.deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Said { child, said }) if child == alive.process => {
                    self.hear(said, (&alive, &mut lived));
                }
                Ok(Event::Ended { child, how }) if child == alive.process => return lived.end(how),
                Ok(Event::Said { .. } | Event::Ended { .. }) => {}
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.stop(alive);
                    return Life::Stopped;
                }
                Err(RecvTimeoutError::Timeout) => self.lose_patience((&alive, &mut lived)),
            }
        }
    }

    fn hear(&mut self, said: Said, (alive, lived): (&Alive, &mut Lived)) {
        match said {
            Said::Failed(reason) => {
                lived.refusal = Some(reason);
                return;
            }
            Said::Ready(address) => {
                self.listen = address;
                lived.up_since = Some(Instant::now());
                self.tell_ready(alive);
            }
            Said::Alive if lived.silent => {
                lived.silent = false;
                self.tell_ready(alive);
            }
            Said::Alive => {}
        }
        lived.deadline = Instant::now() + self.half_silence();
    }

    fn tell_ready(&self, alive: &Alive) {
        self.state.send_replace(State::Ready {
            address: self.listen,
            process: alive.process,
        });
    }

    /// A child that was up is given half of its time with a warning, for it may be this process that stood still.
    fn lose_patience(&self, (alive, lived): (&Alive, &mut Lived)) {
        let wait = self.half_silence();
        lived.deadline = Instant::now() + wait;
        if lived.up_since.is_some() && !lived.silent {
            lived.silent = true;
            tracing::warn!(
                process = alive.process,
                "the ClickHouse engine's process does not answer"
            );
            self.state.send_replace(State::Silent { wait });
            return;
        }
        lived.killed = Some(match lived.up_since {
            Some(_) => "it did not answer and was killed (engine.silence_max_ms)",
            None => "it did not begin to answer and was killed",
        });
        kill(alive.process);
    }

    fn half_silence(&self) -> Duration {
        Duration::from_millis(self.config.silence_max_ms / 2)
    }

    fn start(&self) -> std::io::Result<Alive> {
        let mut child = Command::new(&self.config.executable)
            .args(&self.config.arguments)
            .arg("--data")
            .arg(&self.config.data)
            .args(["--listen", &self.listen.to_string(), "--parent-fd", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // a terminal's Ctrl-C goes to us alone: the child has to outlive our last inserts
            .process_group(0)
            .spawn()?;
        let process = child.id();
        let pipe = child.stdin.take();
        let said = child.stdout.take();
        let mut pipe = pipe.expect("standard input was asked to be a pipe");
        let said = BufReader::new(said.expect("standard output was asked to be a pipe"));
        // a child that ended before it read its password is told by its end
        let _ = writeln!(pipe, "{}", self.config.password.reveal());
        let send = self.send.clone();
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if let Some(said) = Said::parse(&line)
                    && send.send(Event::Said { child: process, said }).is_err()
                {
                    return;
                }
            }
            wait_for_end(child, &send);
        });
        Ok(Alive { process, _pipe: pipe })
    }

    /// Closes the pipe, which tells the child to end, and sees to it that it does.
    fn stop(&self, alive: Alive) {
        let process = alive.process;
        drop(alive);
        let until = Instant::now() + Duration::from_millis(self.config.stop_wait_ms);
        loop {
            match self
                .events
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(Event::Ended { child, .. }) if child == process => return,
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    tracing::warn!(
                        process,
                        "the ClickHouse engine's process does not stop: killing it"
                    );
                    kill(process);
                    return;
                }
            }
        }
    }
}

/// Behind the last line: the child has closed its output, so it has ended or is about to.
fn wait_for_end(mut child: Child, send: &Sender<Event>) {
    let process = child.id();
    let how = match child.wait() {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it cannot be waited for: {error}"),
    };
    // an error means that nobody watches any more
    let _ = send.send(Event::Ended { child: process, how });
}

fn kill(process: u32) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::KILL)
    {
        tracing::warn!(process, %error, "cannot kill the ClickHouse engine's process");
    }
}
