//! A disk in memory that can lose power, fill up and fail: the file layer of the log's own tests.
//!
//! Whatever was written since a file's last `sync` is kept write by write and page by page; [`SimDisk::power_loss`]
//! returns the disk as it might stand after the lights went out: for every page any one of the versions since the
//! last sync, and of the directory's changes any beginning of those since the last `sync_names`. It never loses what
//! was synced, unless it was told to ignore syncs, with which a test shows that it would notice.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{Counters, Disk, DiskFile};

/// Bytes that reach a disk together or not at all.
const PAGE: usize = 512;

/// A disk in memory.
#[derive(Clone, Default)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
    counters: Counters,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    name_changes: Vec<BTreeMap<String, u64>>,
    files: BTreeMap<u64, Contents>,
    next_file: u64,
    faults: Faults,
}

#[derive(Default, Clone)]
struct Faults {
    ignore_syncs: bool,
    room_bytes: Option<u64>,
    writes_fail: bool,
    syncs_fail: bool,
    syncs_held: bool,
}

/// A file: what is read now, and per page what it may be after a power loss.
#[derive(Default, Clone)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
}

/// Chooses what survives: called with a number of possibilities, returns one of them.
pub type PowerLoss<'a> = &'a mut dyn FnMut(usize) -> usize;

impl SimDisk {
    /// An empty disk without limits.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// From now on syncs do nothing, as if the program had forgotten them.
    pub fn ignore_syncs(&self) {
        self.shared.state.lock().faults.ignore_syncs = true;
    }

    /// From now on all files together may hold `bytes` bytes; `None` lifts the limit.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.shared.state.lock().faults.room_bytes = bytes;
    }

    /// From now on every write fails (`EIO`), or none does.
    pub fn fail_writes(&self, fail: bool) {
        self.shared.state.lock().faults.writes_fail = fail;
    }

    /// From now on every sync fails (`EIO`), or none does.
    pub fn fail_syncs(&self, fail: bool) {
        self.shared.state.lock().faults.syncs_fail = fail;
    }

    /// From now on syncs wait, as if the disk took very long, until they are let go.
    pub fn hold_syncs(&self, hold: bool) {
        self.shared.state.lock().faults.syncs_held = hold;
        self.shared.released.notify_all();
    }

    /// The disk as a killed process leaves it: everything written is there.
    #[must_use]
    pub fn killed(&self) -> SimDisk {
        let state = self.shared.state.lock();
        let mut files = state.files.clone();
        for contents in files.values_mut() {
            contents.sync();
        }
        SimDisk::from_files(state.names.clone(), files)
    }

    /// The disk as it may stand after a power loss; `choose` decides page by page.
    #[must_use]
    pub fn power_loss(&self, choose: PowerLoss<'_>) -> SimDisk {
        let state = self.shared.state.lock();
        let names = match choose(state.name_changes.len() + 1) {
            0 => state.durable_names.clone(),
            kept => state.name_changes[kept - 1].clone(),
        };
        let mut files = state.files.clone();
        for contents in files.values_mut() {
            contents.lose(choose);
        }
        SimDisk::from_files(names, files)
    }

    /// Changes one byte of a file with `change`; for tests of damage.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn damage(&self, name: &str, position: usize, change: impl FnOnce(u8) -> u8) {
        let mut state = self.shared.state.lock();
        let file = state.names[name];
        let contents = state.files.get_mut(&file).expect("the directory names it");
        contents.now[position] = change(contents.now[position]);
        contents.sync();
    }

    /// Cuts a file; for tests of damage.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn truncate(&self, name: &str, length: usize) {
        let mut state = self.shared.state.lock();
        let file = state.names[name];
        let contents = state.files.get_mut(&file).expect("the directory names it");
        contents.now.truncate(length);
        contents.sync();
    }

    /// What a file holds now.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.shared.state.lock();
        state.files[&state.names[name]].now.clone()
    }

    fn from_files(names: BTreeMap<String, u64>, files: BTreeMap<u64, Contents>) -> SimDisk {
        let next_file = files.keys().last().map_or(0, |last| last + 1);
        let durable_names = names.clone();
        let state = State {
            names,
            durable_names,
            files,
            next_file,
            ..State::default()
        };
        SimDisk {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                ..Shared::default()
            }),
        }
    }

    fn change_names<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.state.lock();
        let changed = change(&mut state)?;
        let names = state.names.clone();
        state.name_changes.push(names);
        Ok(changed)
    }

    fn handle(&self, file: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            file,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Contents {
    fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.unsynced.clear();
    }

    /// Remembers the page around each changed byte as it is now.
    fn touched(&mut self, range: std::ops::Range<usize>) {
        for page in range.start / PAGE..range.end.div_ceil(PAGE) {
            let end = ((page + 1) * PAGE).min(self.now.len());
            let version = self.now[page * PAGE..end].to_vec();
            self.unsynced.entry(page).or_default().push(version);
        }
    }

    fn lose(&mut self, choose: PowerLoss<'_>) {
        let mut survived = self.durable.clone();
        for (page, versions) in &self.unsynced {
            let Some(version) = choose(versions.len() + 1).checked_sub(1) else {
                continue;
            };
            let start = page * PAGE;
            let end = start + versions[version].len();
            if survived.len() < end {
                survived.resize(end, 0);
            }
            survived[start..end].copy_from_slice(&versions[version]);
        }
        self.now = survived;
        self.sync();
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.change_names(|state| {
            let file = state.next_file;
            state.next_file += 1;
            state.files.insert(file, Contents::default());
            state.names.insert(name.to_owned(), file);
            Ok(file)
        })?;
        Ok(self.handle(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = *self
            .shared
            .state
            .lock()
            .names
            .get(name)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change_names(|state| {
            let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change_names(|state| {
            state
                .names
                .remove(name)
                .map(drop)
                .ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.state.lock().names.keys().cloned().collect())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        if !state.faults.ignore_syncs {
            state.durable_names = state.names.clone();
            state.name_changes.clear();
        }
        Ok(())
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

struct SimFile {
    file: u64,
    shared: Arc<Shared>,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        let mut state = self.shared.state.lock();
        act(state
            .files
            .get_mut(&self.file)
            .expect("files are never forgotten"))
    }

    fn check_room(&self, end: usize) -> io::Result<()> {
        let state = self.shared.state.lock();
        if state.faults.writes_fail {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        let Some(room) = state.faults.room_bytes else {
            return Ok(());
        };
        let held = |file: &u64| state.files.get(file).map_or(0, |contents| contents.now.len());
        let grows = end.saturating_sub(held(&self.file)) as u64;
        let used: u64 = state.names.values().map(|file| held(file) as u64).sum();
        if grows > 0 && used + grows > room {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::NOSPC.raw_os_error(),
            ));
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let read = self.with(|contents| {
            let there = contents.now.get(start..).unwrap_or_default();
            let read = there.len().min(bytes.len());
            bytes[..read].copy_from_slice(&there[..read]);
            read
        });
        self.shared.counters.read(read);
        Ok(read)
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let bytes = parts.concat();
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let end = start + bytes.len();
        self.check_room(end)?;
        self.shared.counters.written(bytes.len());
        self.with(|contents| {
            if contents.now.len() < end {
                contents.now.resize(end, 0);
            }
            contents.now[start..end].copy_from_slice(&bytes);
            contents.touched(start..end);
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.counters.synced();
        let faults = {
            let mut state = self.shared.state.lock();
            self.shared
                .released
                .wait_while(&mut state, |state| state.faults.syncs_held);
            state.faults.clone()
        };
        if faults.syncs_fail {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        if !faults.ignore_syncs {
            self.with(Contents::sync);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.check_room(length)?;
        self.with(|contents| contents.now.resize(length, 0));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.with(|contents| contents.now.len() as u64))
    }
}
