//! A real Apache Kafka for tests: one node or three, on loopback, in a folder of their own. In: how many nodes. Out:
//! their addresses, and ways to kill, pause and start them again. The nodes end with the process that started them,
//! however that ends: `dev/kafka.sh run` watches its standard input.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::OnceCell;

use crate::server::PATIENCE;

/// How often a node that starts is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A cluster of real nodes.
#[derive(Debug)]
pub struct Kafka {
    folder: PathBuf,
    ports: Vec<(u16, u16)>,
    nodes: Vec<Option<Child>>,
}

/// A name that no other cluster, and no other test of this one, has: topics and groups begin with it.
#[must_use]
pub fn unique_prefix(test: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{test}-{}-{count}.", std::process::id())
}

/// One node for all tests of this process.
pub async fn shared() -> &'static Kafka {
    static SHARED: OnceCell<Kafka> = OnceCell::const_new();
    SHARED.get_or_init(|| Kafka::start(1)).await
}

fn script() -> Command {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("testkit lies in the workspace");
    Command::new(workspace.join("dev/kafka.sh"))
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

impl Kafka {
    /// Formats and starts `nodes` nodes, and waits until each takes connections.
    ///
    /// # Panics
    /// When Kafka's jars or a JDK are missing (`make kafka`), or a node does not start; with what it printed.
    pub async fn start(nodes: usize) -> Kafka {
        let folder = std::env::temp_dir().join(unique_prefix("tidegate-kafka"));
        std::fs::create_dir_all(&folder).expect("a folder for the nodes");
        std::fs::write(folder.join("temporary"), "").expect("a file in the folder");
        let ports: Vec<(u16, u16)> = (0..nodes).map(|_| (free_port(), free_port())).collect();
        let formatted = script()
            .arg("format")
            .arg(&folder)
            .args(
                ports
                    .iter()
                    .map(|(port, controller)| format!("{port}:{controller}")),
            )
            .output()
            .expect("dev/kafka.sh can be run");
        let printed = String::from_utf8_lossy(&formatted.stderr);
        assert!(formatted.status.success(), "Kafka cannot be formatted: {printed}");
        let mut kafka = Kafka {
            folder,
            ports,
            nodes: (0..nodes).map(|_| None).collect(),
        };
        for node in 0..nodes {
            kafka.launch(node);
        }
        for node in 0..nodes {
            kafka.wait_for(node).await;
        }
        kafka
    }

    /// The nodes' addresses, for clients.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses = self.ports.iter().map(|(port, _)| format!("127.0.0.1:{port}"));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.ports.len()
    }

    /// Starts a node again that was killed, and waits until it takes connections.
    pub async fn start_node(&mut self, node: usize) {
        self.launch(node);
        self.wait_for(node).await;
    }

    /// Starts all nodes again that were killed: a quorum needs more than one.
    pub async fn start_all(&mut self) {
        let missing: Vec<usize> = (0..self.nodes())
            .filter(|node| self.nodes[*node].is_none())
            .collect();
        missing.iter().for_each(|node| self.launch(*node));
        for node in missing {
            self.wait_for(node).await;
        }
    }

    fn launch(&mut self, node: usize) {
        // A process id of an earlier life must not be taken for this one's.
        let _ = std::fs::remove_file(self.pid_file(node));
        let child = script()
            .arg("run")
            .arg(&self.folder)
            .arg((node + 1).to_string())
            .stdin(Stdio::piped())
            .spawn()
            .expect("dev/kafka.sh can be run");
        self.nodes[node] = Some(child);
    }

    async fn wait_for(&self, node: usize) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports[node].0));
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                began.elapsed() < PATIENCE,
                "node {node} of Kafka does not start:\n{}",
                self.printed(node)
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn pid_file(&self, node: usize) -> PathBuf {
        self.folder.join((node + 1).to_string()).join("pid")
    }

    fn printed(&self, node: usize) -> String {
        let file = self.folder.join((node + 1).to_string()).join("printed.txt");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// Sends a signal to a node: `STOP` and `CONT` pause it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, node: usize, signal: Signal) {
        let pid = std::fs::read_to_string(self.pid_file(node)).expect("the node runs");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        kill_process(pid.expect("the file holds a process id"), signal).expect("the node runs");
    }

    /// Ends a node as `kill -9` does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, node: usize) {
        self.signal(node, Signal::KILL);
        self.end(node);
    }

    fn end(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].take() {
            // The script ends its node, and itself, when its standard input ends.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        (0..self.nodes()).for_each(|node| self.end(node));
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
