//! A directory of the operating system: `pread`, `pwritev`, `fdatasync`.
//! In and out: bytes. Keeps no cache: the page cache is the cache, and what is appended goes past it (`direct`).

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Counters, Disk, DiskFile, direct::DirectFile, fill};

/// Slices that one `pwritev` takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// Why a file may be opened to read only.
const READ_ONLY: [io::ErrorKind; 2] = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];

/// A directory on a real disk.
#[derive(Debug)]
pub struct OsDisk {
    directory: PathBuf,
    counters: Arc<Counters>,
}

impl OsDisk {
    /// Takes a directory that exists.
    #[must_use]
    pub fn new(directory: &Path) -> OsDisk {
        OsDisk {
            directory: directory.to_path_buf(),
            counters: Arc::default(),
        }
    }

    fn make(&self, path: &Path) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(self.file(options.open(path)?))
    }

    fn file(&self, file: File) -> OsFile {
        OsFile {
            file,
            direct: Mutex::new(None),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.make(&self.directory.join(name))?))
    }

    fn create_blank(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.directory.join(name);
        let mut file = self.make(&path)?;
        match DirectFile::blank(&path, bytes, &self.counters)? {
            Some(direct) => *file.direct.get_mut() = Some(direct),
            None => fill(&file, bytes)?,
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.directory.join(name);
        // Reading is enough for `inspect`, which may run as another user than the log's owner.
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if READ_ONLY.contains(&error.kind()) => File::open(&path)?,
            opened => opened?,
        };
        Ok(Arc::new(self.file(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.directory.join(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            // A name that is not text is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

struct OsFile {
    file: File,
    /// The same file past the page cache, while it is appended to and if it was written ahead that way.
    direct: Mutex<Option<DirectFile>>,
    counters: Arc<Counters>,
}

impl DiskFile for OsFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.counters.read(filled);
        Ok(filled)
    }

    fn write_at(&self, parts: &[&[u8]], mut position: u64) -> io::Result<()> {
        for parts in parts.chunks(SLICES_MAX) {
            let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut left = &mut slices[..];
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                match rustix::io::pwritev(&self.file, left, position) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        self.counters.written(written);
                        position += written as u64;
                        IoSlice::advance_slices(&mut left, written);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn append_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        match &mut *self.direct.lock() {
            Some(direct) => direct.append(parts, position, (&self.file, &self.counters)),
            None => self.write_at(parts, position),
        }
    }

    fn end_appends(&self) {
        *self.direct.lock() = None;
    }

    fn sync(&self) -> io::Result<()> {
        self.counters.synced();
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
