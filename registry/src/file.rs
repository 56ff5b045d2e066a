//! Writing a file whole and durably, for its owner alone.
//! In: a path and bytes. Out: the file with all of them, or as it was before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `bytes` to a file beside `path` with mode 0600, durably, and brings it there by `place` (a rename, or a link
/// where nothing must be replaced).
pub(crate) fn put_beside(
    path: &Path,
    bytes: &[u8],
    place: impl Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", hex::encode(random)));
    let beside = path.with_file_name(name);
    let placed = write_new(&beside, bytes).and_then(|()| place(&beside, path));
    // After a rename there is nothing left to remove.
    let _ = std::fs::remove_file(&beside);
    placed?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
