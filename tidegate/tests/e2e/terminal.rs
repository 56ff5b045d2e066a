//! A program on a real terminal: `script` gives it one, and what it writes there is read as a screen. In: a command, keys.
//! Out: the screen's lines, and whether the terminal is left as it was found. Knows no more of terminals than what moves
//! the cursor, clears, and switches screens; colours are passed over.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_testkit::server::{Launch, PATIENCE};

/// The terminal's size: rows and columns.
const SIZE: (usize, usize) = (30, 130);
/// Begins what the shell prints behind the program.
const ENDED: &str = "ended with";

/// A program that runs on a terminal.
pub struct Session {
    script: Child,
    keys: ChildStdin,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    /// Runs a command of the program.
    pub fn of(launch: &Launch, arguments: &str) -> Self {
        let command = launch.command(&[]);
        let program = command
            .get_program()
            .to_str()
            .expect("the program's path is text");
        let (rows, columns) = SIZE;
        let line = format!(
            "stty rows {rows} cols {columns}; sh -c 'echo process $$; exec \"{program}\" {arguments}'; echo {ENDED} $?; stty -a"
        );
        let mut shell = Command::new("script");
        shell.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        let mut script = shell
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is installed: apt-get install bsdutils");
        let (written, mut output) = (Arc::default(), script.stdout.take().expect("a pipe"));
        let writes: Arc<Mutex<Vec<u8>>> = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = output.read(&mut buffer) {
                let mut written = writes.lock().expect("nobody panics with it");
                written.extend_from_slice(&buffer[..bytes]);
            }
        });
        let keys = script.stdin.take().expect("a pipe");
        Self {
            script,
            keys,
            written,
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
        self.keys.flush().expect("the terminal takes keys");
    }

    /// What stands on the screen now.
    pub fn screen(&self) -> Screen {
        let written = self.written.lock().expect("nobody panics with it");
        Screen::of(&String::from_utf8_lossy(&written))
    }

    /// Waits until the screen is as wanted.
    pub fn until(&self, wanted: &str, is_wanted: impl Fn(&Screen) -> bool) -> Screen {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if is_wanted(&screen) {
                return screen;
            }
            assert!(began.elapsed() < PATIENCE, "{wanted}:\n{}", screen.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a text stands on the screen.
    pub fn shows(&self, text: &str) -> Screen {
        self.until(text, |screen| screen.text().contains(text))
    }

    /// The id of the program's process.
    pub fn process(&self) -> i32 {
        let screen = self.until("its process", |screen| screen.plain.contains("process "));
        let id = screen.plain.split("process ").nth(1).expect("it is there");
        let id: String = id.chars().take_while(char::is_ascii_digit).collect();
        id.parse().expect("a process id")
    }

    /// Waits for the program's end: its status, and that the terminal is as it was.
    pub fn ends(mut self) -> i32 {
        // The last word of what stty says of a terminal.
        let screen = self.until("its end", |screen| screen.plain.contains("extproc"));
        let (_, behind) = screen
            .plain
            .split_once(ENDED)
            .expect("the shell says how it ended");
        let status: String = behind
            .trim_start()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        for mode in ["icanon", "echo", "isig", "icrnl", "opost"] {
            let is_on = behind.split([' ', '\n', '\r', ';']).any(|word| word == mode);
            assert!(is_on, "the terminal is left without {mode}: {behind}");
        }
        assert!(!screen.is_alternate, "the other screen is left");
        assert!(screen.has_cursor, "the cursor is shown again");
        self.script.wait().expect("script ends");
        status.parse().expect("a status")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // That it has already ended does not matter here; what it runs ends with its terminal.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// What stands on a terminal.
pub struct Screen {
    lines: Vec<Vec<char>>,
    /// Where the next character goes: row, column.
    cursor: (usize, usize),
    /// Whether the cursor is shown.
    pub has_cursor: bool,
    /// Whether it is the screen of a program, and not the one on which the shell writes.
    pub is_alternate: bool,
    /// What was written on the shell's screen, in order.
    pub plain: String,
}

impl Screen {
    fn of(written: &str) -> Self {
        let mut screen = Self {
            lines: vec![vec![' '; SIZE.1]; SIZE.0],
            cursor: (0, 0),
            has_cursor: true,
            is_alternate: false,
            plain: String::new(),
        };
        let mut rest = written.chars();
        while let Some(next) = rest.next() {
            match next {
                '\x1b' => {
                    // Sequences of two characters are passed over.
                    if rest.next() == Some('[') {
                        let mut sequence = String::new();
                        let last = rest.by_ref().find(|c| {
                            let ends = ('@'..='~').contains(c);
                            if !ends {
                                sequence.push(*c);
                            }
                            ends
                        });
                        screen.take(&sequence, last.unwrap_or(' '));
                    }
                }
                _ if !screen.is_alternate => screen.plain.push(next),
                '\r' => screen.cursor.1 = 0,
                '\n' => screen.cursor.0 += 1,
                _ => screen.put(next),
            }
        }
        screen
    }

    /// Its lines, without the blanks at their ends.
    pub fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| line.iter().collect::<String>());
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn put(&mut self, character: char) {
        let (row, column) = self.cursor;
        if let Some(place) = self.lines.get_mut(row).and_then(|line| line.get_mut(column)) {
            *place = character;
        }
        self.cursor.1 += 1;
    }

    fn take(&mut self, sequence: &str, last: char) {
        let number = |at: usize, default: usize| {
            let numbers = sequence.split(';').nth(at);
            numbers.and_then(|number| number.parse().ok()).unwrap_or(default)
        };
        match (sequence, last) {
            ("?25", 'h' | 'l') => self.has_cursor = last == 'h',
            ("?1049", 'h' | 'l') => {
                self.is_alternate = last == 'h';
                self.clear(0);
            }
            (_, 'H') => self.cursor = (number(0, 1) - 1, number(1, 1) - 1),
            (_, 'A') => self.cursor.0 = self.cursor.0.saturating_sub(number(0, 1)),
            (_, 'B') => self.cursor.0 += number(0, 1),
            (_, 'C') => self.cursor.1 += number(0, 1),
            (_, 'D') => self.cursor.1 = self.cursor.1.saturating_sub(number(0, 1)),
            ("2", 'J') => self.clear(0),
            (_, 'J') => self.clear(self.cursor.0),
            (_, 'K') => {
                let (row, column) = self.cursor;
                for place in self.lines.iter_mut().skip(row).take(1).flatten().skip(column) {
                    *place = ' ';
                }
            }
            _ => {}
        }
    }

    fn clear(&mut self, from: usize) {
        for place in self.lines.iter_mut().skip(from).flatten() {
            *place = ' ';
        }
    }
}
