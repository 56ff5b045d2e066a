//! What `doctor` looks at on this machine: the data folder and who may write it, the disk, the key file, the
//! definitions, the embedded log, a spill that was left. In: the configuration. Out: findings. Opens files for reading,
//! and makes one empty file to see whether it can.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tidegate_broker::embedded;
use tidegate_broker::kafka::spill_in;
use tidegate_registry::{KeyFile, KeyFileError};

use super::Finding;
use crate::config::{BrokerKind, Config};

/// Bytes below which no server should run on a disk.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// The share of the log's budget above which it is told.
const BUDGET_SHARE_PERCENT: u64 = 80;
/// The permission bits of everybody but the owner, for writing.
const OTHERS_WRITE: u32 = 0o022;

/// The data folder: there, a folder, ours to write and nobody else's.
pub fn folder(config: &Config) -> Vec<Finding> {
    let about = "data folder";
    let folder = &config.server.data;
    let shown = folder.display();
    let found = match fs::metadata(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![missing_folder(about, folder)];
        }
        Err(error) => {
            let remedy = "give the server's user access to it, or set server.data";
            return vec![Finding::wrong(
                about,
                format!("cannot look at {shown}: {error}"),
                remedy,
            )];
        }
    };
    if !found.is_dir() {
        return vec![Finding::wrong(
            about,
            format!("{shown} is no folder"),
            "set server.data to one",
        )];
    }
    if let Err(error) = tempfile::tempfile_in(folder) {
        let remedy = format!("run as the user whom it belongs to, or `chown` {shown}");
        return vec![Finding::wrong(
            about,
            format!("cannot write to {shown}: {error}"),
            remedy,
        )];
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        let found = format!("{shown} can be written by others (mode {mode:04o})");
        return vec![Finding::doubtful(about, found, format!("`chmod 700 {shown}`"))];
    }
    vec![Finding::fine(
        about,
        format!("{shown} is there and can be written"),
    )]
}

fn missing_folder(about: &'static str, folder: &Path) -> Finding {
    let shown = folder.display();
    let above = folder
        .ancestors()
        .skip(1)
        .find(|above| above.as_os_str().is_empty() || above.exists());
    let above = above
        .filter(|above| !above.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    match tempfile::tempfile_in(above) {
        Ok(_) => Finding::fine(about, format!("{shown} is made at the first start")),
        Err(error) => Finding::wrong(
            about,
            format!(
                "{shown} is missing and cannot be made in {}: {error}",
                above.display()
            ),
            "make it for the server's user, or set server.data",
        ),
    }
}

/// The disk below the data folder.
pub fn space(config: &Config) -> Vec<Finding> {
    let about = "disk";
    let folder = &config.server.data;
    let there = folder
        .ancestors()
        .find(|above| above.exists())
        .unwrap_or(Path::new("."));
    let system = match rustix::fs::statvfs(there) {
        Ok(system) => system,
        Err(error) => {
            return vec![Finding::doubtful(
                about,
                format!("nothing is known of the disk: {error}"),
                "",
            )];
        }
    };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if free < FREE_BYTES_MIN {
        return vec![Finding::wrong(
            about,
            format!("{} are free below {}", bytes(free), folder.display()),
            "free space, or set server.data to another disk: requests are answered 503 when it is full",
        )];
    }
    let budget = config.broker.embedded.disk_bytes_max;
    let used = used_bytes(&config.log_folder());
    let is_embedded = config.broker.kind == BrokerKind::Embedded;
    if is_embedded && free.saturating_add(used) < budget {
        let found = format!(
            "{} are free and the log has {}, but it may grow to {}",
            bytes(free),
            bytes(used),
            bytes(budget)
        );
        let remedy = "lower broker.embedded.disk_bytes_max, or free space";
        return vec![Finding::doubtful(about, found, remedy)];
    }
    vec![Finding::fine(about, format!("{} are free", bytes(free)))]
}

/// The keys that secrets are sealed with.
pub fn keys(config: &Config) -> Vec<Finding> {
    let about = "key file";
    let path = config.key_file();
    let finding = match KeyFile::load(&path) {
        Ok(keyring) => Finding::fine(
            about,
            format!(
                "{} can be read; key {} seals",
                path.display(),
                keyring.current_id()
            ),
        ),
        Err(KeyFileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            match config.broker.kind {
                BrokerKind::Embedded => {
                    Finding::fine(about, format!("{} is made at the first start", path.display()))
                }
                BrokerKind::Kafka => Finding::doubtful(
                    about,
                    format!(
                        "{} is missing: the first process makes it, for itself alone",
                        path.display()
                    ),
                    "give every process the same file (server.key_file)",
                ),
            }
        }
        Err(error) => Finding::wrong(about, error, ""),
    };
    vec![finding]
}

/// The definitions, built in and laid over.
pub fn definitions(config: &Config) -> Vec<Finding> {
    let about = "definitions";
    vec![match crate::serve::catalogue(config) {
        Ok(catalogue) => Finding::fine(about, format!("{} providers", catalogue.names().count())),
        Err(error) => Finding::wrong(about, format!("{error:#}"), "`tidegate providers check FILE`"),
    }]
}

/// The embedded log.
pub fn log(config: &Config) -> Vec<Finding> {
    let about = "log";
    let folder = config.log_folder();
    if !folder.is_dir() {
        return vec![Finding::fine(about, "is made at the first start")];
    }
    let inspection = match embedded::inspect(&folder) {
        Ok(inspection) => inspection,
        Err(error) => return vec![Finding::wrong(about, error, "`tidegate log inspect`")],
    };
    if let Some(damage) = &inspection.damage {
        return vec![Finding::wrong(
            about,
            format!("it is damaged: {damage}"),
            "`tidegate log inspect`, then `tidegate log repair`",
        )];
    }
    let (used, budget) = (used_bytes(&folder), config.broker.embedded.disk_bytes_max);
    let found = format!(
        "{} segments, {} of {}",
        inspection.segments.len(),
        bytes(used),
        bytes(budget)
    );
    if used.saturating_mul(100) > budget.saturating_mul(BUDGET_SHARE_PERCENT) {
        let remedy = "raise broker.embedded.disk_bytes_max: when it is used up the audit loses rows, then requests are \
                      answered 503";
        return vec![Finding::doubtful(about, found, remedy)];
    }
    vec![Finding::fine(about, found)]
}

/// What ingest wrote to its own disk while Kafka was away and has not handed on: it outlives its process.
pub fn spill(config: &Config) -> Vec<Finding> {
    if config.broker.kind == BrokerKind::Embedded {
        return Vec::new();
    }
    let (about, folder) = ("spill", config.spill_folder());
    let shown = folder.display();
    vec![match spill_in(&folder) {
        Ok(None) => return Vec::new(),
        Ok(Some(held)) if held.requests == 0 => Finding::fine(about, "empty"),
        Ok(Some(held)) => Finding::doubtful(
            about,
            format!(
                "{shown} holds {} accepted requests, {}",
                held.requests,
                bytes(held.bytes)
            ),
            "start a process with the role ingest on this data folder: it hands them on to Kafka",
        ),
        Err(error) => Finding::wrong(
            about,
            format!("{shown}: {error}"),
            "keep the folder: it holds accepted requests",
        ),
    }]
}

/// The bytes of all files below a folder; what cannot be read counts nothing.
fn used_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => used_bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        });
    sizes.sum()
}

/// A size as a person reads it.
fn bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut shown = size / 1024;
    while shown >= 10 * 1024 && unit + 1 < UNITS.len() {
        shown /= 1024;
        unit += 1;
    }
    format!("{shown} {}", UNITS.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Degree;

    fn config(data: &Path) -> Config {
        let mut config = Config::default();
        config.server.data = data.to_owned();
        config.broker.embedded.disk_bytes_max = 1 << 20;
        config
    }

    fn degree(findings: &[Finding]) -> Degree {
        findings.iter().map(|it| it.degree).max().unwrap_or(Degree::Fine)
    }

    #[test]
    fn a_folder_is_judged_by_who_may_write_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let allow = |mode| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        };
        for (mode, expected) in [
            (0o700, Degree::Fine),
            (0o755, Degree::Fine),
            (0o777, Degree::Doubtful),
        ] {
            allow(mode);
            assert_eq!(degree(&self::folder(&config)), expected, "{mode:o}");
        }
    }

    #[test]
    fn what_is_missing_and_can_be_made_is_fine_and_a_file_is_no_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("a/b");
        assert_eq!(degree(&self::folder(&config(&below))), Degree::Fine);
        let file = folder.path().join("file");
        fs::write(&file, "").expect("it is ours");
        let findings = self::folder(&config(&file));
        assert_eq!(degree(&findings), Degree::Wrong);
        assert!(findings[0].remedy.contains("server.data"), "{}", findings[0]);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_wrong_and_says_how_to_mend_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        assert_eq!(degree(&keys(&config)), Degree::Fine, "made at the first start");
        KeyFile::load_or_create(&config.key_file()).expect("the folder is ours");
        assert_eq!(degree(&keys(&config)), Degree::Fine);
        fs::set_permissions(config.key_file(), fs::Permissions::from_mode(0o644)).expect("it is ours");
        let findings = keys(&config);
        assert_eq!(degree(&findings), Degree::Wrong);
        assert!(findings[0].to_string().contains("chmod 600"), "{}", findings[0]);
    }

    #[test]
    fn a_spill_is_looked_for_on_kafka_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(folder.path());
        let spilled = config.spill_folder();
        config.broker.kind = BrokerKind::Kafka;
        assert_eq!(spill(&config), [], "there is none");
        fs::create_dir_all(&spilled).expect("it is ours");
        fs::write(spilled.join("000"), "no segment").expect("it is ours");
        assert_eq!(spill(&config).len(), 1);
        config.broker.kind = BrokerKind::Embedded;
        assert_eq!(spill(&config), []);
    }

    #[test]
    fn sizes_are_shown_with_two_to_five_digits() {
        for (size, shown) in [
            (0, "0 KiB"),
            (5000, "4 KiB"),
            (20 << 20, "20 MiB"),
            (100 << 30, "100 GiB"),
        ] {
            assert_eq!(bytes(size), shown);
        }
    }
}
