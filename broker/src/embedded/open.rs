//! Opening and closing a log: the lock on its directory, recovery, its threads, and the clean stop.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::Notify;

use super::config::{Config, Layout};
use super::disk::{Disk, OsDisk};
use super::durable::Durable;
use super::group::{Group, Sleep};
use super::index::{Index, MemoryIndex};
use super::keepers::Keepers;
use super::log::{Host, Log};
use super::recover::{self, CLEAN, Recovered};
use super::segment::{self, SEGMENT_HEADER, Segment};
use super::state::{Active, Phase, State, Tail};
use super::{chores, flusher, retention};
use crate::error::Error;

/// An open log with its threads; dropping it stops them without a clean stop.
pub struct OpenLog {
    pub(crate) log: Arc<Log>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held open: the lock is the file's.
    _lock: Option<File>,
}

impl OpenLog {
    /// Opens the log in a directory of the operating system, which no other process may have open.
    pub fn open(config: &Config, directory: &Path) -> Result<OpenLog, Error> {
        let path = directory.display();
        std::fs::create_dir_all(directory).map_err(Error::io(format!("create {path}")))?;
        let lock = lock(directory)?;
        let host = Host::new(Arc::new(OsDisk::new(directory)));
        OpenLog::start(config, host, Some(lock))
    }

    /// Opens the log on a host of the caller's, unlocked.
    pub fn open_on(config: &Config, host: Host) -> Result<OpenLog, Error> {
        OpenLog::start(config, host, None)
    }

    fn start(config: &Config, host: Host, lock: Option<File>) -> Result<OpenLog, Error> {
        config.check()?;
        let layout = Layout::new(config);
        let recovered = recover::recover(&*host.disk, &layout, config.segment_bytes)?;
        forget_clean_stop(&*host.disk)?;
        let mark = match recovered.mark {
            Some(mark) => mark,
            None => getrandom::u64()
                .map_err(|error| Error::Config(error.to_string()))?
                .to_le_bytes(),
        };
        let durable = Durable::new(recovered.sequence);
        let state = begin(config, &host, recovered)?;
        let log = Arc::new(Log {
            readable: (0..layout.len()).map(|_| Notify::new()).collect(),
            config: config.clone(),
            layout,
            host,
            mark,
            state: Mutex::new(state),
            durable,
            flush_wanted: Condvar::new(),
            chore_wanted: Condvar::new(),
            retention_wanted: Condvar::new(),
            room: Notify::new(),
            has_space: AtomicBool::new(true),
            keepers: Keepers::default(),
        });
        log.lock().begin_segment(&log.rules(), (log.host.now)());
        let open = OpenLog {
            log,
            threads: Mutex::default(),
            _lock: lock,
        };
        open.spawn("log-flusher", flusher::run)?;
        open.spawn("log-chores", chores::run)?;
        open.spawn("log-retention", retention::run)?;
        Ok(open)
    }

    fn spawn(&self, name: &str, run: fn(&Log)) -> Result<(), Error> {
        let log = Arc::clone(&self.log);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread
            .spawn(move || run(&log))
            .map_err(Error::io(format!("start thread {name}")))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Stops in good order: everything is written, synced and indexed, so that the next start reads next to nothing.
    pub fn close(&self) -> Result<(), Error> {
        self.stop();
        if self.log.lock().phase == Phase::Failed {
            return Err(Error::Closed);
        }
        self.close_segments().map_err(Error::io("close the log"))
    }

    fn stop(&self) {
        {
            let mut state = self.log.lock();
            if state.phase == Phase::Open {
                state.phase = Phase::Closing;
            }
        }
        self.log.wake_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        self.log.wake_all();
    }

    fn close_segments(&self) -> io::Result<()> {
        let log = &*self.log;
        let full: Vec<_> = log.lock().unsealed.iter().cloned().collect();
        for (segment, seal) in full {
            chores::seal_segment(log, &segment, &seal)?;
        }
        let (segment, seal) = {
            let state = log.lock();
            (Arc::clone(&state.active.segment), state.seal(&log.rules()))
        };
        segment.file.set_len(seal.used_bytes)?;
        chores::seal_segment(log, &segment, &seal)?;
        let clean = log.host.disk.create(CLEAN)?;
        clean.write_at(&[b"closed in good order\n"], 0)?;
        clean.sync()?;
        log.host.disk.sync_names()
    }
}

impl Drop for OpenLog {
    fn drop(&mut self) {
        self.stop();
    }
}

fn forget_clean_stop(disk: &dyn Disk) -> Result<(), Error> {
    match disk.remove(CLEAN) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(Error::io(format!("remove {CLEAN}")))?,
    }
    disk.sync_names().map_err(Error::io("sync the log's directory"))
}

/// The state of a log that goes on in a fresh segment behind what was recovered.
fn begin(config: &Config, host: &Host, recovered: Recovered) -> Result<State, Error> {
    let now = (host.now)();
    let mut segments = recovered.segments;
    let mut spares: VecDeque<_> = recovered.spares.into();
    let mut used_bytes = recovered.used_bytes;
    let (number, file) = match spares.pop_front() {
        Some(spare) => spare,
        None => {
            let number = segments.keys().next_back().map_or(1, |last| last + 1);
            let blank = chores::create_blank(&*host.disk, number, config.segment_bytes);
            used_bytes += config.segment_bytes;
            (
                number,
                blank.map_err(Error::io(format!("write {}", segment::file_name(number))))?,
            )
        }
    };
    let index = RwLock::new(Index::Memory(MemoryIndex::default()));
    let segment = Arc::new(Segment {
        number,
        file,
        created: now,
        index,
    });
    segments.insert(number, Arc::clone(&segment));
    let active = Active {
        segment,
        position: SEGMENT_HEADER as u64,
        length: config.segment_bytes,
        first_sequence: recovered.sequence + 1,
    };
    Ok(State {
        partitions: recovered.partitions,
        segments,
        active,
        unsealed: VecDeque::new(),
        spares,
        group: Group::default(),
        tail: Tail::default(),
        sequence: recovered.sequence,
        last_crc: recovered.last_crc,
        written: recovered.sequence,
        synced: recovered.sequence,
        used_bytes,
        short_of_space: false,
        phase: Phase::Open,
        sleep: Sleep::Awake,
    })
}

/// Locks the directory for this process.
pub fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("LOCK");
    let failed = || Error::io(format!("lock {}", path.display()));
    let options = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = options.map_err(failed())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed())?;
            return Err(Error::Locked {
                path: directory.to_path_buf(),
                holder: holder.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed()(error)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed())?;
    writeln!(file, "{}", std::process::id()).map_err(failed())?;
    Ok(file)
}
