//! The embedded ClickHouse engine for tests, as a process of its own that a test may kill.
//! In: a folder for its tables. Out: its address and password, until the [`Engine`] is dropped or the test's process
//! ends, however that ends. Builds the engine's program when that is missing or older than its source.
//!
//! The library is `$TIDEGATE_LIBCHDB`, else `build/chdb/libchdb.so`; without it a test fails.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::SystemTime;

/// What the engine's process is told to ask for.
const PASSWORD: &str = "only for tests";

/// Runs the engine and ends it when standard input closes, which it does when this process is gone.
const GUARD: &str = r#""$@" & echo "$!"; cat > /dev/null; kill -9 "$!""#;

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    folder: PathBuf,
    address: String,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    guard: Child,
    input: Option<ChildStdin>,
    pid: String,
}

impl Engine {
    /// Starts an engine with its tables below `folder`, and waits until it answers.
    ///
    /// # Panics
    /// When the library is missing or the engine does not start: the test cannot pass then.
    #[must_use]
    pub fn start(folder: &Path) -> Engine {
        let (running, address) = run(folder, "127.0.0.1:0");
        Engine {
            folder: folder.to_path_buf(),
            address,
            running: Some(running),
        }
    }

    /// Its HTTP address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its user.
    #[must_use]
    pub fn user(&self) -> &'static str {
        "default"
    }

    /// The user's password.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The process's id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<&str> {
        self.running.as_ref().map(|running| running.pid.as_str())
    }

    /// Ends it at once, as `kill -9` does. Does nothing when it does not run.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again on the same folder and address.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let (running, address) = run(&self.folder, &self.address);
        assert_eq!(address, self.address, "the engine listens elsewhere");
        self.running = Some(running);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.input.take());
        // The guard kills the engine and ends; that it was already gone does not matter.
        let _ = self.guard.wait();
    }
}

fn run(folder: &Path, listen: &str) -> (Running, String) {
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "sh"])
        .arg(program())
        .arg("--data")
        .arg(folder)
        .args(["--listen", listen, "--library"])
        .arg(library())
        .env("TIDEGATE_CLICKHOUSE_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let input = guard.stdin.take();
    let output = guard.stdout.take().expect("standard output was asked for");
    let mut lines = BufReader::new(output).lines();
    let pid = line(&mut lines, "its process id");
    let running = Running { guard, input, pid };
    let address = line(&mut lines, "its address: see its error above");
    (running, address)
}

fn line(lines: &mut Lines<BufReader<ChildStdout>>, what: &str) -> String {
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("the engine ended before it printed {what}"));
    line.expect("standard output can be read")
}

/// The engine's library.
///
/// # Panics
/// When it is missing.
#[must_use]
pub fn library() -> PathBuf {
    let library = match std::env::var_os("TIDEGATE_LIBCHDB") {
        Some(path) => PathBuf::from(path),
        None => workspace().join("build/chdb/libchdb.so"),
    };
    assert!(
        library.is_file(),
        "{} is missing: run `make deps`",
        library.display()
    );
    library
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the testkit lies in the workspace")
}

/// The engine's program beside the tests, built when it is missing or old.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("a test lies in target/PROFILE/deps");
    let program = folder.join("tidegate-clickhouse");
    let source = newest(&workspace().join("chdb/src"));
    let built = program.metadata().and_then(|file| file.modified()).ok();
    if built.is_none_or(|built| built < source) {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args([
            "build",
            "--quiet",
            "--package",
            "tidegate-chdb",
            "--bin",
            "tidegate-clickhouse",
        ]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        build
            .arg("--target-dir")
            .arg(folder.parent().expect("a profile lies in the target folder"));
        let done = build.current_dir(workspace()).status().expect("cargo starts");
        assert!(done.success(), "tidegate-clickhouse cannot be built");
    }
    program
}

fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).expect("the engine's source is in the workspace");
    let times = entries.map(|entry| {
        let path = entry.expect("an entry of a folder").path();
        match path.is_dir() {
            true => newest(&path),
            false => path
                .metadata()
                .and_then(|file| file.modified())
                .expect("a file has a time"),
        }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
