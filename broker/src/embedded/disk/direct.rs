//! Writing past the page cache: nobody reads back soon what is written ahead or appended, so the copy into the cache, its
//! pages and their write-back would be for nothing. In: the bytes of one file, front to back. Out: the same on the disk,
//! or word that the filesystem does not take them this way. Whoever reads the file reads it through the cache.
//!
//! Such writes are whole blocks, so the last one is filled up with zeros and written again with what follows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::{BLANK_BYTES, Counters};

/// What positions, lengths and memory are multiples of; no filesystem asks for more.
const BLOCK: usize = 4096;
/// Bytes gathered for one write.
const GATHERED_BYTES: usize = 1024 * 1024;

/// A file that is written past the page cache.
pub struct DirectFile {
    file: File,
    /// What is gathered for the next write, from `start` on.
    gathered: Blocks,
    start: u64,
    length: usize,
}

impl DirectFile {
    /// Opens a file that was just made and writes `bytes` zeros into it, durable when this returns; `None` when its
    /// filesystem does not know this way (tmpfs before Linux 6.6, some that live in user space).
    pub fn blank(path: &Path, bytes: u64, counters: &Counters) -> io::Result<Option<DirectFile>> {
        if !bytes.is_multiple_of(BLOCK as u64) {
            return Ok(None);
        }
        let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag of open(2) is an int");
        let opened = OpenOptions::new().write(true).custom_flags(direct).open(path);
        let written = opened.and_then(|file| {
            reserve(&file, bytes)?;
            fill(&file, bytes, counters)?;
            counters.synced();
            file.sync_data()?;
            Ok(file)
        });
        match written {
            Ok(file) => Ok(Some(DirectFile {
                file,
                gathered: Blocks::new(GATHERED_BYTES),
                start: 0,
                length: 0,
            })),
            Err(error) if is_unsupported(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes `parts`, one behind the other, from `position` on; behind them the file holds zeros. `reader` is the same
    /// file, read through the cache.
    pub fn append(
        &mut self,
        parts: &[&[u8]],
        position: u64,
        (reader, counters): (&File, &Counters),
    ) -> io::Result<()> {
        if position != self.start + self.length as u64 {
            self.begin(position, reader)?;
        }
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let room = GATHERED_BYTES - self.length;
                let (now, later) = rest.split_at(rest.len().min(room));
                self.gathered.bytes()[self.length..self.length + now.len()].copy_from_slice(now);
                self.length += now.len();
                rest = later;
                if self.length == GATHERED_BYTES {
                    self.write(counters)?;
                }
            }
        }
        self.write(counters)
    }

    /// Goes on elsewhere than where the last write ended: the first block may hold something already.
    fn begin(&mut self, position: u64, reader: &File) -> io::Result<()> {
        let before = (position % BLOCK as u64) as usize;
        self.start = position - before as u64;
        self.length = 0;
        reader.read_exact_at(&mut self.gathered.bytes()[..before], self.start)?;
        self.length = before;
        Ok(())
    }

    /// Writes what is gathered, and keeps the last block if it is not full.
    fn write(&mut self, counters: &Counters) -> io::Result<()> {
        let whole = self.length.next_multiple_of(BLOCK);
        let blocks = &mut self.gathered.bytes()[..whole];
        blocks[self.length..].fill(0);
        self.file.write_all_at(blocks, self.start)?;
        counters.written(whole);
        let full = self.length / BLOCK * BLOCK;
        blocks.copy_within(full..self.length.max(full), 0);
        self.start += full as u64;
        self.length -= full;
        Ok(())
    }
}

/// Takes the space at once, so that it lies together and a full disk shows before anything is written.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        reserved => reserved.map_err(io::Error::from),
    }
}

fn fill(file: &File, bytes: u64, counters: &Counters) -> io::Result<()> {
    let mut zeros = Blocks::new(BLANK_BYTES);
    let mut position = 0;
    while position < bytes {
        let rest = usize::try_from(bytes - position).unwrap_or(usize::MAX);
        let piece = &zeros.bytes()[..BLANK_BYTES.min(rest)];
        file.write_all_at(piece, position)?;
        counters.written(piece.len());
        position += piece.len() as u64;
    }
    Ok(())
}

fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::INVAL, Errno::OPNOTSUPP];
    unsupported
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Memory that begins at a multiple of [`BLOCK`]; zeros at first.
struct Blocks {
    memory: Vec<u8>,
    length: usize,
}

impl Blocks {
    fn new(length: usize) -> Blocks {
        Blocks {
            memory: vec![0; length + BLOCK],
            length,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let from = self.memory.as_ptr().align_offset(BLOCK);
        &mut self.memory[from..from + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_stands_there_whatever_its_size() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("file");
        let reader = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a file can be made");
        let (counters, length) = (Counters::default(), 4 * GATHERED_BYTES);
        let made = DirectFile::blank(&path, length as u64, &counters).expect("the disk works");
        let Some(mut direct) = made else {
            panic!("the filesystem of {} takes no direct writes", path.display());
        };
        let mut expected = vec![0; length];
        let mut position = 0;
        for (number, size) in [64, 1, 4031, 4096, 8192, 100, GATHERED_BYTES + 5, 7, 5000]
            .into_iter()
            .enumerate()
        {
            let bytes = vec![number as u8 + 1; size];
            expected[position..position + size].copy_from_slice(&bytes);
            let (one, other) = bytes.split_at(size / 3);
            let written = direct.append(&[one, &[], other], position as u64, (&reader, &counters));
            written.expect("the disk works");
            position += size;
            // Elsewhere, and back.
            if number % 3 == 2 {
                direct.start = 0;
                direct.length = 0;
            }
        }
        let mut found = vec![1; length];
        reader
            .read_exact_at(&mut found, 0)
            .expect("it is as long as it was made");
        assert!(found == expected);
    }
}
