//! What picking fields of a JSON body costs: CPU-µs of our scanner beside simd-json, sonic-rs and serde_json, on one body of a
//! push, for the fields that its definition reads. In: nothing (`data/webhook.toml`). Out: a table. Every way reads the whole
//! body, checks that it is JSON, and must find the same texts.
//!
//! Ours yields what the engine needs: places in the raw body (an event's payload is a span of it), numbers as they were sent, no
//! copy of the body. simd-json writes into its input, so the raw body, which is kept byte for byte, is copied first.

use std::hint::black_box;

use serde::Deserialize;
use simd_json::prelude::ValueAsScalar as _;
use sonic_rs::{JsonContainerTrait as _, JsonValueTrait as _};
use tidegate_bench::{Failure, cpu, webhook};
use tidegate_providers::JsonPaths;

const TIMES: u64 = 200_000;
/// What is picked of a push; those that are not there are looked for all the same.
const PATHS: [&str; 8] = [
    "action",
    "installation.id",
    "repository.full_name",
    "repository.id",
    "organization.login",
    "comment.id",
    "pull_request.id",
    "ref",
];

fn main() -> Result<(), Failure> {
    let choice = webhook::Choice::read(std::env::args().skip(1))?;
    let body = choice.signed("https://hooks.test/webhook/e/i")?.body;
    println!(
        "{} `{}`, {} bytes, {} paths",
        choice.provider,
        choice.case,
        body.len(),
        PATHS.len()
    );
    let paths = JsonPaths::new(&PATHS)?;
    let expected = ours(&paths, &body);
    println!("found: {}", expected.join(", "));
    let floor = report("UTF-8 check alone", None, || {
        black_box(std::str::from_utf8(black_box(&body)).is_ok());
    });
    report("memcpy of the body", Some(floor), || {
        black_box(black_box(&body).clone());
    });
    check("ours", &expected, &ours(&paths, &body));
    let own = report("ours: scan in place, then pick", None, || {
        let mut found = 0;
        let read = paths.pick(black_box(&body), |text| found += text.map_or(0, <[u8]>::len));
        assert!(read && found > 0);
    });
    let mut tape = Tape::default();
    check("simd-json tape", &expected, &tape.pick(&body));
    report("simd-json: copy, tape, pick", Some(own), || {
        black_box(tape.sum(black_box(&body)));
    });
    check("sonic-rs", &expected, &sonic(&body));
    report("sonic-rs: document, pick", Some(own), || {
        let document: sonic_rs::Value = sonic_rs::from_slice(black_box(&body)).expect("JSON");
        for path in PATHS {
            black_box(sonic_at(&document, path));
        }
    });
    report("sonic-rs: get, one path after another", Some(own), || {
        for path in PATHS {
            let names: Vec<&str> = path.split('.').collect();
            black_box(sonic_rs::get(black_box(body.as_slice()), &names).ok());
        }
    });
    report("serde_json: borrowed structs", Some(own), || {
        black_box(serde_json::from_slice::<Push<'_>>(black_box(&body)).expect("JSON"));
    });
    report("serde_json: Value, pick", Some(own), || {
        let document: serde_json::Value = serde_json::from_slice(black_box(&body)).expect("JSON");
        for path in PATHS {
            black_box(path.split('.').try_fold(&document, |at, name| at.get(name)));
        }
    });
    Ok(())
}

/// Prints CPU-µs a call, and the ratio to another; hands the figure back.
fn report(what: &str, beside: Option<f64>, act: impl FnMut()) -> f64 {
    let micros = cpu::micros_of_thread(TIMES, act);
    match beside {
        None => println!("{what:<40} {micros:>7.3} µs of CPU"),
        Some(other) => println!("{what:<40} {micros:>7.3} µs of CPU, {:>5.2} ×", micros / other),
    }
    micros
}

fn check(what: &str, expected: &[String], found: &[String]) {
    assert_eq!(expected, found, "{what} finds something else");
}

fn ours(paths: &JsonPaths, body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let read = paths.pick(body, |text| {
        found.push(text.map_or_else(
            || "-".to_owned(),
            |text| String::from_utf8_lossy(text).into_owned(),
        ));
    });
    assert!(read, "the body is JSON");
    found
}

/// simd-json's tape with its buffers, used again and again, as its fastest way wants it.
#[derive(Default)]
struct Tape {
    copy: Vec<u8>,
    buffers: simd_json::Buffers,
    tape: Option<simd_json::Tape<'static>>,
}

impl Tape {
    fn with<T>(&mut self, body: &[u8], pick: impl Fn(&simd_json::tape::Value<'_, '_>, &str) -> T) -> Vec<T> {
        self.copy.clear();
        self.copy.extend_from_slice(body);
        self.copy.resize(body.len() + simd_json::INPUT_PADDING, 0);
        let mut tape = self.tape.take().unwrap_or_else(simd_json::Tape::null).reset();
        let read = simd_json::fill_tape_padded(&mut self.copy, body.len(), &mut self.buffers, &mut tape);
        read.expect("JSON");
        let root = tape.as_value();
        let picked = PATHS.iter().map(|path| pick(&root, path)).collect();
        self.tape = Some(tape.reset());
        picked
    }

    fn sum(&mut self, body: &[u8]) -> usize {
        self.with(body, |root, path| usize::from(tape_at(*root, path).is_some()))
            .into_iter()
            .sum()
    }

    fn pick(&mut self, body: &[u8]) -> Vec<String> {
        self.with(body, |root, path| match tape_at(*root, path) {
            None => "-".to_owned(),
            Some(value) => match (value.as_str(), value.as_u64()) {
                (Some(text), _) => text.to_owned(),
                (None, Some(number)) => number.to_string(),
                (None, None) => "?".to_owned(),
            },
        })
    }
}

fn tape_at<'t, 'i>(
    root: simd_json::tape::Value<'t, 'i>,
    path: &str,
) -> Option<simd_json::tape::Value<'t, 'i>> {
    path.split('.')
        .try_fold(root, |at, name| at.as_object()?.get(name))
}

fn sonic(body: &[u8]) -> Vec<String> {
    let document: sonic_rs::Value = sonic_rs::from_slice(body).expect("JSON");
    let text = |path: &&str| match sonic_at(&document, path) {
        None => "-".to_owned(),
        Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    PATHS.iter().map(text).collect()
}

fn sonic_at<'v>(document: &'v sonic_rs::Value, path: &str) -> Option<&'v sonic_rs::Value> {
    path.split('.')
        .try_fold(document, |at, name| at.as_object()?.get(&name))
}

/// The same fields by derived code.
#[derive(Deserialize)]
#[allow(dead_code)] // What counts is that they are read.
struct Push<'b> {
    action: Option<&'b str>,
    installation: Option<Identified>,
    #[serde(borrow)]
    repository: Option<Repository<'b>>,
    organization: Option<Organization<'b>>,
    comment: Option<Identified>,
    pull_request: Option<Identified>,
    #[serde(rename = "ref")]
    name: Option<&'b str>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Identified {
    id: u64,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Repository<'b> {
    id: u64,
    full_name: &'b str,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Organization<'b> {
    login: &'b str,
}
