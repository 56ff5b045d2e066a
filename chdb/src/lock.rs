//! The lock on the directory of tables: one engine at a time.
//!
//! In: a directory and how long to wait. Out: [`Lock`], held until it is dropped or the process ends, however it ends; or the holder's process id.
//! The kernel keeps the lock, so that a killed process leaves none behind; the file's text only names the holder.

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;

const FILE: &str = "tidegate.lock";
const RETRY: Duration = Duration::from_millis(50);

/// Holds a directory.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes `directory`, created when missing; waits up to `wait` for another holder. Blocks the thread meanwhile.
    pub(crate) fn take(directory: &Path, wait: Duration) -> Result<Lock, Error> {
        let failed = |path: PathBuf, action| move |source| Error::File { path, action, source };
        create_dir_all(directory).map_err(failed(directory.to_owned(), "create it"))?;
        let path = directory.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed(path.clone(), "open it"))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < wait => std::thread::sleep(RETRY),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::DirectoryInUse {
                        directory: directory.to_owned(),
                        holder: holder(&mut file),
                    });
                }
                Err(TryLockError::Error(source)) => return Err(failed(path, "lock it")(source)),
            }
        }
        name_holder(&mut file).map_err(failed(path, "write the process id to it"))?;
        Ok(Lock { _file: file })
    }
}

fn name_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.rewind().and_then(|()| file.read_to_string(&mut text)) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) | Err(_) => "(not named in its lock file)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_the_first_ones_process() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path(), Duration::ZERO).unwrap();
        let refused = Lock::take(directory.path(), Duration::from_millis(120)).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        Lock::take(directory.path(), Duration::ZERO).unwrap();
    }
}
