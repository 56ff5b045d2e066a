//! A query from its turn to its last byte.
//!
//! In: a [`Call`] and what its body was [`Taken`] for. Out: the reply. The first part of a result is held back, so that an early error still gets its
//! own status; a later one is told behind the rows, marked as no row can be. When the reply is dropped (the client hung up), the query is killed,
//! but for an insert whose rows are all here: that one ends as if the client had waited.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::config::Limits;
use crate::engine::Engine;
use crate::exception::{Exception, codes};
use crate::http::call::{Call, text_literal};
use crate::http::coding::Encoder;
use crate::http::intake::Taken;
use crate::http::job::{Job, Outcome};
use crate::http::reply::{Label, mid_stream};
use crate::http::stream::{Piece, ReplyBody};
use crate::library::Sql;
use crate::statement::Statement;

/// The largest piece of a result.
const PIECE: usize = 256 << 10;
/// How often a query that does not end yet is killed again.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// What all queries share.
pub(crate) struct Queries {
    engine: Arc<Engine>,
    limits: Limits,
    turns: Arc<Semaphore>,
    /// The ids of those that run.
    running: Mutex<HashSet<String>>,
}

impl Queries {
    pub(crate) fn new(engine: Arc<Engine>, limits: Limits) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(limits.queries_max.max(1)));
        Arc::new(Queries {
            engine,
            limits,
            turns,
            running: Mutex::default(),
        })
    }

    /// Runs what was taken in; its result may still be streaming when this returns.
    pub(crate) async fn run(
        self: &Arc<Self>,
        call: &Call,
        taken: Taken,
        label: &mut Label,
    ) -> Result<Response<ReplyBody>, Exception> {
        let default_format = call.default_format.as_deref().unwrap_or("TabSeparated");
        label.format = match &taken.statement {
            Statement::Rows(rows) => Some(rows.format.clone().unwrap_or_else(|| default_format.to_owned())),
            Statement::Insert(_) | Statement::Plain { .. } => None,
        };
        let late = |_| {
            Exception::new(
                codes::TOO_MANY_QUERIES,
                format!(
                    "Too many simultaneous queries. Maximum: {}.",
                    self.limits.queries_max
                ),
            )
        };
        let turn = timeout(self.limits.queue_wait(), self.turns.clone().acquire_owned())
            .await
            .map_err(late)?;
        let turn = turn.expect("nobody closes the turns");
        let running = Running::begin(self, call, !matches!(taken.statement, Statement::Insert(_)))?;
        let (job, read_end) = Job::new(call, taken, default_format)?;
        let (tell, done) = oneshot::channel();
        let (engine, ended) = (self.engine.clone(), running.ended.clone());
        tokio::task::spawn_blocking(move || {
            // set however the job ends, a panic too: else a killer would never rest
            let ending = Ending(ended);
            let outcome = job.run(&engine);
            drop((ending, turn));
            // an error means that the client has hung up: nobody waits for the outcome
            let _ = tell.send(outcome);
        });
        let encoder = Encoder::new(label.coding, call.compress);
        let result = Pending {
            queries: self.clone(),
            _running: running,
            read_end,
            done,
            encoder,
        };
        result.reply(label, call.wait_end_of_query).await
    }
}

/// A query that runs: its id is taken, and dropping this kills it.
struct Running {
    queries: Arc<Queries>,
    query_id: String,
    mark: String,
    dies_with_client: bool,
    ended: Arc<AtomicBool>,
}

impl Running {
    fn begin(queries: &Arc<Queries>, call: &Call, dies_with_client: bool) -> Result<Running, Exception> {
        if !queries.running.lock().insert(call.query_id.clone()) {
            let sentence = format!("Query with id = {} is already running.", call.query_id);
            return Err(Exception::new(codes::SAME_QUERY_ID, sentence));
        }
        let ended = Arc::new(AtomicBool::new(false));
        Ok(Running {
            queries: queries.clone(),
            query_id: call.query_id.clone(),
            mark: call.mark(),
            dies_with_client,
            ended,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queries.running.lock().remove(&self.query_id);
        if !self.dies_with_client || self.ended.load(Ordering::Acquire) {
            return;
        }
        // without a runtime the process is ending, and the engine with it
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(kill(
                self.queries.engine.clone(),
                self.mark.clone(),
                self.ended.clone(),
            ));
        }
    }
}

/// Says that a query has ended, when dropped.
struct Ending(Arc<AtomicBool>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Kills the marked query until it has ended: it may not be known to the engine yet when it is first looked for.
async fn kill(engine: Arc<Engine>, mark: String, ended: Arc<AtomicBool>) {
    let sql = format!(
        "KILL QUERY WHERE Settings['log_comment'] = {} ASYNC",
        text_literal(&mark)
    );
    while !ended.load(Ordering::Acquire) {
        let (engine, sql) = (engine.clone(), sql.clone());
        let killed = tokio::task::spawn_blocking(move || {
            let mut session = engine.session().map_err(|refusal| refusal.to_string())?;
            session
                .query(Sql {
                    text: sql.as_bytes(),
                    format: "Null",
                    parameters: &[],
                })
                .map(|_| ())
        });
        if let Ok(Err(reason)) = killed.await {
            tracing::warn!(reason, "cannot kill the query of a client that hung up");
        }
        tokio::time::sleep(KILL_AGAIN).await;
    }
}

/// A query whose result is on its way.
struct Pending {
    queries: Arc<Queries>,
    _running: Running,
    /// Where its rows come, if it returns any.
    read_end: Option<pipe::Receiver>,
    done: oneshot::Receiver<Outcome>,
    encoder: Encoder,
}

impl Pending {
    async fn reply(mut self, label: &Label, whole: bool) -> Result<Response<ReplyBody>, Exception> {
        let limits = &self.queries.limits;
        let held_max = if whole {
            limits.whole_result_bytes_max
        } else {
            limits.held_result_bytes_max
        };
        let mut held = BytesMut::new();
        while held.len() < held_max {
            if !self.read(&mut held).await? {
                return self.reply_whole(label, held).await;
            }
        }
        if whole {
            let sentence =
                format!("The result is larger than {held_max} bytes, the limit with wait_end_of_query.");
            return Err(Exception::new(codes::TOO_MANY_ROWS_OR_BYTES, sentence));
        }
        let tag = tag();
        let reply = label.success(crate::library::Counts::default(), Some(&tag));
        let (sender, receiver) = mpsc::channel(2);
        tokio::spawn(self.pump(held.freeze(), sender, tag));
        Ok(reply.map(|_| ReplyBody::Pieces(receiver)))
    }

    async fn reply_whole(
        mut self,
        label: &Label,
        mut held: BytesMut,
    ) -> Result<Response<ReplyBody>, Exception> {
        let (output, counts) = self.outcome().await?;
        held.extend_from_slice(&output);
        let mut label = label.clone();
        if held.is_empty() {
            label.coding = crate::http::coding::Coding::Identity;
            return Ok(label.success(counts, None));
        }
        let mut body = self.encoder.push(&held);
        body.append(&mut self.encoder.finish());
        Ok(label.success(counts, None).map(|_| ReplyBody::whole(body)))
    }

    /// Reads what has come; false at the end.
    async fn read(&mut self, into: &mut BytesMut) -> Result<bool, Exception> {
        let Some(read_end) = &mut self.read_end else {
            return Ok(false);
        };
        into.reserve(PIECE);
        match read_end.read_buf(into).await {
            Ok(read) => Ok(read > 0),
            Err(error) => Err(Exception::new(
                codes::LOGICAL_ERROR,
                format!("Cannot read the result: {error}."),
            )),
        }
    }

    async fn outcome(&mut self) -> Outcome {
        let lost = || {
            Exception::new(
                codes::LOGICAL_ERROR,
                "The query's thread ended without an outcome.",
            )
        };
        (&mut self.done).await.unwrap_or_else(|_| Err(lost()))
    }

    /// Sends what was held and all that follows. Returning early breaks the transfer off, and kills the query.
    async fn pump(mut self, held: Bytes, sender: mpsc::Sender<Piece>, tag: String) {
        let mut piece = BytesMut::from(held);
        loop {
            let coded = self.encoder.push(&piece);
            if !self.send(&sender, coded).await {
                return;
            }
            piece.clear();
            let read = tokio::select! {
                () = sender.closed() => return,
                read = self.read(&mut piece) => read,
            };
            match read {
                Ok(true) => {}
                Ok(false) => break,
                Err(exception) => return self.end(&sender, Err(exception), &tag).await,
            }
        }
        let outcome = self.outcome().await;
        self.end(&sender, outcome, &tag).await;
    }

    /// The transfer is not broken off behind an exception: a client that is still reading would then see the break and never the reason.
    async fn end(mut self, sender: &mpsc::Sender<Piece>, outcome: Outcome, tag: &str) {
        if let Err(exception) = outcome {
            let text = mid_stream(&exception, self.queries.engine.version(), tag);
            let coded = self.encoder.push_unblocked(text.as_bytes());
            if !self.send(sender, coded).await {
                return;
            }
        }
        let encoder = std::mem::replace(
            &mut self.encoder,
            Encoder::new(crate::http::coding::Coding::Identity, false),
        );
        if !self.send(sender, encoder.finish()).await {
            return;
        }
        // an error means that the client hung up behind the last row
        let _ = sender.send(Piece::End).await;
    }

    /// False when the client has hung up, or takes nothing for too long.
    async fn send(&self, sender: &mpsc::Sender<Piece>, bytes: Vec<u8>) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let sent = timeout(
            self.queries.limits.idle_wait(),
            sender.send(Piece::Bytes(Bytes::from(bytes))),
        )
        .await;
        matches!(sent, Ok(Ok(())))
    }
}

/// Sixteen letters that no row can foresee.
fn tag() -> String {
    let random = uuid::Uuid::new_v4().into_bytes();
    random.iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}
