//! What `/metrics` of a running server shows: every family of every room with its meaning and type, and no sample without.
//! In: the page. Whether the numbers are right is the rooms' business.

use std::collections::BTreeSet;

use tidegate::metrics::families;

/// Checks the page of a server that has taken, decided, forwarded and recorded something.
pub fn shows_every_family(page: &str) {
    let named = |marker: &str| -> Vec<&str> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(marker));
        lines.filter_map(|line| line.split(' ').next()).collect()
    };
    let (helped, typed) = (named("# HELP "), named("# TYPE "));
    for family in families() {
        for (what, names) in [("HELP", &helped), ("TYPE", &typed)] {
            let times = names.iter().filter(|name| **name == family.name).count();
            assert_eq!(times, 1, "{}: {times} lines of {what}\n{page}", family.name);
        }
        let typed = format!("# TYPE {} {}", family.name, family.kind);
        assert!(
            page.lines().any(|line| line == typed),
            "{typed} is missing\n{page}"
        );
    }
    let known: BTreeSet<&str> = helped.into_iter().collect();
    let samples = page.lines().filter(|line| line.starts_with("tidegate_"));
    let mut rooms = BTreeSet::new();
    for sample in samples {
        let name = sample.split(['{', ' ']).next().unwrap_or_default();
        let family = name.trim_end_matches("_sum").trim_end_matches("_count");
        assert!(
            known.contains(name) || known.contains(family),
            "{name} means nothing"
        );
        rooms.extend(name.split('_').nth(1));
    }
    for room in [
        "broker",
        "chdb",
        "egress",
        "ingest",
        "processor",
        "registry",
        "sinks",
    ] {
        assert!(rooms.contains(room), "no sample of {room}: {rooms:?}");
    }
}
