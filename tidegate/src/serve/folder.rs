//! The data folder of a process whose log is elsewhere: locked against a second process, and with a name that stays.
//! In: the folder. Out: a lock to hold, and the name. With the embedded log the log's own lock does the same.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a process that is just ending may keep the folder.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the lock is tried.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// A folder that belongs to this process as long as this lives.
pub struct Folder {
    _lock: File,
    name: String,
}

impl Folder {
    /// Locks the folder, and reads its name or makes one.
    ///
    /// # Errors
    /// When another process has it, or it cannot be written.
    pub async fn lock(path: &Path) -> anyhow::Result<Self> {
        let file = path.join("process");
        let cannot = || format!("cannot use {}", file.display());
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .with_context(cannot)?;
        let began = Instant::now();
        while let Err(error) = lock.try_lock() {
            match error {
                std::fs::TryLockError::WouldBlock if began.elapsed() < PATIENCE => {
                    tokio::time::sleep(TRY_EVERY).await;
                }
                std::fs::TryLockError::WouldBlock => {
                    bail!(
                        "{} is in use by another process: stop it, or choose another data folder",
                        path.display()
                    )
                }
                std::fs::TryLockError::Error(error) => return Err(error).with_context(cannot),
            }
        }
        let mut name = String::new();
        lock.read_to_string(&mut name).with_context(cannot)?;
        if name.is_empty() {
            name = uuid::Uuid::new_v4().to_string();
            lock.write_all(name.as_bytes()).with_context(cannot)?;
        }
        Ok(Self { _lock: lock, name })
    }

    /// The same at every start on this folder, and no other folder's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_keeps_its_name_and_another_has_another() {
        let (one, two) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let first = Folder::lock(one.path()).await.expect("free");
        let name = first.name().to_owned();
        drop(first);
        assert_eq!(Folder::lock(one.path()).await.expect("free again").name(), name);
        assert_ne!(Folder::lock(two.path()).await.expect("free").name(), name);
    }
}
