//! The file layer: the few things the log asks of a disk, so that every one of them can fail in a test.
//!
//! Two implementations: [`OsDisk`], a directory of the operating system, and [`SimDisk`], a disk in memory that can
//! lose power, fill up and fail. Names are relative to the log's directory. Nothing here knows what a file holds.

mod direct;
mod os;
mod sim;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use os::OsDisk;
pub use sim::{PowerLoss, SimDisk};

/// A directory of files.
pub trait Disk: Send + Sync + 'static {
    /// Makes an empty file; one that is there already is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a file of `bytes` zeros, durable when it returns. After an error the file may be there, unfinished.
    fn create_blank(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.create(name)?;
        fill(&*file, bytes)?;
        Ok(file)
    }
    /// Opens a file to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; readers that have it open keep it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names of all files, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes creations, renamings and removals durable.
    fn sync_names(&self) -> io::Result<()>;
    /// What was read and written so far.
    fn counters(&self) -> &Counters;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Fills `bytes` from `position` on; returns how many bytes there were before the file's end.
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `parts`, one behind the other, from `position` on.
    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()>;
    /// Writes like [`DiskFile::write_at`] into a file of [`Disk::create_blank`] that is filled front to back: behind the
    /// bytes it holds zeros, here and on the disk. For what is made durable at once and not read soon.
    fn append_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        self.write_at(parts, position)
    }
    /// Nothing will be appended any more: lets go of what that took.
    fn end_appends(&self) {}
    /// Makes everything written durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Bytes in the file.
    fn length(&self) -> io::Result<u64>;
}

/// What a disk was asked to do since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes read from files.
    pub read_bytes: AtomicU64,
    /// Calls that read.
    pub reads: AtomicU64,
    /// Bytes written to files.
    pub written_bytes: AtomicU64,
    /// Calls that made a file durable.
    pub syncs: AtomicU64,
}

impl Counters {
    fn read(&self, bytes: usize) {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn written(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn synced(&self) {
        self.syncs.fetch_add(1, Relaxed);
    }
}

/// Bytes of zeros written between two syncs, so that the flusher's own sync never waits for much.
const BLANK_BYTES: usize = 4 * 1024 * 1024;

/// Writes `bytes` zeros, a piece at a time, each made durable.
fn fill(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; BLANK_BYTES.min(usize::try_from(bytes).unwrap_or(BLANK_BYTES))];
    let mut position = 0;
    while position < bytes {
        let piece = zeros
            .len()
            .min(usize::try_from(bytes - position).unwrap_or(usize::MAX));
        file.write_at(&[&zeros[..piece]], position)?;
        file.sync()?;
        position += piece as u64;
    }
    Ok(())
}

/// Reads exactly `length` bytes, or fewer at the end of the file.
pub fn read_up_to(file: &dyn DiskFile, position: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, position)?;
    bytes.truncate(read);
    Ok(bytes)
}
