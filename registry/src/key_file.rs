//! The file that holds the encryption keys: one base64 line of 32 bytes for each, the current one first.
//! In: a path. Out: a keyring. Refuses a file that others can read. Empty lines and lines that begin with `#` are
//! passed over.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidegate_schemas::Secret;

use crate::file::put_beside;
use crate::keyring::{KEY_BYTES, Keyring, SealError};

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others than its owner may read or write it.
    #[error("key file {path} may be read by others (mode {mode:04o}): run `chmod 600 {path}`", path = .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else than keys.
    #[error(
        "line {line} of the encryption keys is no base64 of {KEY_BYTES} bytes: make one with `openssl rand -base64 32`"
    )]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// Its keys make no keyring.
    #[error(transparent)]
    Keys(#[from] SealError),
    /// The operating system refused.
    #[error("cannot {action} key file {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Where encryption keys come from.
pub struct KeyFile;

impl KeyFile {
    /// The keys in the file at `path`, which is made with a fresh key and mode 0600 if it is missing. Of two processes
    /// that make it at once, both get the same key.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load_or_create(path: &Path) -> Result<Keyring, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let text = format!("{}\n", STANDARD.encode(fresh_key()));
        match put_beside(path, text.as_bytes(), |from, to| std::fs::hard_link(from, to)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            put => put.map_err(io_error("make", path))?,
        }
        Self::load(path)
    }

    /// The keys in the file at `path`.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load(path: &Path) -> Result<Keyring, KeyFileError> {
        Self::parse(&read(path)?)
    }

    /// Puts a fresh key above those in the file. What is sealed already opens still; the registry's writer seals it
    /// anew (`Writer::reseal`), after which the older keys can be taken out.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn rotate(path: &Path) -> Result<Keyring, KeyFileError> {
        let keys = read(path)?;
        Self::parse(&keys)?;
        let text = format!("{}\n{keys}", STANDARD.encode(fresh_key()));
        let put = put_beside(path, text.as_bytes(), |from, to| std::fs::rename(from, to));
        put.map_err(io_error("rewrite", path))?;
        Self::load(path)
    }

    /// The keys in a text of the file's format: for a key that comes from a variable. Commas part keys too.
    ///
    /// # Errors
    /// [`KeyFileError::Malformed`] or [`KeyFileError::Keys`].
    pub fn parse(text: &str) -> Result<Keyring, KeyFileError> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with('#') {
                continue;
            }
            for key in line.split(',').map(str::trim).filter(|key| !key.is_empty()) {
                let bytes = STANDARD.decode(key).ok().filter(|bytes| bytes.len() == KEY_BYTES);
                keys.push(Secret::new(
                    bytes.ok_or(KeyFileError::Malformed { line: at + 1 })?,
                ));
            }
        }
        Ok(Keyring::new(&keys)?)
    }
}

fn read(path: &Path) -> Result<String, KeyFileError> {
    let failed = |action| io_error(action, path);
    let file = File::open(path).map_err(failed("open"))?;
    let mode = file.metadata().map_err(failed("look at"))?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        let path = path.to_owned();
        return Err(KeyFileError::Exposed { path, mode });
    }
    io::read_to_string(file).map_err(failed("read"))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |source| KeyFileError::Io { action, path, source }
}

fn fresh_key() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).expect("the operating system gives randomness");
    key
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("is there").permissions().mode() & 0o7777
    }

    #[test]
    fn a_missing_file_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        let made = KeyFile::load_or_create(&path).expect("makes it");
        assert_eq!(mode(&path), 0o600);
        let loaded = KeyFile::load_or_create(&path).expect("loads it");
        assert_eq!(made.current_id(), loaded.current_id());
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("lists").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        KeyFile::load_or_create(&path).expect("makes it");
        for exposed in [0o640, 0o604, 0o620, 0o610] {
            std::fs::set_permissions(&path, Permissions::from_mode(exposed)).expect("is ours");
            let error = KeyFile::load_or_create(&path).err().expect("refused");
            assert!(
                matches!(error, KeyFileError::Exposed { mode, .. } if mode == exposed),
                "{error}"
            );
        }
    }

    #[test]
    fn rotation_puts_a_key_on_top() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        let first = KeyFile::load_or_create(&path).expect("makes it");
        let rotated = KeyFile::rotate(&path).expect("rotates");
        assert_ne!(first.current_id(), rotated.current_id());
        assert_eq!(mode(&path), 0o600);
        let text = std::fs::read_to_string(&path).expect("reads");
        assert_eq!(
            KeyFile::parse(text.lines().nth(1).expect("two keys"))
                .expect("a key")
                .current_id(),
            first.current_id()
        );
    }

    #[test]
    fn what_is_no_key_is_named_by_its_line() {
        let key = STANDARD.encode([1; KEY_BYTES]);
        assert!(KeyFile::parse(&format!("# ours\n\n{key}\n{key}, {key}\n")).is_ok());
        let line = |text: &str| match KeyFile::parse(text).err().expect("refused") {
            KeyFileError::Malformed { line } => line,
            error => panic!("{error}"),
        };
        assert_eq!(line(&format!("{key}\nshort")), 2);
        assert_eq!(line(&STANDARD.encode([1; 31])), 1);
        assert!(matches!(
            KeyFile::parse("# none\n"),
            Err(KeyFileError::Keys(SealError::NoKey))
        ));
    }
}
