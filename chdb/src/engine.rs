//! The running engine: opened on one directory, with its memory cap, giving out one session per query.
//!
//! In: [`Config`]. Out: [`Engine`] with its version and time zone; [`Engine::session`] opens a session in a tenth of a millisecond, so that no
//! setting, parameter or temporary table of one request is ever seen by another. Nothing here knows of HTTP.
//!
//! What cannot be given as an argument (the tables' own settings) goes into a file `engine.xml` in the directory, written at each start.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::error::Error;
use crate::exception::Exception;
use crate::library::{Library, Session, Sql};
use crate::lock::Lock;

const SETTINGS_FILE: &str = "engine.xml";

/// The engine, open on its directory until dropped.
pub(crate) struct Engine {
    library: Arc<Library>,
    arguments: Vec<CString>,
    version: String,
    time_zone: String,
    /// Kept open, since the engine stops when its last session closes.
    _first: parking_lot::Mutex<Session>,
    _lock: Lock,
}

impl Engine {
    /// Waits for the directory, loads the library and opens the tables. Blocks the thread: up to the lock's wait, then about 0.2 s.
    pub(crate) fn open(config: &Config) -> Result<Engine, Error> {
        let library = Library::load(&config.library)?;
        let lock = Lock::take(&config.data, config.lock_wait())?;
        let file = config.data.join(SETTINGS_FILE);
        fs::write(&file, settings(config)).map_err(|source| Error::File {
            path: file.clone(),
            action: "write the engine's settings to it",
            source,
        })?;
        let arguments = vec![
            argument("clickhouse", Path::new(""))?,
            argument("--config-file=", &file)?,
            argument("--path=", &config.data)?,
        ];
        let refused = |reason: &str| Error::EngineRefused {
            directory: config.data.clone(),
            reason: reason.to_owned(),
        };
        let mut first = library
            .connect(&arguments)
            .ok_or_else(|| refused("no reason given"))?;
        let asked = Sql {
            text: b"SELECT version(), timezone()",
            format: "TabSeparated",
            parameters: &[],
        };
        let (answer, _) = first.query(asked).map_err(|reason| refused(&reason))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (version, time_zone) = answer
            .trim_end()
            .split_once('\t')
            .ok_or_else(|| refused(&answer))?;
        let (version, time_zone) = (version.to_owned(), time_zone.to_owned());
        Ok(Engine {
            library,
            arguments,
            version,
            time_zone,
            _first: parking_lot::Mutex::new(first),
            _lock: lock,
        })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// A session with nothing set in it.
    pub(crate) fn session(&self) -> Result<Session, Exception> {
        let refused = || {
            Exception::new(
                crate::exception::codes::LOGICAL_ERROR,
                "The engine opens no further session.",
            )
        };
        self.library.connect(&self.arguments).ok_or_else(refused)
    }
}

fn argument(name: &str, path: &Path) -> Result<CString, Error> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = [name.as_bytes(), path.as_os_str().as_bytes()].concat();
    CString::new(bytes).map_err(|_| Error::EngineRefused {
        directory: path.to_owned(),
        reason: "its path holds a NUL byte".to_owned(),
    })
}

/// The engine's settings: the cap, caches that leave room below it, and inserts that are on disk before they are answered.
fn settings(config: &Config) -> String {
    let cap = config.memory_bytes_max;
    let synced = u8::from(config.synced_inserts);
    let caches: String = [
        ("mark_cache_size", 8),
        ("primary_index_cache_size", 16),
        ("index_mark_cache_size", 32),
        ("text_index_tokens_cache_size", 32),
        ("text_index_header_cache_size", 32),
        ("text_index_postings_cache_size", 16),
        ("vector_similarity_index_cache_size", 64),
        ("compiled_expression_cache_size", 32),
        ("query_condition_cache_size", 64),
    ]
    .into_iter()
    .map(|(name, share)| format!("  <{name}>{}</{name}>\n", cap / share))
    .collect();
    format!(
        "<!-- written by tidegate at each start; changes are lost -->\n\
         <clickhouse>\n  <max_server_memory_usage>{cap}</max_server_memory_usage>\n{caches}  <merge_tree>\n    \
         <fsync_after_insert>{synced}</fsync_after_insert>\n    <fsync_part_directory>{synced}</fsync_part_directory>\n  \
         </merge_tree>\n</clickhouse>\n"
    )
}
