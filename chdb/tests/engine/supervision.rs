//! The child's life: it starts again after a crash, ends with its parent however that dies, and shares its directory with nobody.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tidegate_chdb::supervise::{Engine, State};

use crate::started::{Answer, PATIENCE, Started, command, library};

fn kill(process: u32, signal: Signal) {
    kill_process(pid(process), signal).unwrap();
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).unwrap()).unwrap()
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_killed_child_is_started_again_with_its_rows_at_the_same_address() {
    let engine = Started::new().await;
    engine
        .sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
        .await;
    for round in 1..=3_u64 {
        engine.sql(&format!("INSERT INTO t VALUES ({round})")).await;
        let killed = engine.process();
        let mut states = engine.engine.states();
        states.mark_unchanged();
        kill(killed, Signal::KILL);
        let down = |state: &State| matches!(state, State::Waiting { refused: false, .. });
        let state = states.wait_for(down).await.unwrap().clone();
        assert!(
            state.to_string().starts_with("down: it ended with signal: 9"),
            "{state}"
        );
        let endpoint = engine.engine.ready(PATIENCE).await.unwrap();
        assert_eq!(endpoint, engine.endpoint);
        assert_ne!(engine.process(), killed);
        assert_eq!(
            engine.sql("SELECT count(), max(a) FROM t").await,
            format!("{round}\t{round}\n")
        );
    }
    engine.engine.stop().await;
}

#[tokio::test]
async fn a_child_that_stands_still_is_forgiven_a_while_and_then_killed_and_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = command(directory.path(), &[]);
    config.silence_max_ms = 10_000;
    let engine = Started::begin(config, directory).await;
    engine
        .sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
        .await;
    engine.sql("INSERT INTO t VALUES (7)").await;
    let (process, mut states) = (engine.process(), engine.engine.states());
    let is_silent = |state: &State| matches!(state, State::Silent { .. });
    kill(process, Signal::STOP);
    let state = states.wait_for(is_silent).await.unwrap().clone();
    assert!(state.to_string().starts_with("does not answer"), "{state}");
    kill(process, Signal::CONT);
    engine.engine.ready(PATIENCE).await.unwrap();
    assert_eq!(engine.process(), process, "it was not killed");
    kill(process, Signal::STOP);
    let is_down = |state: &State| matches!(state, State::Waiting { refused: false, .. });
    let state = states.wait_for(is_down).await.unwrap().clone();
    assert!(
        state
            .to_string()
            .starts_with("down: it did not answer and was killed"),
        "{state}"
    );
    assert_eq!(engine.engine.ready(PATIENCE).await.unwrap(), engine.endpoint);
    assert_ne!(engine.process(), process);
    assert_eq!(engine.sql("SELECT a FROM t").await, "7\n");
    engine.engine.stop().await;
}

#[tokio::test]
async fn stopping_lets_a_running_query_finish() {
    let engine = Started::new().await;
    let process = engine.process();
    let sleeping = tokio::spawn(engine.post(&[]).body("SELECT sleep(1), 'finished'").send());
    engine
        .wait_for(
            "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep(1)%'",
            "1\n",
        )
        .await;
    engine.engine.stop().await;
    let answer = Answer::of(sleeping.await.unwrap().unwrap()).await;
    assert_eq!(answer.body, "0\tfinished\n");
    assert!(
        test_kill_process(pid(process)).is_err(),
        "the child is still there"
    );
}

/// A parent of its own: another process that supervises a child. It is killed when dropped.
struct Parent(Child);

impl Drop for Parent {
    fn drop(&mut self) {
        // an error means that it has ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_child_ends_when_its_parent_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("tables");
    for signal in [Signal::KILL, Signal::TERM] {
        let mut parent = Command::new(env!("CARGO_BIN_EXE_tidegate-clickhouse"));
        parent
            .arg("--watch")
            .arg(&data)
            .env("TIDEGATE_LIBCHDB", library())
            .stdout(Stdio::piped());
        let mut parent = Parent(parent.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(parent.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("http://127.0.0.1:"), "{line:?}");
        let child = std::fs::read_to_string(data.join("tidegate.lock"))
            .unwrap()
            .trim()
            .parse::<u32>()
            .unwrap();
        assert_ne!(child, parent.0.id());
        assert!(test_kill_process(pid(child)).is_ok());
        kill(parent.0.id(), signal);
        parent.0.wait().unwrap();
        wait_until("the child is gone", || {
            !std::path::Path::new(&format!("/proc/{child}")).exists() || is_zombie(child)
        })
        .await;
    }
}

/// Whether it has ended and only waits for whoever inherited it to notice.
fn is_zombie(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
}

#[tokio::test]
async fn a_second_engine_is_told_who_holds_the_directory() {
    let engine = Started::new().await;
    let second = Engine::start(command(engine.directory.path(), &["--lock-wait-ms", "300"])).unwrap();
    let refusal = second.ready(PATIENCE).await.unwrap_err().to_string();
    assert!(
        refusal.contains(&format!("is in use by process {}", engine.process())),
        "{refusal}"
    );
    second.stop().await;
    engine.sql("SELECT 1").await;
    engine.engine.stop().await;
}

#[tokio::test]
async fn a_missing_library_is_told_with_the_command_that_brings_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = command(directory.path(), &[]);
    config.arguments = vec!["--library".into(), directory.path().join("none.so").into()];
    let engine = Engine::start(config).unwrap();
    let refusal = engine.ready(PATIENCE).await.unwrap_err().to_string();
    assert!(
        refusal.contains("none.so") && refusal.contains("make deps"),
        "{refusal}"
    );
    engine.stop().await;
}

#[tokio::test]
async fn the_password_is_in_nobodys_sight() {
    let engine = Started::new().await;
    let process = engine.process();
    for file in ["cmdline", "environ"] {
        let seen = std::fs::read(format!("/proc/{process}/{file}")).unwrap();
        assert!(
            !String::from_utf8_lossy(&seen).contains(engine.endpoint.password.reveal()),
            "{file}"
        );
    }
    assert!(!format!("{:?}", engine.endpoint).contains(engine.endpoint.password.reveal()));
    engine.engine.stop().await;
}
