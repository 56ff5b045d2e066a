//! The child's side of supervision.
//!
//! In: [`Config`] and the descriptor of the parent's pipe. Out: the server, until the pipe closes. The first line of the pipe is the password; what the
//! parent has to know is said in lines on standard output, that this process still runs once a second. The kernel kills this process when the parent's watching thread dies; the closed pipe ends it
//! gently, and also when the parent died before that was arranged.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::sync::oneshot;

use crate::config::{Config, Password};
use crate::error::Error;
use crate::server::Server;

/// How often the child says that it runs.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// What the child says to its watcher: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It answers here.
    Ready(SocketAddr),
    /// It still runs.
    Alive,
    /// It cannot start, and ends.
    Failed(String),
}

impl Said {
    pub(crate) fn parse(line: &str) -> Option<Said> {
        if line == "alive" {
            return Some(Said::Alive);
        }
        match line.split_once(' ')? {
            ("ready", address) => address.parse().ok().map(Said::Ready),
            ("failed", reason) => Some(Said::Failed(reason.to_owned())),
            _ => None,
        }
    }

    fn say(&self) {
        let line = match self {
            Said::Ready(address) => format!("ready {address}\n"),
            Said::Alive => "alive\n".to_owned(),
            Said::Failed(reason) => format!("failed {}\n", reason.replace('\n', " ")),
        };
        let mut output = std::io::stdout().lock();
        // a parent that does not listen any more has closed the pipe too, which ends us
        let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
    }
}

/// Serves until the parent closes its pipe, the open descriptor `parent_fd`, or dies.
///
/// # Errors
/// When the pipe cannot be read, or as [`crate::serve`]; the parent is told too.
pub async fn serve_parent(config: Config, parent_fd: i32) -> Result<(), Error> {
    let served = try_serve(config, parent_fd).await;
    if let Err(error) = &served {
        Said::Failed(sentence(error)).say();
    }
    served
}

async fn try_serve(mut config: Config, parent_fd: i32) -> Result<(), Error> {
    let path = format!("/proc/self/fd/{parent_fd}");
    let failed = |action| {
        let path = path.clone().into();
        move |source| Error::File { path, action, source }
    };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed("tie this process to its parent")(error.into()))?;
    let mut pipe = BufReader::new(File::open(&path).map_err(failed("open the parent's pipe"))?);
    let mut password = String::new();
    pipe.read_line(&mut password)
        .map_err(failed("read the password"))?;
    config.password = Password::new(password.trim_end());
    let (tell, closed) = oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // whatever ends the reading, the parent is gone or wants us to go
        let _ = pipe.read_to_end(&mut rest);
        let _ = tell.send(());
    });
    let server = Server::open(config).await?;
    Said::Ready(server.address()).say();
    // On the server's own task: what holds that up also ends the saying.
    tokio::select! {
        served = server.run(async { closed.await.unwrap_or(()) }) => served,
        never = say_alive() => match never {},
    }
}

async fn say_alive() -> std::convert::Infallible {
    let mut beats = tokio::time::interval(ALIVE_EVERY);
    loop {
        beats.tick().await;
        Said::Alive.say();
    }
}

/// An error with what caused it.
fn sentence(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_for_the_watcher_are_passed_over() {
        for (line, said) in [
            (
                "ready 127.0.0.1:8123",
                Some(Said::Ready(SocketAddr::from(([127, 0, 0, 1], 8123)))),
            ),
            (
                "failed it is in use by process 7",
                Some(Said::Failed("it is in use by process 7".to_owned())),
            ),
            ("alive", Some(Said::Alive)),
            ("alive and well", None),
            ("ready soon", None),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(Said::parse(line), said, "{line:?}");
        }
    }
}
