//! ClickHouse behind TLS: blocks and questions go through a proxy that ends TLS before the real engine, under a root that
//! is configured. In: an `https://` address. Out: rows, or a refusal of a certificate that nobody vouches for. The
//! certificates are those of `egress/tests/tls`, for `localhost`.

use std::net::SocketAddr;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

const ROOT: &str = include_str!("../../../../egress/tests/tls/root.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../../egress/tests/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../../egress/tests/tls/server.key");

/// Ends TLS and hands the bytes on; returns its port.
async fn proxy(upstream: SocketAddr) -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that the provider knows")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever does not trust the certificate hangs up in the handshake.
                let mut secure = acceptor.accept(stream).await.ok()?;
                let mut plain = TcpStream::connect(upstream).await.ok()?;
                tokio::io::copy_bidirectional(&mut secure, &mut plain).await.ok()
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_questions_go_over_tls() {
    let mut house = House::open().await;
    let upstream = house.engine.url();
    let upstream = upstream.strip_prefix("http://").expect("plain text");
    let port = proxy(upstream.parse().expect("an address")).await;
    house.config.url = format!("https://localhost:{port}");
    let error = migrate(&house.config).await.expect_err("nobody vouches for it");
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");

    house.config.roots_pem = ROOT.to_owned();
    migrate(&house.config).await.expect("the root is configured");
    let audit = house.audit();
    house.decide(0, 1, &events(0..2_000, earlier(5))).await;
    house.until("SELECT count() FROM events", "2000").await;
    let bytes = house
        .ask("SELECT repeat(toString(number), 100) FROM numbers(10000)")
        .await;
    assert!(bytes.expect("a long answer").len() > 1_000_000);
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_that_are_none_are_refused_by_name() {
    let mut house = House::open().await;
    for roots in [
        "not a certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        house.config.roots_pem = roots.to_owned();
        let error = migrate(&house.config).await.expect_err(roots).to_string();
        assert!(error.contains("roots_pem"), "{error}");
    }
}
