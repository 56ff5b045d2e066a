//! A snapshot in words, the same for a plain table and for the screen. In: a snapshot, and what may be spent. Out: lines and
//! cells. Knows nothing of terminals.

use std::fmt::Write as _;
use std::time::Duration;

use tidegate_processor::FloodConfig;

use super::Snapshot;
use super::gauges::Gauges;
use super::question::{Question, Row, View};

/// How wide a name may get in a plain table, in characters.
const NAME_WIDTH_MAX: usize = 48;

/// What may be spent, of all partitions of all processes.
#[derive(Debug, Clone, Copy)]
pub struct Budgets {
    /// On delivery ids, in bytes.
    pub dedupe_bytes: usize,
    /// On objects, in bytes.
    pub objects_bytes: usize,
    /// On open windows, in bytes.
    pub windows_bytes: usize,
}

impl From<&FloodConfig> for Budgets {
    fn from(config: &FloodConfig) -> Self {
        Self {
            dedupe_bytes: config.dedupe_bytes_max,
            objects_bytes: config.objects_bytes_max,
            windows_bytes: config.windows_bytes_max,
        }
    }
}

/// The titles of the columns; the names come first.
#[must_use]
pub fn titles(view: View) -> Vec<&'static str> {
    let names = view.columns().iter().map(|name| match *name {
        "object_key" => "object",
        name => name,
    });
    let numbers = [
        "events",
        "/s",
        "routed",
        "debounced",
        "windows",
        "duplicate",
        "stale",
        "unchanged",
        "unwanted",
        "refused",
        "absorbed",
    ];
    names.chain(numbers).collect()
}

/// The cells of a row, under their titles.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a rate and a share of so many events")]
pub fn cells(row: &Row, view: View, last: Duration) -> Vec<String> {
    let named = |name: &String| {
        if name.is_empty() {
            "-".to_owned()
        } else {
            name.clone()
        }
    };
    let names = [&row.integration, &row.connection, &row.object_key];
    let mut cells: Vec<String> = names.into_iter().take(view.columns().len()).map(named).collect();
    let rate = row.events as f64 / last.as_secs_f64().max(1e-3);
    let absorbed = row.debounced + row.duplicate + row.stale + row.unchanged;
    let share = absorbed as f64 * 100.0 / row.events.max(1) as f64;
    cells.extend([row.events.to_string(), format!("{rate:.1}")]);
    let outcomes = [
        row.routed,
        row.debounced,
        row.windows,
        row.duplicate,
        row.stale,
        row.unchanged,
        row.unwanted,
        row.refused,
    ];
    cells.extend(outcomes.map(|events| events.to_string()));
    cells.push(format!("{share:.0} %"));
    cells
}

/// The title line.
#[must_use]
pub fn title(question: &Question) -> String {
    let Question { view, sort, last, .. } = question;
    format!(
        "the hottest {} of the last {} s, by {}",
        view.label(),
        last.as_secs(),
        sort.label()
    )
}

/// What is held now, in lines.
#[must_use]
pub fn held(gauges: &Gauges, budgets: &Budgets) -> Vec<String> {
    if gauges.partitions == 0 {
        return vec![
            "this process decides for no partition: what is held is on the metrics of those that do"
                .to_owned(),
        ];
    }
    let fill = |bytes: f64, of: usize| {
        #[expect(clippy::cast_precision_loss, reason = "a share of so many bytes")]
        let share = bytes * 100.0 / of.max(1) as f64;
        format!("{}, {share:.1} % of what they may take", size(bytes))
    };
    vec![
        format!(
            "open windows {} (oldest {:.1} s; {})",
            gauges.open_windows,
            gauges.oldest_window_seconds,
            fill(gauges.windows_bytes, budgets.windows_bytes)
        ),
        format!(
            "delivery ids {} ({})",
            gauges.dedupe_ids,
            fill(gauges.dedupe_bytes, budgets.dedupe_bytes)
        ),
        format!(
            "objects {} ({})",
            gauges.objects,
            fill(gauges.objects_bytes, budgets.objects_bytes)
        ),
        format!(
            "not decided yet {} messages; set aside {}; not checked for want of room {} events",
            gauges.lag,
            size(gauges.set_aside_bytes),
            gauges.unchecked
        ),
    ]
}

fn size(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    match bytes {
        _ if bytes < KIB => format!("{bytes:.0} B"),
        _ if bytes < KIB * KIB => format!("{:.1} KiB", bytes / KIB),
        _ if bytes < KIB * KIB * KIB => format!("{:.1} MiB", bytes / (KIB * KIB)),
        _ => format!("{:.1} GiB", bytes / (KIB * KIB * KIB)),
    }
}

/// All of it as plain text.
#[must_use]
pub fn plain(snapshot: &Snapshot, question: &Question, budgets: &Budgets) -> String {
    let mut text = format!("{}\n", title(question));
    for line in held(&snapshot.gauges, budgets) {
        writeln!(text, "{line}").expect("a text takes more text");
    }
    text.push('\n');
    let titles = titles(question.view).into_iter().map(str::to_owned).collect();
    let rows = snapshot
        .rows
        .iter()
        .map(|row| cells(row, question.view, question.last));
    let table: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
    let names = question.view.columns().len();
    for cells in &table {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let widths = table.iter().filter_map(|row| row.get(column));
            let width = widths.map(|cell| cell.chars().count()).max().unwrap_or_default();
            if column < names {
                let width = width.min(NAME_WIDTH_MAX);
                let cut: String = cell.chars().take(NAME_WIDTH_MAX).collect();
                write!(line, "{cut:<width$}  ")
            } else {
                write!(line, "{cell:>width$}  ")
            }
            .expect("a text takes more text");
        }
        writeln!(text, "{}", line.trim_end()).expect("a text takes more text");
    }
    if snapshot.rows.is_empty() {
        text.push_str("no events\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::question::Sort;
    use super::*;

    #[test]
    fn sizes_have_their_unit() {
        for (bytes, said) in [
            (0.0, "0 B"),
            (2048.0, "2.0 KiB"),
            (3.5 * 1_048_576.0, "3.5 MiB"),
            (4_294_967_296.0, "4.0 GiB"),
        ] {
            assert_eq!(size(bytes), said);
        }
    }

    #[test]
    fn a_plain_table_is_aligned() {
        let row = |integration: &str, events| Row {
            integration: integration.to_owned(),
            events,
            debounced: events / 2,
            routed: events - events / 2,
            ..Row::default()
        };
        let snapshot = Snapshot {
            rows: vec![row("crm", 1200), row("a-longer-name", 7)],
            gauges: Gauges::default(),
        };
        let question = Question {
            view: View::Integrations,
            sort: Sort::Events,
            last: Duration::from_secs(60),
            rows_max: 10,
        };
        let text = plain(&snapshot, &question, &Budgets::from(&FloodConfig::default()));
        let lines: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "integration    events    /s  routed  debounced  windows  duplicate  stale  unchanged  unwanted  refused  absorbed",
                "crm              1200  20.0     600        600        0          0      0          0         0        0      50 %",
                "a-longer-name       7   0.1       4          3        0          0      0          0         0        0      43 %",
            ]
        );
    }
}
