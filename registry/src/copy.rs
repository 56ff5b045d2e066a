//! A process's last copy of the registry on its own disk, to start from while the broker is away.
//! In: tables and how far they are. Out: a file, and both again. Never the truth: the journal is.
//!
//! The file: one line of JSON with its version and place, then the changes that make the tables (as in the journal,
//! secrets sealed), then the SHA-256 of all that.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_broker::journal::{Changes, Tables as Journalled};

use crate::file::put_beside;
use crate::registry::Applied;
use crate::tables::Tables;

const VERSION: u32 = 1;
const DIGEST_BYTES: usize = 32;

/// A copy that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It is not as it was written, or of a newer version, or its secrets do not open.
    #[error("the registry's copy {path} cannot be used ({problem}): delete it, the journal is read instead", path = .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The operating system refused.
    #[error("cannot {action} the registry's copy {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Head {
    v: u32,
    next: u64,
    epoch: u64,
}

/// The file's bytes.
pub(crate) fn encode(tables: &Tables, applied: &Applied) -> Vec<u8> {
    let head = Head {
        v: VERSION,
        next: applied.next,
        epoch: applied.epoch,
    };
    let mut changes = Changes::new();
    tables.slice(None, usize::MAX, &mut changes);
    let mut bytes = serde_json::to_vec(&head).expect("a head has only numbers");
    bytes.push(b'\n');
    bytes.extend_from_slice(changes.as_bytes());
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// Puts the file in place of the former copy.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CopyError> {
    put_beside(path, bytes, |from, to| std::fs::rename(from, to)).map_err(|source| CopyError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// Fills `tables` from the file; `None` when there is none.
pub(crate) fn read(path: &Path, tables: &mut Tables) -> Result<Option<Applied>, CopyError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(CopyError::Io {
                action: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    decode(&bytes, tables)
        .map(Some)
        .map_err(|problem| CopyError::Unusable {
            path: path.to_owned(),
            problem,
        })
}

fn decode(bytes: &[u8], tables: &mut Tables) -> Result<Applied, String> {
    let whole = bytes.split_last_chunk::<DIGEST_BYTES>();
    let Some((content, _)) = whole.filter(|(content, digest)| Sha256::digest(content)[..] == digest[..])
    else {
        return Err("it is damaged".into());
    };
    let end = content
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(content.len());
    let (head, changes) = content.split_at(end);
    let head: Head = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    if head.v > VERSION {
        return Err(format!(
            "it has version {}, this build reads up to {VERSION}",
            head.v
        ));
    }
    for change in Changes::decode(changes.get(1..).unwrap_or_default()) {
        let applied = change.and_then(|change| Journalled::apply(tables, change));
        applied.map_err(|error| error.to_string())?;
    }
    Ok(Applied {
        next: head.next,
        epoch: head.epoch,
        on_copy: true,
        ..Applied::default()
    })
}
