//! Deliveries judged by the official Standard Webhooks library from npm, run by Node. In: what a receiver got, and the
//! endpoint's secret. Out: nothing when all are genuine; a panic that names what is not.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_testkit::receiver::Received;

/// Asks the library about every delivery; the answers, in order: `None` for genuine, else why not.
pub fn judged(received: &[Received], secret: &str) -> Vec<Option<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev/verify");
    assert!(
        folder.join("node_modules/standardwebhooks").is_dir(),
        "the official library is missing in dev/verify/node_modules: run `make deps`"
    );
    let mut node = Command::new("node")
        .arg(folder.join("verify.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts; when it is missing, `make deps` says how to get it");
    let mut questions = node.stdin.take().expect("standard input was asked for");
    let lines = received.iter().map(|delivery| {
        let body = STANDARD.encode(&delivery.body);
        json!({ "secret": secret, "headers": delivery.headers, "body": body }).to_string() + "\n"
    });
    let lines: String = lines.collect();
    let asking = std::thread::spawn(move || questions.write_all(lines.as_bytes()));
    let answered = node.wait_with_output().expect("node ends");
    asking
        .join()
        .expect("the asking thread ends")
        .expect("node reads every question");
    assert!(answered.status.success(), "node ended with {}", answered.status);
    let answers = String::from_utf8(answered.stdout).expect("answers are text");
    let answers: Vec<_> = answers.lines().map(verdict).collect();
    assert_eq!(answers.len(), received.len(), "an answer for each question");
    answers
}

fn verdict(line: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(line).expect("an answer is JSON");
    if answer["ok"] == true {
        return None;
    }
    Some(answer["error"].as_str().unwrap_or("no reason given").to_owned())
}

/// Fails unless every delivery is genuine, and would not be with another secret or body.
pub fn all_genuine(received: &[Received], secret: &str) {
    for (delivery, verdict) in received.iter().zip(judged(received, secret)) {
        assert_eq!(
            verdict, None,
            "the official library refuses a delivery: {delivery:?}"
        );
    }
    let first = received.first().expect("something was delivered");
    let mut changed = first.clone();
    changed.body = [first.body.as_ref(), b" "].concat().into();
    for verdict in judged(&[changed], secret) {
        assert!(
            verdict.is_some(),
            "the library accepts a changed body: it does not verify"
        );
    }
}
