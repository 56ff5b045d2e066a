//! The log's disk fills up with events that the customer does not take: a small filesystem is mounted for it, most of
//! which ballast files take. Ingest answers 503 `no_space` with `Retry-After`, what was answered with a 2xx stays, and
//! it goes on by itself when ballast is removed, as often as there is some. Only the audit may lose rows then, and says
//! so. Needs root, to mount; fails without.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::load::Load;
use crate::reckoning::reckon_deliveries;
use crate::{Running, alone, begin, count, until};

const MIB: usize = 1024 * 1024;
/// What the log has at first.
const ROOM: usize = 16 * MIB;
/// What each ballast file takes.
const BALLAST: usize = 16 * MIB;

/// A filesystem of its own, taken down with the test.
struct SmallFilesystem(PathBuf);

impl SmallFilesystem {
    fn mount(at: &Path, bytes: usize) -> SmallFilesystem {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tidegate-chaos"])
            .arg(at);
        let mounted = mount.output().expect("mount can be run: apt-get install mount");
        assert!(
            mounted.status.success(),
            "this test mounts a small tmpfs and needs root: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        SmallFilesystem(at.to_owned())
    }
}

impl Drop for SmallFilesystem {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            println!("cannot unmount {}", self.0.display());
        }
    }
}

#[test]
fn a_full_disk_is_answered_503_loses_nothing_and_is_survived() {
    alone(async {
        let rounds = usize::try_from(count("TIDEGATE_CHAOS_ROUNDS", 1)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        // The server is declared after it, so it is killed before the filesystem goes.
        let bytes = ROOM + rounds * BALLAST;
        let filesystem = SmallFilesystem::mount(&folder.path().join("data/log"), bytes);
        let ballast = |round: usize| filesystem.0.join(format!("ballast-{round}"));
        for round in 1..=rounds {
            std::fs::write(ballast(round), vec![1; BALLAST]).unwrap();
        }
        let settings = [
            ("BROKER__EMBEDDED__SEGMENT_BYTES", "2097152"),
            ("BROKER__EMBEDDED__BODY_MESSAGE_BYTES_MAX", "1572864"),
            ("BROKER__EMBEDDED__ROWS_MESSAGE_BYTES_MAX", "1048576"),
            ("PROCESSOR__OUTCOMES_MESSAGE_BYTES_MAX", "524288"),
            ("PROCESSOR__BATCH_CHANGES_BYTES_MAX", "524288"),
            ("PROCESSOR__ROW_PAYLOAD_BYTES_MAX", "65536"),
            ("REGISTRY__WRITE_BYTES_MAX", "524288"),
            ("INGEST__BODY_BYTES_MAX", "524288"),
            // Longer than the test: what is held is late, not lost.
            ("FORWARD__TIMEOUT_MS", "600000"),
        ];
        let Running {
            server,
            receiver,
            load,
            ..
        } = begin(folder.path(), &settings, crate::MANIFEST).await;
        until("events are delivered", || receiver.count("taking") > 0).await;
        receiver.hold("taking");
        load.run_ahead();
        for round in 1..=rounds {
            fills_up(&load).await;
            let accepted = load.accepted();
            println!("{round} of {rounds} full disks, {accepted} requests accepted");
            std::fs::remove_file(ballast(round)).unwrap();
            until("requests are accepted again", || load.accepted() > accepted + 50).await;
        }
        receiver.let_go("taking");
        let account = reckon_deliveries(&server, load, &receiver).await;
        println!("counted: {account}");
        assert_eq!(account.repeats, 0, "the server itself never stopped");
    });
}

/// Waits until many requests in a row were refused, and looks at what they were told.
async fn fills_up(load: &Load) {
    let before = load.refused().len();
    until("the disk is full", || load.refused().len() > before + 200).await;
    for refused in load.refused() {
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.retry_after, "{refused:?}");
        assert!(refused.body.contains("no_space"), "{refused:?}");
    }
}
