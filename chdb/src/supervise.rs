//! The engine in a child process: started, watched, started again, stopped.
//!
//! In: [`Config`]: the command that becomes the child, where its tables are, where it listens. Out: [`Engine`] with an [`Endpoint`] for clients and a
//! [`State`] for readiness probes. The child gets its password by a pipe on its standard input and lives as long as that stays open; the kernel ends it
//! too when this process dies, however it does ([`crate::child`] is its side). A child that ends is started again at the same address, later each time.
//! Restarting never loses what a client was told is written; a query that was running is the client's to repeat.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Password;
use crate::error::Error;
use crate::watcher::{Event, Watcher};

/// What becomes the child, and how patiently it is watched.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program.
    pub executable: PathBuf,
    /// Its arguments; `--data`, `--listen` and `--parent-fd` are added behind them.
    pub arguments: Vec<OsString>,
    /// The directory of tables.
    pub data: PathBuf,
    /// The address; with port 0 the first child's choice is kept for the later ones.
    pub listen: SocketAddr,
    /// The one user's name.
    pub user: String,
    /// The user's password; generated when empty.
    pub password: Password,
    /// How long a child may take until it answers, in milliseconds.
    pub start_wait_ms: u64,
    /// How long a child that is up may say nothing before it is killed and started again, in milliseconds; at half of it the state says so. It says
    /// once a second that it runs.
    pub silence_max_ms: u64,
    /// How long the first start again waits, in milliseconds; each further one doubles it.
    pub restart_wait_min_ms: u64,
    /// The longest wait before a start, in milliseconds. A child that was up for as long begins anew at the shortest.
    pub restart_wait_max_ms: u64,
    /// How long a child may take to stop before it is killed, in milliseconds.
    pub stop_wait_ms: u64,
}

impl Config {
    /// `executable` with its defaults, on `data` and a loopback port of the system's choice.
    pub fn new(executable: PathBuf, arguments: Vec<OsString>, data: PathBuf) -> Self {
        Config {
            executable,
            arguments,
            data,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            user: "default".to_owned(),
            password: Password::default(),
            start_wait_ms: 60_000,
            silence_max_ms: 30_000,
            restart_wait_min_ms: 100,
            restart_wait_max_ms: 30_000,
            stop_wait_ms: 15_000,
        }
    }
}

/// How a client reaches the engine. It stays the same over restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Password,
}

/// What the child is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Started, and not yet answering.
    Starting,
    /// Answering at this address.
    Ready {
        /// Where.
        address: SocketAddr,
        /// The child's process id.
        process: u32,
    },
    /// Was answering, and now says nothing; it is killed when that lasts.
    Silent {
        /// How long that may last from when it was noticed.
        wait: Duration,
    },
    /// Ended; the next start comes after a wait.
    Waiting {
        /// Why it ended, in a sentence.
        reason: String,
        /// Whether it said so itself, as when its directory is in use, rather than crashed.
        refused: bool,
        /// How long the wait is.
        wait: Duration,
    },
    /// Stopped for good.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Starting => formatter.write_str("starting"),
            State::Ready { .. } => formatter.write_str("ready"),
            State::Silent { wait } => write!(
                formatter,
                "does not answer; it is killed when that lasts {wait:?} longer"
            ),
            State::Waiting { reason, wait, .. } => {
                write!(formatter, "down: {reason}; starting again in {wait:?}")
            }
            State::Stopped => formatter.write_str("stopped"),
        }
    }
}

/// The supervised engine. Dropping it stops the child.
#[derive(Debug)]
pub struct Engine {
    state: watch::Receiver<State>,
    events: mpsc::Sender<Event>,
    user: String,
    password: Password,
    watcher: Option<JoinHandle<()>>,
}

impl Engine {
    /// Begins to start the child, and returns at once.
    ///
    /// # Errors
    /// When this process can have no further thread.
    pub fn start(mut config: Config) -> Result<Engine, Error> {
        if config.password.is_empty() {
            config.password = Password::generate();
        }
        let (user, password) = (config.user.clone(), config.password.clone());
        let (tell, state) = watch::channel(State::Starting);
        let (events, received) = mpsc::channel();
        let watcher = Watcher::new(config, tell, events.clone(), received);
        // The kernel ties the child to the thread that forked it, so that thread has to live as long as the child may.
        let watcher = std::thread::Builder::new()
            .name("clickhouse-watch".to_owned())
            .spawn(move || watcher.run())
            .map_err(|error| Error::Child {
                what: format!("cannot be watched: {error}"),
            })?;
        Ok(Engine {
            state,
            events,
            user,
            password,
            watcher: Some(watcher),
        })
    }

    /// What the child is doing now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The state as it changes.
    pub fn states(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until the child answers.
    ///
    /// # Errors
    /// When it says why it cannot start, or `wait` is over.
    pub async fn ready(&self, wait: Duration) -> Result<Endpoint, Error> {
        let mut states = self.state.clone();
        let settled = |state: &State| match state {
            State::Ready { .. } | State::Stopped => true,
            State::Waiting { refused, .. } => *refused,
            State::Starting | State::Silent { .. } => false,
        };
        let state = match timeout(wait, states.wait_for(settled)).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => State::Stopped,
            Err(_) => {
                return Err(Error::Child {
                    what: format!("does not answer after {wait:?}: {}", self.state()),
                });
            }
        };
        match state {
            State::Ready { address, .. } => Ok(self.endpoint(address)),
            State::Waiting { reason, .. } => Err(Error::Child {
                what: format!("cannot start: {reason}"),
            }),
            State::Starting | State::Silent { .. } | State::Stopped => Err(Error::Child {
                what: "was stopped".to_owned(),
            }),
        }
    }

    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint {
            url: format!("http://{address}"),
            user: self.user.clone(),
            password: self.password.clone(),
        }
    }

    /// Lets the child finish its queries and end, and waits for that; a child that takes too long is killed.
    pub async fn stop(mut self) {
        self.tell_to_stop();
        let mut states = self.state.clone();
        // an error means that the watcher has gone, and its child with it
        let _ = states.wait_for(|state| *state == State::Stopped).await;
        if let Some(watcher) = self.watcher.take() {
            // it has set its last state: joining takes no time; a panic there was printed
            let _ = watcher.join();
        }
    }

    fn tell_to_stop(&self) {
        // an error means that the watcher has gone, and its child with it
        let _ = self.events.send(Event::Stop);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}
