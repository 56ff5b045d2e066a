//! What Kafka costs, and how long what lies on it takes to be rebuilt: accepting with `acks=all` (`accept`), processors by
//! their number (`scale`), hand-overs (`pause`), and state from Kafka alone (`rebuild`, `objects`). CPU is that of our processes; the
//! broker's stands apart. Needs the jars (`make kafka`). The whole path on Kafka is `whole … kafka`.
//!
//! Run: `cargo build --release -p tidegate -p tidegate-bench && target/release/kafka
//! accept|scale|pause|rebuild|objects [DIRECTORY [COUNT]]`.

mod accept;
mod objects;
mod pause;
mod rebuild;
mod scale;
mod scene;

use std::path::PathBuf;

use tidegate_bench::Failure;
use tidegate_bench::kafka::Node;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let count: Option<u64> = arguments.next().map(|count| count.parse()).transpose()?;
    let folder = tempfile::tempdir_in(parent)?;
    let node = Node::start(folder.path())?;
    let on = (&node, folder.path());
    match what.as_str() {
        "accept" => accept::run(on, count.unwrap_or(4)).await,
        "scale" => scale::run(on, count.unwrap_or(50_000)).await,
        "pause" => pause::run(on, count.unwrap_or(1_000_000)).await,
        "rebuild" => rebuild::run(on, count.unwrap_or(1_000_000)).await,
        "objects" => objects::run(on, count.unwrap_or(10_000_000)).await,
        _ => Err("say what: accept, scale, pause, rebuild or objects".into()),
    }
}
