//! A provider's own server of public keys, on this machine: the key sets of the recordings over TLS, and the definitions
//! laid over the built-in ones so that they ask here. In: fixtures. Out: a folder of definitions; answers 503 until it is
//! opened. Makes no keys: the recordings hold theirs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_providers::Catalogue;
use tidegate_providers::fixture::Fixture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::recorded::recordings;

/// The root that the server's certificate (for `localhost`) ends in.
pub const ROOT: &str = include_str!("../../../egress/tests/tls/root.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../egress/tests/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../egress/tests/tls/server.key");

/// A running server of key sets; it ends when it is dropped.
pub struct KeyServer {
    port: u16,
    /// The address that a definition names, and what stands there.
    documents: BTreeMap<String, String>,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    open: AtomicBool,
    asked: AtomicUsize,
}

impl KeyServer {
    /// Starts it, closed, with the key sets of every recording.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let documents = documents();
        let shared = Arc::new(Shared::default());
        let bodies: Arc<[String]> = documents.values().cloned().collect();
        let serving = tokio::spawn(serve(listener, bodies, Arc::clone(&shared)));
        Self {
            port,
            documents,
            shared,
            serving,
        }
    }

    /// Hands the keys out from now on.
    pub fn open(&self) {
        self.shared.open.store(true, Ordering::Release);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// Writes the definitions that need a key from elsewhere into a folder, changed to ask here.
    pub fn overlay(&self, folder: &Path) -> Catalogue {
        let builtin = Catalogue::builtin().expect("the definitions compile");
        for definition in builtin
            .definitions()
            .filter(|definition| definition.needs_network())
        {
            let name = definition.name();
            let source = tidegate_providers::source_of(name).expect("a built-in definition has a source");
            let own = self
                .documents
                .keys()
                .enumerate()
                .fold(source.to_owned(), |text, (place, url)| {
                    text.replace(url, &format!("https://localhost:{}/{place}", self.port))
                });
            assert_ne!(own, source, "{name}: no recording names the address of its keys");
            std::fs::write(folder.join(format!("{name}.toml")), own).expect("a file can be written");
        }
        Catalogue::with_overlay(folder).expect("the changed definitions compile")
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Every key set of a recording, by its address.
fn documents() -> BTreeMap<String, String> {
    let mut documents = BTreeMap::new();
    for recording in Fixture::providers().flat_map(recordings) {
        let sets = recording.get("key_sets").and_then(toml::Value::as_array);
        for set in sets.into_iter().flatten() {
            let text = |key: &str| set[key].as_str().expect("a key set has its text").to_owned();
            documents.insert(text("url"), text("body"));
        }
    }
    documents
}

async fn serve(listener: TcpListener, bodies: Arc<[String]>, shared: Arc<Shared>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that the provider knows")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        // Who hangs up in the middle is asked again by the next.
        let _ended = answer(stream, &acceptor, (&bodies, &shared)).await;
    }
}

/// Answers one request and closes the connection.
async fn answer(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    (bodies, shared): (&[String], &Shared),
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = vec![0; 8192];
    let read = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let place = request.split('/').nth(1).and_then(|rest| rest.split(' ').next());
    let body = place.and_then(|place| bodies.get(place.parse::<usize>().ok()?));
    let (status, body) = match body {
        _ if !shared.open.load(Ordering::Acquire) => ("503 Service Unavailable", ""),
        Some(body) => ("200 OK", body.as_str()),
        None => ("404 Not Found", ""),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    shared.asked.fetch_add(1, Ordering::Release);
    stream.shutdown().await
}
