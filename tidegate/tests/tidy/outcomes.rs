//! `docs/outcomes.md` is printed from the closed sets: every outcome and every reason has its row. `BLESS=1` writes it.

use std::fmt::Write as _;

use tidegate_schemas::{Attribution, DeliveryStatus, Outcome, Proof, Reason};

use crate::root;

#[test]
fn every_outcome_and_reason_has_its_row() {
    let path = root().join("docs/outcomes.md");
    let printed = printed();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &printed).expect("docs/ can be written");
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == printed,
        "docs/outcomes.md is not what the code says: run this test with BLESS=1 and read the change"
    );
}

fn printed() -> String {
    let mut text = String::from(
        "# Outcomes, reasons and states\n\nPrinted from `schemas/src/outcome.rs` and `schemas/src/reason.rs`; a test holds them together (`BLESS=1` rewrites this file).\n\
         They are columns in ClickHouse and labels of metrics.\n",
    );
    table(
        &mut text,
        "Outcomes of an event (`events.outcome`)",
        Outcome::ALL.iter().map(|o| (o.label(), o.docs(), "")),
    );
    table(
        &mut text,
        "How far an event is proved (`events.verified`)",
        Proof::ALL.iter().map(|p| (p.label(), p.docs(), "")),
    );
    table(
        &mut text,
        "Attribution (`events.attribution`)",
        Attribution::ALL.iter().map(|a| (a.label(), a.docs(), "")),
    );
    table(
        &mut text,
        "States of a delivery (`attempts.status`)",
        DeliveryStatus::ALL.iter().map(|d| (d.label(), d.docs(), "")),
    );
    let reasons = Reason::ALL
        .iter()
        .map(|r| (r.label(), r.docs(), r.outcome().map_or("", Outcome::label)));
    table(&mut text, "Reasons (`reason`, `refusal`)", reasons);
    text
}

fn table<'a>(text: &mut String, title: &str, rows: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
    write!(
        text,
        "\n## {title}\n\n| word | meaning | outcome |\n|---|---|---|\n"
    )
    .expect("a String takes everything");
    for (label, docs, outcome) in rows {
        writeln!(text, "| `{label}` | {docs} | {outcome} |").expect("a String takes everything");
    }
}
