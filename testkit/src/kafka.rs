//! A real Apache Kafka for tests: one node or three, on loopback, in a folder of their own. In: how many nodes. Out:
//! their addresses, and ways to kill, pause and start them again. The nodes end with the process that started them,
//! however that ends: `dev/kafka.sh run` watches its standard input.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::OnceCell;

use crate::certificates::Certificates;
use crate::server::PATIENCE;

/// The user whom a secured node knows.
pub const USER: &str = "tidegate";
/// The user's password.
pub const PASSWORD: &str = "only-for-tests";

/// How often a node that starts is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Below those that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// A cluster of real nodes.
#[derive(Debug)]
pub struct Kafka {
    folder: PathBuf,
    ports: Vec<(u16, u16)>,
    secured: Option<(u16, u16)>,
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

/// A port that nobody listens on, and that no outgoing connection is given while a node is down.
fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let begin = u64::from(std::process::id()) * 101;
    (0..PORTS.len() as u64)
        .map(|_| begin + NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|at| PORTS.start + u16::try_from(at % PORTS.len() as u64).expect("below the range's length"))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("loopback has a free port")
}

impl Kafka {
    /// Formats and starts `nodes` nodes, and waits until each takes connections.
    ///
    /// # Panics
    /// When Kafka's jars or a JDK are missing (`make kafka`), or a node does not start; with what it printed.
    pub async fn start(nodes: usize) -> Kafka {
        let kafka = Self::format(nodes, "");
        kafka.run().await
    }

    /// One node that also listens where connections are encrypted: with a client's certificate ([`Kafka::tls`]), and with
    /// a user's name and password ([`Kafka::users`]), by PLAIN or SCRAM.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    pub async fn start_secured(certificates: &Certificates) -> Kafka {
        let scram = |hash| format!("--add-scram SCRAM-SHA-{hash}=[name={USER},password={PASSWORD}]");
        let mut kafka = Self::format(1, &format!("{} {}", scram(256), scram(512)));
        let ((plain, controller), tls, users) = (kafka.ports[0], free_port(), free_port());
        kafka.secured = Some((tls, users));
        let listeners =
            format!("PLAINTEXT://127.0.0.1:{plain},TLS://127.0.0.1:{tls},USERS://127.0.0.1:{users}");
        let (scram, plain) = (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "org.apache.kafka.common.security.plain.PlainLoginModule required",
        );
        // Of a name that stands twice in the file the last counts.
        let settings = format!(
            "listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={listeners}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,USERS:SASL_SSL\n\
             ssl.keystore.type=PEM\nssl.keystore.location={}\n\
             ssl.truststore.type=PEM\nssl.truststore.location={}\n\
             listener.name.tls.ssl.client.auth=required\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.users.plain.sasl.jaas.config={plain} user_{USER}=\"{PASSWORD}\";\n\
             listener.name.users.scram-sha-256.sasl.jaas.config={scram}\n\
             listener.name.users.scram-sha-512.sasl.jaas.config={scram}\n",
            certificates.server_store().display(),
            certificates.ca().display(),
        );
        let file = kafka.folder.join("1/server.properties");
        let mut file = OpenOptions::new()
            .append(true)
            .open(file)
            .expect("it was written just now");
        file.write_all(settings.as_bytes())
            .expect("the folder can be written");
        kafka.run().await
    }

    /// Where a client must show a certificate.
    ///
    /// # Panics
    /// When the node was not started with [`Kafka::start_secured`].
    #[must_use]
    pub fn tls(&self) -> String {
        format!("127.0.0.1:{}", self.secured.expect("it listens there").0)
    }

    /// Where [`USER`] must show the [`PASSWORD`], on an encrypted connection.
    ///
    /// # Panics
    /// When the node was not started with [`Kafka::start_secured`].
    #[must_use]
    pub fn users(&self) -> String {
        format!("127.0.0.1:{}", self.secured.expect("it listens there").1)
    }

    fn format(nodes: usize, options: &str) -> Kafka {
        let folder = std::env::temp_dir().join(unique_prefix("tidegate-kafka"));
        std::fs::create_dir_all(&folder).expect("a folder for the nodes");
        std::fs::write(folder.join("temporary"), "").expect("a file in the folder");
        let ports: Vec<(u16, u16)> = (0..nodes).map(|_| (free_port(), free_port())).collect();
        let formatted = script()
            .env("KAFKA_FORMAT_OPTIONS", options)
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
        Kafka {
            folder,
            ports,
            secured: None,
            nodes: (0..nodes).map(|_| None).collect(),
        }
    }

    async fn run(mut self) -> Kafka {
        self.start_all().await;
        self.wait_for_all().await;
        self
    }

    /// Waits until the cluster knows of every node: until then no topic can have as many copies.
    async fn wait_for_all(&self) {
        let began = Instant::now();
        let wanted = format!(" {} brokers:", self.nodes());
        loop {
            let listed = Command::new("kcat")
                .args(["-L", "-b", &self.bootstrap(), "-m", "5"])
                .output()
                .expect("kcat is installed: apt-get install kcat");
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            if listed.contains(&wanted) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the nodes do not find one another: {listed}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
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
