//! TLS: a server whose root is configured is trusted, under the name that its certificate holds; any other is not. The
//! certificates in `tls/` were made with openssl, for `localhost`, and end in a hundred years; the key opens nothing.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_egress::{Client, Config, Error, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(20),
    answer_bytes_max: 64,
};

/// Serves one document over TLS; returns its port.
async fn server() -> u16 {
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that the provider knows")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let (acceptor, listener) = (
        TlsAcceptor::from(Arc::new(config)),
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
    );
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us hangs up in the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(request[..read].starts_with(b"GET /keys HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.write_all(answer).await.expect("the answer is taken");
            stream.shutdown().await.expect("the end is taken");
        }
    });
    port
}

async fn fetch(port: u16, host: &str, roots_pem: &str) -> Result<bytes::Bytes, Error> {
    let allow = vec!["127.0.0.0/8".parse().expect("a network")];
    let config = Config {
        allow,
        https_only: true,
        roots_pem: roots_pem.to_owned(),
        ..Config::default()
    };
    let client = Client::new(&config).expect("a client");
    let target = client.check_url(&format!("https://{host}:{port}/keys"))?;
    client.fetch(&target, LIMITS).await
}

#[tokio::test]
async fn a_configured_root_is_trusted_for_the_certificates_name_alone() {
    let (port, root) = (server().await, include_str!("tls/root.pem"));
    assert_eq!(fetch(port, "localhost", root).await.expect("trusted"), "{}");
    for (host, roots) in [("localhost", ""), ("127.0.0.1", root)] {
        let refused = fetch(port, host, roots).await.expect_err("not trusted");
        assert!(matches!(refused, Error::Tls { .. }), "{host}: {refused}");
    }
}
