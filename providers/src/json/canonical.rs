//! A hash of what a JSON value means: members in the order of their names, numbers by value, text without its escapes,
//! and nothing of what is ignored. In: bytes, in one pass. Out: a hash; none where the bytes are no JSON. Builds no
//! document and no text, but for names and texts that hold escapes.

use std::borrow::Cow;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::scan::Scanner;
use super::{JsonError, unescaped};
use crate::config::JSON_DEPTH_LIMIT;
use crate::path::{Path, Step};

/// The hash of the value that `bytes` hold; members at the paths in `ignored` do not count.
pub(crate) fn canonical_hash(bytes: &[u8], ignored: &[Path], seed: u64) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?;
    u32::try_from(bytes.len()).ok()?;
    let mut walk = Walk {
        bytes,
        scanner: Scanner::new(bytes, JSON_DEPTH_LIMIT),
        members: Vec::with_capacity(64),
        seed,
    };
    let ignored: Vec<&[Step]> = ignored.iter().map(|path| path.0.as_slice()).collect();
    walk.scanner.skip_space();
    let hash = walk.value(0, &ignored).ok()?;
    walk.scanner.skip_space();
    walk.scanner.peek().is_none().then_some(hash)
}

struct Walk<'b> {
    bytes: &'b [u8],
    scanner: Scanner<'b>,
    /// The members of all objects that are open, the innermost one's last.
    members: Vec<Member<'b>>,
    seed: u64,
}

struct Member<'b> {
    name: Cow<'b, [u8]>,
    value: u64,
}

/// What a hash is of: values of different kinds never have the same one.
#[derive(Clone, Copy)]
enum Kind {
    Object = 1,
    Array = 2,
    Text = 3,
    Number = 4,
    Word = 5,
}

impl<'b> Walk<'b> {
    fn value(&mut self, depth: u32, ignored: &[&[Step]]) -> Result<u64, JsonError> {
        if depth > JSON_DEPTH_LIMIT {
            return Err(JsonError::Depth(self.scanner.at()));
        }
        let start = self.scanner.at();
        match self.scanner.peek() {
            Some(b'{') => self.object(depth, ignored),
            Some(b'[') => self.array(depth, ignored),
            Some(b'"') => {
                let (span, escaped) = self.scanner.text()?;
                Ok(self.of(Kind::Text, &self.text(span, escaped)))
            }
            Some(b'-' | b'0'..=b'9') => {
                self.scanner.skip_value(depth)?;
                Ok(self.number(self.raw(start)))
            }
            _ => {
                self.scanner.skip_value(depth)?;
                Ok(self.of(Kind::Word, self.raw(start)))
            }
        }
    }

    fn object(&mut self, depth: u32, ignored: &[&[Step]]) -> Result<u64, JsonError> {
        let first = self.members.len();
        self.scanner.pass(b'{')?;
        self.scanner.skip_space();
        while self.scanner.peek() != Some(b'}') {
            let (span, escaped) = self.scanner.text()?;
            let name = self.text(span, escaped);
            self.scanner.skip_space();
            self.scanner.pass(b':')?;
            self.scanner.skip_space();
            let (is_ignored, inside) = inside(ignored, |step| match step {
                Step::Name(wanted) => wanted.as_bytes() == &*name,
                Step::Glob(glob) => glob.fits(&name),
                Step::Index(_) | Step::Each | Step::Dynamic(_) => false,
            });
            if is_ignored {
                self.scanner.skip_value(depth + 1)?;
            } else {
                let value = self.value(depth + 1, &inside)?;
                self.members.push(Member { name, value });
            }
            if !self.scanner.goes_on(b'}')? {
                break;
            }
        }
        self.scanner.pass(b'}')?;
        // Of repeated names the last counts, as other parsers have it: the sort keeps their order.
        self.members[first..].sort_by(|a, b| a.name.cmp(&b.name));
        let mut hash = Kind::Object as u64;
        let members = &self.members[first..];
        for (at, member) in members.iter().enumerate() {
            if members.get(at + 1).is_some_and(|next| next.name == member.name) {
                continue;
            }
            hash = mix(hash, self.of(Kind::Text, &member.name));
            hash = mix(hash, member.value);
        }
        self.members.truncate(first);
        Ok(hash)
    }

    fn array(&mut self, depth: u32, ignored: &[&[Step]]) -> Result<u64, JsonError> {
        self.scanner.pass(b'[')?;
        self.scanner.skip_space();
        let mut hash = Kind::Array as u64;
        let mut at = 0;
        while self.scanner.peek() != Some(b']') {
            let (is_ignored, inside) = inside(ignored, |step| match step {
                Step::Index(wanted) => *wanted == at,
                Step::Each => true,
                Step::Name(_) | Step::Glob(_) | Step::Dynamic(_) => false,
            });
            if is_ignored {
                self.scanner.skip_value(depth + 1)?;
            } else {
                hash = mix(hash, self.value(depth + 1, &inside)?);
            }
            at += 1;
            if !self.scanner.goes_on(b']')? {
                break;
            }
        }
        self.scanner.pass(b']')?;
        Ok(hash)
    }

    /// A number by its exact value: its digits without zeros at either end, and where the point stands.
    fn number(&self, raw: &[u8]) -> u64 {
        let (negative, rest) = raw.strip_prefix(b"-").map_or((false, raw), |rest| (true, rest));
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'e' | b'E'))
            .unwrap_or(rest.len());
        let (digits, exponent) = rest.split_at(end);
        let exponent = std::str::from_utf8(exponent.get(1..).unwrap_or_default()).unwrap_or_default();
        let point = digits
            .iter()
            .position(|byte| *byte == b'.')
            .unwrap_or(digits.len());
        let is_digit = |at: &usize| digits.get(*at).is_some_and(u8::is_ascii_digit);
        let significant = |at: &usize| is_digit(at) && digits.get(*at) != Some(&b'0');
        let Some(first) = (0..digits.len()).find(significant) else {
            return self.of(Kind::Number, b"0");
        };
        let last = (0..digits.len()).rfind(significant).unwrap_or(first);
        // An exponent beyond all measure stays as it is written: it is compared, not reckoned with.
        let scale = match (exponent, exponent.parse::<i64>()) {
            ("", _) => 0,
            (_, Ok(exponent)) if exponent.unsigned_abs() < 1 << 40 => exponent,
            _ => return self.of(Kind::Number, raw),
        };
        // The place of the first digit, counted from the point.
        let place = match first < point {
            true => (point - first) as i64,
            false => -((first - point - 1) as i64),
        };
        let mut hash = mix(
            Kind::Number as u64 + (u64::from(negative) << 8),
            (place + scale).cast_unsigned(),
        );
        for digit in digits
            .get(first..=last)
            .unwrap_or_default()
            .iter()
            .filter(|digit| digit.is_ascii_digit())
        {
            hash = mix(hash, u64::from(*digit));
        }
        mix(hash, self.seed)
    }

    fn of(&self, kind: Kind, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.seed ^ (kind as u64) << 56)
    }

    fn raw(&self, start: usize) -> &'b [u8] {
        self.bytes.get(start..self.scanner.at()).unwrap_or_default()
    }

    /// The text of a span inside quotes; one that stands for no text is taken as it is written.
    fn text(&self, span: Range<usize>, escaped: bool) -> Cow<'b, [u8]> {
        let raw = self.bytes.get(span).unwrap_or_default();
        if !escaped {
            return Cow::Borrowed(raw);
        }
        unescaped(raw).unwrap_or(Cow::Borrowed(raw))
    }
}

/// Whether one of the paths ends at a step that fits, and what is left of those that go on behind it.
fn inside<'p>(paths: &[&'p [Step]], fits: impl Fn(&Step) -> bool) -> (bool, Vec<&'p [Step]>) {
    let mut rest = Vec::new();
    for path in paths {
        match path.split_first() {
            Some((step, [])) if fits(step) => return (true, Vec::new()),
            Some((step, behind)) if fits(step) => rest.push(behind),
            _ => {}
        }
    }
    (false, rest)
}

/// Two hashes as one, in their order.
fn mix(hash: u64, next: u64) -> u64 {
    let product = u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(next ^ 0xe703_7ed1_a0b4_28db);
    ((product >> 64) as u64 ^ product as u64).rotate_left(23) ^ next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(json: &str, ignored: &[&str]) -> Option<u64> {
        let ignored: Vec<Path> = ignored
            .iter()
            .map(|path| Path::parse(path).expect("a path"))
            .collect();
        canonical_hash(json.as_bytes(), &ignored, 7)
    }

    /// Whether two texts mean the same, as the hash has it.
    fn check(a: &str, b: &str, same: bool) {
        let (of_a, of_b) = (hash(a, &[]).expect(a), hash(b, &[]).expect(b));
        assert_eq!(of_a == of_b, same, "{a} and {b}");
    }

    #[test]
    fn what_means_the_same_has_one_hash() {
        check(
            r#"{"a":1,"b":[true,null]}"#,
            " { \"b\" : [ true , null ] , \"a\" : 1 } ",
            true,
        );
        check(r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true);
        check(r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"y":2,"x":1}}"#, true);
        check(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, false);
        check(r#"{"a":1}"#, r#"{"a":"1"}"#, false);
        check(r#"{"a":1}"#, r#"{"b":1}"#, false);
        check(r#"{"a":null}"#, "{}", false);
        check("[]", "{}", false);
        check("[[]]", "[]", false);
        check(r#"[{"a":1},{"b":2}]"#, r#"[{"a":1,"b":2}]"#, false);
        check("true", "false", false);
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let same = ["1", "1.0", "1.000", "10e-1", "0.1e1", "1E0", "100e-2"];
        same.iter().for_each(|other| check("1", other, true));
        check("0", "-0", true);
        check("0", "0.000e99", true);
        check("1e21", "1000000000000000000000", true);
        check("4.50", "4.5", true);
        check("0.002", "2e-3", true);
        check("333333333.33333329", "333333333.33333330", false);
        check("9007199254740993", "9007199254740992", false);
        check("1", "-1", false);
        check("1", "10", false);
        check("105", "15", false);
        check("1.05", "10.5", false);
    }

    /// The names of RFC 8785 §3.2.3, whose order by code units is another than by characters, and its strings.
    #[test]
    fn the_edge_cases_of_rfc_8785() {
        check(
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew","1":"One","\ud83d\ude00":"Emoji","\u0080":"Control","\u00f6":"o"}"#,
            "{\"1\":\"One\",\"\\u000d\":\"Carriage Return\",\"\u{80}\":\"Control\",\"ö\":\"o\",\"€\":\"Euro Sign\",\"😀\":\"Emoji\",\"\u{fb33}\":\"Hebrew\"}",
            true,
        );
        check(
            r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
            r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
            true,
        );
        check(r#""\u00e9""#, "\"e\u{301}\"", false);
        check(r#""\ud800""#, r#""\ud801""#, false);
        check(
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001]}"#,
            r#"{"numbers":[333333333.33333329,1000000000000000000000000000000,4.5,0.002,1e-27]}"#,
            true,
        );
    }

    #[test]
    fn what_is_ignored_does_not_count() {
        let same = |a: &str, b: &str, ignored: &[&str]| {
            assert_eq!(
                hash(a, ignored).expect(a),
                hash(b, ignored).expect(b),
                "{a} {b} {ignored:?}"
            );
        };
        same(r#"{"a":1,"t":5}"#, r#"{"t":6,"a":1}"#, &["t"]);
        same(r#"{"a":1,"t":5}"#, r#"{"a":1}"#, &["t"]);
        same(r#"{"m":{"t":1,"x":2}}"#, r#"{"m":{"x":2,"t":[9]}}"#, &["m.t"]);
        same(r#"{"l":[{"t":1},{"t":2}]}"#, r#"{"l":[{"t":3},{}]}"#, &["l[].t"]);
        same(r#"{"l":[1,2]}"#, r#"{"l":[9,2]}"#, &["l[0]"]);
        same(r#"{"a_at":1,"b_at":2,"c":3}"#, r#"{"a_at":9,"c":3}"#, &["*_at"]);
        assert_ne!(hash(r#"{"m":{"t":1}}"#, &["t"]), hash(r#"{"m":{"t":2}}"#, &["t"]));
    }

    #[test]
    fn what_is_no_json_has_no_hash() {
        let nested = "[".repeat(200);
        for broken in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "01",
            "1 2",
            "nul",
            "\"\u{1}\"",
            &nested,
            "{\"a\":1,}",
        ] {
            assert_eq!(hash(broken, &[]), None, "{broken}");
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1000i32..1000).prop_map(|n| (f64::from(n) / 8.0).into()),
            ".{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::hash_map("[a-c\u{e9}\"]{0,2}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_values_and_only_they_have_equal_hashes(a in any_json(), b in any_json()) {
            let plain = hash(&a.to_string(), &[]).expect("JSON");
            let pretty = serde_json::to_string_pretty(&a).expect("writes");
            prop_assert_eq!(hash(&pretty, &[]), Some(plain));
            prop_assert_eq!(hash(&b.to_string(), &[]) == Some(plain), a == b || by_value(&a) == by_value(&b));
        }

        #[test]
        fn hostile_bytes_never_panic(text in "[\\[\\]{}\",:0-9eE.\\-tfn\\\\u ]{0,60}") {
            let parses = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            if hash(&text, &[]).is_some() {
                prop_assert!(parses || text.contains("\\u") || text.contains(['e', 'E']), "{}", text);
            }
        }
    }

    /// The same with every number as text of its value, so that 1 and 1.0 are equal.
    fn by_value(json: &serde_json::Value) -> serde_json::Value {
        match json {
            serde_json::Value::Number(number) if number.is_f64() => {
                let number = number.as_f64().unwrap_or_default();
                if number.fract() == 0.0 {
                    (number as i64).into()
                } else {
                    number.into()
                }
            }
            serde_json::Value::Array(all) => all.iter().map(by_value).collect::<Vec<_>>().into(),
            serde_json::Value::Object(all) => serde_json::Value::Object(
                all.iter()
                    .map(|(name, value)| (name.clone(), by_value(value)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }
}
