//! The engine's shared library, and the only `unsafe` of this crate.
//!
//! In: the path of `libchdb.so`. Out: [`Library`], whose sessions are safe to use: [`Session::query`] takes SQL and gives back bytes,
//! counts, or the engine's error text. The library ships without a header; its signatures were found in the exported names and by running them.
//! It knows nothing of HTTP, settings or users.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::sync::Arc;

use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW, Symbol};

use crate::error::Error;

/// `chdb_connection`: a pointer that only the engine reads.
type Handle = *mut c_void;
/// `chdb_result *`.
type ResultHandle = *mut c_void;

type Connect = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Handle;
type Close = unsafe extern "C" fn(*mut Handle);
type Query = unsafe extern "C" fn(
    Handle,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> ResultHandle;
type Bytes = unsafe extern "C" fn(ResultHandle) -> *const c_char;
type Count = unsafe extern "C" fn(ResultHandle) -> u64;
type Seconds = unsafe extern "C" fn(ResultHandle) -> f64;
type Destroy = unsafe extern "C" fn(ResultHandle);
type Signals = unsafe extern "C" fn(c_int);

/// The loaded engine: its functions, resolved once. It is never unloaded, since its threads outlive any call.
pub(crate) struct Library {
    connect: Connect,
    close: Close,
    query: Query,
    error: Bytes,
    buffer: Bytes,
    length: unsafe extern "C" fn(ResultHandle) -> usize,
    elapsed: Seconds,
    rows_returned: Count,
    rows_read: Count,
    bytes_read: Count,
    rows_written: Count,
    bytes_written: Count,
    destroy: Destroy,
}

impl Library {
    /// Loads the file at `path` and takes its signal handlers off, so that signals stay with this process's own.
    pub(crate) fn load(path: &Path) -> Result<Arc<Library>, Error> {
        if !path.exists() {
            return Err(Error::LibraryMissing {
                path: path.to_owned(),
            });
        }
        let unusable = |error: libloading::Error| Error::LibraryUnusable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        // SAFETY: loading runs the library's initializers, which is what using it means; the operator named this file to be run.
        let loaded = unsafe { Loaded::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(unusable)?;
        // SAFETY: every name is asked for with the type that its function has in the 26.x library: the tests of this crate call each.
        let library = unsafe { Library::resolve(&loaded) }.map_err(unusable)?;
        // SAFETY: as above; the function only stores a flag.
        let signals: Symbol<Signals> =
            unsafe { loaded.get(b"chdb_set_signal_handlers_enabled\0") }.map_err(unusable)?;
        // SAFETY: it takes an int and may be called before the first connection, which is when it has its effect.
        unsafe { signals(0) };
        std::mem::forget(loaded);
        Ok(Arc::new(library))
    }

    /// # Safety
    /// `loaded` has to be an engine whose functions have the types above.
    unsafe fn resolve(loaded: &Loaded) -> Result<Library, libloading::Error> {
        /// # Safety
        /// `name` has to be a function of type `T`.
        unsafe fn function<T: Copy>(loaded: &Loaded, name: &str) -> Result<T, libloading::Error> {
            // SAFETY: the caller vouches for the type; the symbol is copied out, and the library stays loaded for ever.
            unsafe { loaded.get::<T>(name).map(|symbol| *symbol) }
        }
        // SAFETY: the caller vouches for the library.
        unsafe {
            Ok(Library {
                connect: function(loaded, "chdb_connect")?,
                close: function(loaded, "chdb_close_conn")?,
                query: function(loaded, "chdb_query_with_params_n")?,
                error: function(loaded, "chdb_result_error")?,
                buffer: function(loaded, "chdb_result_buffer")?,
                length: function(loaded, "chdb_result_length")?,
                elapsed: function(loaded, "chdb_result_elapsed")?,
                rows_returned: function(loaded, "chdb_result_rows_read")?,
                rows_read: function(loaded, "chdb_result_storage_rows_read")?,
                bytes_read: function(loaded, "chdb_result_storage_bytes_read")?,
                rows_written: function(loaded, "chdb_result_rows_written")?,
                bytes_written: function(loaded, "chdb_result_bytes_written")?,
                destroy: function(loaded, "chdb_destroy_query_result")?,
            })
        }
    }

    /// Opens a session. The first one starts the engine with these `arguments`; for the later ones they have to be the same.
    /// `None` when the engine refuses; it writes why to standard error.
    pub(crate) fn connect(self: &Arc<Self>, arguments: &[CString]) -> Option<Session> {
        let mut pointers: Vec<*mut c_char> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len()).ok()?;
        // SAFETY: the strings end with NUL and live through the call; the engine copies what it keeps and writes to none of them.
        let connection = unsafe { (self.connect)(count, pointers.as_mut_ptr()) };
        (!connection.is_null()).then(|| Session {
            library: self.clone(),
            connection,
        })
    }
}

/// One connection to the engine: one session, one query at a time.
pub(crate) struct Session {
    library: Arc<Library>,
    connection: *mut Handle,
}

// SAFETY: the engine keeps a session behind a lock of its own and gives each call the state of the calling thread; what it does not allow
// is two calls at once on one session, and `query` takes `&mut self`.
unsafe impl Send for Session {}

/// What to run, with the values of its `{name:Type}` parameters.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sql<'a> {
    pub(crate) text: &'a [u8],
    /// The output format where the text names none; empty for the engine's own default.
    pub(crate) format: &'a str,
    pub(crate) parameters: &'a [(String, String)],
}

/// What a query did. Rows and bytes returned are what the client got, read what storage gave, written what went to tables and views.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Counts {
    pub(crate) rows_returned: u64,
    pub(crate) rows_read: u64,
    pub(crate) bytes_read: u64,
    pub(crate) rows_written: u64,
    pub(crate) bytes_written: u64,
    pub(crate) seconds: f64,
}

impl Session {
    /// Runs `sql` to its end on this thread. `Err` holds the engine's error text.
    pub(crate) fn query(&mut self, sql: Sql<'_>) -> Result<(Vec<u8>, Counts), String> {
        let names: Vec<_> = sql
            .parameters
            .iter()
            .map(|(name, _)| name.as_ptr().cast::<c_char>())
            .collect();
        let name_lengths: Vec<_> = sql.parameters.iter().map(|(name, _)| name.len()).collect();
        let values: Vec<_> = sql
            .parameters
            .iter()
            .map(|(_, value)| value.as_ptr().cast::<c_char>())
            .collect();
        let value_lengths: Vec<_> = sql.parameters.iter().map(|(_, value)| value.len()).collect();
        // SAFETY: the connection is open until `drop`; each pointer comes with its length and lives through the call.
        let result = unsafe {
            (self.library.query)(
                *self.connection,
                sql.text.as_ptr().cast(),
                sql.text.len(),
                sql.format.as_ptr().cast(),
                sql.format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                sql.parameters.len(),
            )
        };
        if result.is_null() {
            return Err("the engine gave no result".to_owned());
        }
        let outcome = self.read(result);
        // SAFETY: the result came from this library, everything was copied out of it, and it is destroyed once.
        unsafe { (self.library.destroy)(result) };
        outcome
    }

    fn read(&self, result: ResultHandle) -> Result<(Vec<u8>, Counts), String> {
        let library = &*self.library;
        // SAFETY: `result` is alive; an error is a string that ends with NUL, and the counts of a result with an error are never asked for.
        unsafe {
            let error = (library.error)(result);
            if !error.is_null() {
                return Err(CStr::from_ptr(error).to_string_lossy().into_owned());
            }
            let (buffer, length) = ((library.buffer)(result), (library.length)(result));
            let output = if buffer.is_null() || length == 0 {
                Vec::new()
            } else {
                std::slice::from_raw_parts(buffer.cast::<u8>(), length).to_vec()
            };
            let counts = Counts {
                rows_returned: (library.rows_returned)(result),
                rows_read: (library.rows_read)(result),
                bytes_read: (library.bytes_read)(result),
                rows_written: (library.rows_written)(result),
                bytes_written: (library.bytes_written)(result),
                seconds: (library.elapsed)(result),
            };
            Ok((output, counts))
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the connection is open, nothing else holds it, and it is closed once.
        unsafe { (self.library.close)(self.connection) };
    }
}
