//! Exchanges with real sockets: what each kind of answer, or none, becomes. In: bytes that a listener writes. Out: the
//! answer or the typed error. Uses only loopback, which the allow-list names, and nothing of the internet.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tidegate_egress::{Answer, Client, Config, Error, Limits, UrlError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(20),
    answer_bytes_max: 64,
};

fn client(allow: &[&str]) -> Client {
    let allow = allow.iter().map(|net| net.parse().expect("a network")).collect();
    Client::new(&Config {
        allow,
        ..Config::default()
    })
    .expect("a client")
}

/// Answers every connection's first request with `answer`; then closes, or keeps it open for ever.
async fn listener(answer: &'static [u8], closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(read > 0);
            stream.write_all(answer).await.expect("the answer is taken");
            if !closes {
                open.push(stream);
            }
        }
    });
    address
}

async fn post(client: &Client, url: &str, limits: Limits) -> Result<Answer, Error> {
    let target = client.check_url(url)?;
    let request = Request::post(target.uri())
        .body(Full::new(Bytes::from_static(b"{}")))
        .expect("a request");
    client.send(request, limits).await
}

fn word(outcome: &Result<Answer, Error>) -> String {
    match outcome {
        Ok(answer) => {
            let cut = if answer.cut { " cut" } else { "" };
            format!(
                "{} {}{cut}",
                answer.status.as_u16(),
                String::from_utf8_lossy(&answer.body)
            )
        }
        Err(Error::UrlUnusable(_)) => "url".into(),
        Err(Error::Dns { .. }) => "dns".into(),
        Err(Error::AddressRefused(_)) => "refused".into(),
        Err(Error::Connect { .. }) => "connect".into(),
        Err(Error::Tls { .. }) => "tls".into(),
        Err(Error::Timeout { .. }) => "timeout".into(),
        Err(Error::Broken { .. }) => "broken".into(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn each_answer_becomes_what_it_is() {
    for (answer, closes, expected) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..],
            false,
            "200 ok",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", false, "204 "),
        (
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            false,
            "302 ",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
            false,
            "200 ab",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            true,
            "broken",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-le", true, "broken"),
        (b"nonsense\r\n\r\n", true, "broken"),
        (b"", true, "broken"),
    ] {
        let address = listener(answer, closes).await;
        let outcome = post(&client(&["127.0.0.0/8"]), &format!("http://{address}/"), LIMITS).await;
        assert_eq!(word(&outcome), expected, "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_cut_and_a_document_refused() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
    let address = listener(answer, true).await;
    let (client, url) = (client(&["127.0.0.0/8"]), format!("http://{address}/"));
    let cut = post(&client, &url, LIMITS).await.expect("an answer");
    assert_eq!((cut.body.len(), cut.cut), (LIMITS.answer_bytes_max, true));
    let target = client.check_url(&url).expect("a target");
    let refused = client.fetch(&target, LIMITS).await.expect_err("too large");
    assert!(
        matches!(refused, Error::TooLarge { limit_bytes: 64 }),
        "{refused}"
    );
    let wide = Limits {
        answer_bytes_max: 100,
        ..LIMITS
    };
    assert_eq!(client.fetch(&target, wide).await.expect("it fits").len(), 100);
}

#[tokio::test]
async fn a_silent_and_a_dripping_answer_end_with_the_time() {
    let short = Limits {
        timeout: Duration::from_millis(200),
        ..LIMITS
    };
    let silent = listener(b"", false).await;
    let dripping = listener(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\na", false).await;
    for address in [silent, dripping] {
        let outcome = post(&client(&["127.0.0.0/8"]), &format!("http://{address}/"), short).await;
        assert_eq!(word(&outcome), "timeout");
    }
}

#[tokio::test]
async fn a_tls_handshake_with_something_else_fails_as_such() {
    let address = listener(b"HTTP/1.1 400 Bad Request\r\n\r\n", true).await;
    let outcome = post(&client(&["127.0.0.0/8"]), &format!("https://{address}/"), LIMITS).await;
    assert_eq!(word(&outcome), "tls");
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let outcome = post(&client(&["127.0.0.0/8"]), &format!("http://{address}/"), LIMITS).await;
    assert_eq!(word(&outcome), "connect");
}

#[tokio::test]
async fn a_name_is_judged_by_the_addresses_it_stands_for() {
    let address = listener(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false).await;
    let url = format!("http://localhost:{}/", address.port());
    let outcome = post(&client(&[]), &url, LIMITS).await;
    assert_eq!(word(&outcome), "refused");
    // Only the address that the allow-list names is dialled, even where the name stands for another one too.
    let outcome = post(&client(&["127.0.0.0/8"]), &url, LIMITS).await;
    assert_eq!(word(&outcome), "200 ok");
}

#[tokio::test]
async fn names_are_checked_without_dialling() {
    let closed = client(&[]);
    let target = closed
        .check_url("http://localhost/")
        .expect("a name says nothing yet");
    assert!(matches!(
        closed.check_name(&target).await,
        Err(Error::AddressRefused(_))
    ));
    let open = client(&["127.0.0.0/8", "::1/128"]);
    let target = open.check_url("http://localhost/").expect("a target");
    open.check_name(&target).await.expect("allowed");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_error() {
    let outcome = post(&client(&[]), "http://tidegate-test.invalid/", LIMITS).await;
    assert_eq!(word(&outcome), "dns");
}

#[test]
fn literal_addresses_are_refused_before_anything_is_sent() {
    let refused = client(&[]).check_url("http://127.0.0.1/").expect_err("loopback");
    assert!(matches!(refused, UrlError::Refused(_)), "{refused}");
}

#[test]
fn roots_that_are_no_certificates_are_refused() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let config = Config {
        roots_pem: pem.to_owned(),
        ..Config::default()
    };
    assert!(Client::new(&config).is_err());
}
