//! Drawing the screen on a terminal of any size. In: what it shows. Out: a frame. Decides nothing.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::screen::Screen;
use super::words;

/// What keys do.
const KEYS: &str =
    "1 integrations  2 connections  3 objects  s sort  + - longer, shorter  ↑ ↓ scroll  p pause  q quit";
/// The least width of a name.
const NAME_WIDTH_MIN: u16 = 12;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let held = words::held(&screen.snapshot.gauges, &screen.budgets);
    let held_height = u16::try_from(held.len()).unwrap_or(u16::MAX);
    let heights = [
        Constraint::Length(1),
        Constraint::Length(held_height),
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(1),
    ];
    let [title, gauges, _, table, foot] = Layout::vertical(heights).areas(frame.area());
    let mut head = Line::from(words::title(&screen.question)).bold();
    if screen.paused {
        head.push_span("  paused".yellow());
    }
    frame.render_widget(head, title);
    let lines: Vec<Line<'_>> = held.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(Text::from(lines)), gauges);
    frame.render_widget(rows(screen), table);
    let foot_line = match &screen.failure {
        Some(failure) => Line::from(format!("not refreshed: {failure}")).red(),
        None => Line::from(KEYS).dim(),
    };
    frame.render_widget(foot_line, foot);
}

fn rows(screen: &Screen) -> Table<'_> {
    let question = &screen.question;
    let names = question.view.columns().len();
    let titles = words::titles(question.view);
    let widths: Vec<Constraint> = titles
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let width = u16::try_from(title.chars().count()).unwrap_or(u16::MAX);
            if column < names {
                Constraint::Min(NAME_WIDTH_MIN)
            } else {
                Constraint::Length(width.max(7))
            }
        })
        .collect();
    let placed = |(column, text): (usize, String)| {
        let text = Text::from(text);
        Cell::from(if column < names {
            text
        } else {
            text.right_aligned()
        })
    };
    let header = titles.into_iter().map(str::to_owned).enumerate().map(placed);
    let shown = screen.snapshot.rows.iter().skip(screen.scrolled);
    let rows = shown.map(|row| {
        let style = if row.refused > 0 {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        let cells = words::cells(row, question.view, question.last);
        Row::new(cells.into_iter().enumerate().map(placed)).style(style)
    });
    Table::new(rows, widths)
        .header(Row::new(header).bold())
        .column_spacing(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tidegate_processor::FloodConfig;

    use super::super::gauges::Gauges;
    use super::super::question::{self, Question, Sort, View};
    use super::super::words::Budgets;
    use super::*;

    fn screen() -> Screen {
        let question = Question {
            view: View::Connections,
            sort: Sort::Absorbed,
            last: Duration::from_secs(60),
            rows_max: 100,
        };
        let mut screen = Screen::new(question, Budgets::from(&FloodConfig::default()));
        screen.snapshot.gauges = Gauges {
            partitions: 1,
            open_windows: 25.0,
            oldest_window_seconds: 1.5,
            windows_bytes: 2_684_354.56,
            ..Gauges::default()
        };
        screen.snapshot.rows = ["acme", "globex"]
            .into_iter()
            .map(|connection| question::Row {
                integration: "crm".to_owned(),
                connection: connection.to_owned(),
                events: 600,
                routed: 60,
                debounced: 540,
                windows: 60,
                ..question::Row::default()
            })
            .collect();
        screen
    }

    /// What stands on a terminal of this size, line by line.
    fn drawn(screen: &Screen, (width, height): (u16, u16)) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, screen)).expect("a frame");
        let buffer = terminal.backend().buffer();
        let line = |y: u16| {
            let cells = (0..width).filter_map(|x| buffer.cell((x, y)));
            let line: String = cells.map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }

    #[test]
    fn the_screen_shows_what_is_held_and_who_is_hottest() {
        let mut screen = screen();
        let expected = [
            "the hottest connections of the last 60 s, by absorbed",
            "open windows 25 (oldest 1.5 s; 2.6 MiB, 1.0 % of what they may take)",
            "delivery ids 0 (0 B, 0.0 % of what they may take)",
            "objects 0 (0 B, 0.0 % of what they may take)",
            "not decided yet 0 messages; set aside 0 B; not checked for want of room 0 events",
            "",
            "integration  connection    events      /s  routed debounced windows duplicate   stale unchanged unwanted refused absorbed",
            "crm          acme             600    10.0      60       540      60         0       0         0        0       0     90 %",
            "crm          globex           600    10.0      60       540      60         0       0         0        0       0     90 %",
            "",
            KEYS,
        ];
        assert_eq!(drawn(&screen, (121, 11)), expected);
        screen.scrolled = 1;
        screen.paused = true;
        screen.failure = Some("the server does not answer".to_owned());
        let lines = drawn(&screen, (121, 11));
        assert!(lines[0].ends_with("by absorbed  paused"), "{lines:?}");
        assert!(lines[7].contains("globex") && lines[8].is_empty(), "{lines:?}");
        assert_eq!(lines[10], "not refreshed: the server does not answer");
    }

    #[test]
    fn any_size_of_terminal_will_do() {
        for size in [(1, 1), (20, 3), (80, 24), (300, 100)] {
            assert_eq!(drawn(&screen(), size).len(), usize::from(size.1));
        }
    }
}
