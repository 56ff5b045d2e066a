//! The part of a query that runs on a thread of its own.
//!
//! In: a [`Call`] and its [`Taken`] body. Out: what the query did, or its exception; its rows go through a pipe. The engine itself writes them there, in
//! whatever format was asked for, and waits when nobody reads. It knows no HTTP.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;

use crate::engine::Engine;
use crate::exception::{Exception, codes};
use crate::http::call::Call;
use crate::http::intake::Taken;
use crate::http::spool::Spool;
use crate::library::{Counts, Session, Sql};
use crate::statement::Statement;

/// What a query wrote other than through its pipe, and its counts.
pub(crate) type Outcome = Result<(Vec<u8>, Counts), Exception>;

/// All that running needs.
pub(crate) struct Job {
    prelude: Vec<String>,
    sql: Vec<u8>,
    /// The statement as it was sent, where `sql` is another.
    original: Option<Vec<u8>>,
    format: String,
    parameters: Vec<(String, String)>,
    /// Open while the query reads from it.
    _rows: Option<Spool>,
    /// Open while the query writes: its end is the end of the result.
    _write_end: Option<OwnedFd>,
}

impl Job {
    /// The job, and where its rows come if it returns any.
    pub(crate) fn new(
        call: &Call,
        taken: Taken,
        default_format: &str,
    ) -> Result<(Job, Option<pipe::Receiver>), Exception> {
        let Taken {
            text,
            statement,
            rows,
        } = taken;
        let mut job = Job {
            prelude: call.prelude(),
            sql: Vec::new(),
            original: None,
            format: default_format.to_owned(),
            parameters: call.parameters.clone(),
            _rows: None,
            _write_end: None,
        };
        let mut read_end = None;
        match statement {
            Statement::Insert(insert) => {
                let descriptor = rows.as_ref().map_or(-1, Spool::descriptor);
                job.sql = insert.reading(&text, descriptor, call.default_format.as_deref());
                job._rows = rows;
            }
            Statement::Rows(rows) => {
                let (reading, writing) = open_pipe().map_err(|error| {
                    Exception::new(
                        codes::LOGICAL_ERROR,
                        format!("Cannot open a pipe for the result: {error}."),
                    )
                })?;
                job.sql = rows.writing(&text, writing.as_raw_fd(), default_format);
                job.original = Some(rows.plain(&text).to_vec());
                job._write_end = Some(writing);
                read_end = Some(reading);
            }
            Statement::Plain { end } => job.sql = text.get(..end).unwrap_or(&text).to_vec(),
        }
        Ok((job, read_end))
    }

    /// Runs to the end, on this thread.
    pub(crate) fn run(self, engine: &Engine) -> Outcome {
        let mut session = engine.session()?;
        for sql in &self.prelude {
            let sql = Sql {
                text: sql.as_bytes(),
                ..Sql::default()
            };
            session.query(sql).map_err(|text| Exception::from_engine(&text))?;
        }
        match self.query(&mut session, &self.sql) {
            // the engine speaks of text that the client never sent: let it speak of the client's own
            Err(text) if text.contains("'/proc/self/fd/") && text.starts_with("Code: 62.") => {
                let original = self.original.as_deref().unwrap_or_default();
                self.query(&mut session, original)
            }
            outcome => outcome,
        }
        .map_err(|text| Exception::from_engine(&text))
    }

    fn query(&self, session: &mut Session, text: &[u8]) -> Result<(Vec<u8>, Counts), String> {
        session.query(Sql {
            text,
            format: &self.format,
            parameters: &self.parameters,
        })
    }
}

fn open_pipe() -> std::io::Result<(pipe::Receiver, OwnedFd)> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(reading)?, writing))
}
