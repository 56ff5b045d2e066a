//! The rows of an insert, kept where the engine can read them as a file.
//!
//! In: pieces of a body. Out: an open file by its descriptor. It is memory (a memfd) while all bodies together stay within the budget, and an unnamed
//! file beside the tables from then on, so that a body of any size costs little memory. It does not parse anything.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::MemfdFlags;

use crate::exception::{Exception, codes};

/// How many bytes of bodies may be in memory, and are.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Budget {
            max,
            used: AtomicU64::new(0),
        })
    }

    fn take(&self, bytes: u64) -> bool {
        let within = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.max);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A body, written once and then read by the engine.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    budget: Arc<Budget>,
    /// What of the budget this body holds; 0 once it lies on disk.
    in_memory: u64,
    is_on_disk: bool,
}

impl Spool {
    pub(crate) fn new(budget: &Arc<Budget>) -> Result<Spool, Exception> {
        let memory = rustix::fs::memfd_create("tidegate-body", MemfdFlags::CLOEXEC)
            .map_err(|error| failed(&error.into()))?;
        Ok(Spool {
            file: File::from(memory),
            budget: budget.clone(),
            in_memory: 0,
            is_on_disk: false,
        })
    }

    /// Appends `bytes`; moves to a file in `directory` when the budget is used up.
    pub(crate) fn write(&mut self, bytes: &[u8], directory: &Path) -> Result<(), Exception> {
        let length = bytes.len() as u64;
        if !self.is_on_disk && self.budget.take(length) {
            self.in_memory += length;
        } else if !self.is_on_disk {
            self.move_to_disk(directory).map_err(|error| failed(&error))?;
        }
        self.file.write_all(bytes).map_err(|error| failed(&error))
    }

    fn move_to_disk(&mut self, directory: &Path) -> io::Result<()> {
        let path = directory.join(format!("body-{}", uuid::Uuid::new_v4()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        remove_file(&path)?;
        self.file.rewind()?;
        io::copy(&mut self.file, &mut file)?;
        self.file = file;
        self.is_on_disk = true;
        self.budget.give_back(std::mem::take(&mut self.in_memory));
        Ok(())
    }

    /// The descriptor to read it by, as `/proc/self/fd/N`; valid while this lives.
    pub(crate) fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.budget.give_back(self.in_memory);
    }
}

fn failed(error: &io::Error) -> Exception {
    Exception::new(codes::CANNOT_WRITE, format!("Cannot keep the body: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_body_beyond_the_budget_goes_to_disk_whole() {
        let directory = tempfile::tempdir().unwrap();
        let budget = Budget::new(10);
        let mut spool = Spool::new(&budget).unwrap();
        for (piece, on_disk) in [("12345", false), ("67890", false), ("abc", true), ("def", true)] {
            spool.write(piece.as_bytes(), directory.path()).unwrap();
            assert_eq!(spool.is_on_disk, on_disk);
        }
        let mut whole = String::new();
        File::open(format!("/proc/self/fd/{}", spool.descriptor()))
            .unwrap()
            .read_to_string(&mut whole)
            .unwrap();
        assert_eq!(whole, "1234567890abcdef");
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let mut second = Spool::new(&budget).unwrap();
        second.write(b"1234567890", directory.path()).unwrap();
        drop(second);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
