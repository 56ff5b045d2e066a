//! The official JavaScript client, run by Node: `tests/js/client.mjs` holds what it does and expects.

use std::path::Path;
use std::process::Command;

use crate::started::Started;

#[tokio::test]
async fn the_official_javascript_client_works_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
    let client = folder.join("node_modules/@clickhouse/client");
    assert!(
        client.exists(),
        "{} is missing: run `make deps` (it runs `npm ci` in {})",
        client.display(),
        folder.display()
    );
    let engine = Started::new().await;
    let mut node = Command::new("node");
    node.arg("client.mjs").current_dir(folder);
    node.env("CLICKHOUSE_URL", &engine.endpoint.url)
        .env("CLICKHOUSE_PASSWORD", engine.endpoint.password.reveal());
    let ran = tokio::task::spawn_blocking(move || node.output())
        .await
        .unwrap()
        .expect("node is installed: else run `make deps`");
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(
        ran.status.success() && out.contains("all as expected"),
        "{out}{err}"
    );
    engine.engine.stop().await;
}
