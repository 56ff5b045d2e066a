//! A slow endpoint and a dead one beside a good one: the good one gets everything while the slow one still holds every
//! delivery it was given, and the slow one gets everything once it lets go.

use serde::Deserialize;

use crate::reckoning::{reckon, rows};
use crate::{Running, alone, begin, until};

const WANTED: usize = 400;

#[derive(Deserialize)]
struct Count {
    deliveries: u32,
}

#[test]
fn a_slow_endpoint_and_a_dead_one_hold_up_nobody() {
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        // Longer than the test: the slow endpoint's answers are late, not lost.
        let settings = [("FORWARD__TIMEOUT_MS", "600000")];
        let manifest = [crate::MANIFEST, include_str!("more_endpoints.yaml")].concat();
        let Running {
            server,
            receiver,
            load,
            ..
        } = begin(folder.path(), &settings, &manifest).await;
        until("the good endpoint gets its deliveries", || {
            receiver.count("taking") >= WANTED
        })
        .await;
        let held = receiver.count("holding");
        assert!(held > 0 && held < WANTED, "{held} deliveries are held");
        let account = reckon(&server, load, &receiver).await;
        println!("counted: {account}");
        assert_eq!((account.delivered, account.repeats), (account.accepted, 0));
        assert!(
            receiver.count("holding") < account.accepted,
            "the slow endpoint was never slow"
        );
        receiver.let_go("holding");
        until("the slow endpoint gets its deliveries", || {
            receiver.count("holding") == account.accepted
        })
        .await;
        let sql = "SELECT toUInt32(uniqExact(delivery_id)) AS deliveries FROM attempts \
                   WHERE endpoint = 'dead' AND status = 'parked' AND http_status = 0";
        let dead: Vec<Count> = rows(&server, sql).await.unwrap();
        assert!(dead[0].deliveries > 0, "no try of the dead endpoint is on record");
        assert!(receiver.wrong().is_empty(), "{:?}", receiver.wrong());
    });
}
