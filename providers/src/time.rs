//! Times as providers write them: unix seconds (with fractions), milliseconds, ISO 8601. In: text. Out: milliseconds
//! since 1970, or none when it is no such time. Reads no clock.

use serde::Deserialize;
use tidegate_schemas::UnixMillis;

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum TimeFormat {
    /// Unix seconds, with or without a fraction.
    #[serde(rename = "s")]
    Seconds,
    /// Unix milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// ISO 8601 and RFC 3339, compact too; without a zone it is UTC.
    #[serde(rename = "iso")]
    Iso,
}

impl TimeFormat {
    /// Reads a time.
    pub fn read(self, text: &[u8]) -> Option<UnixMillis> {
        let text = std::str::from_utf8(text).ok()?.trim();
        let millis = match self {
            TimeFormat::Seconds => {
                let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
                digits(seconds)?
                    .checked_mul(1000)?
                    .checked_add(thousandths(fraction)?)?
            }
            TimeFormat::Millis => {
                let (millis, fraction) = text.split_once('.').unwrap_or((text, ""));
                thousandths(fraction)?;
                digits(millis)?
            }
            TimeFormat::Iso => Iso(text.as_bytes()).read()?,
        };
        (millis <= UnixMillis::MAX.0).then_some(UnixMillis(millis))
    }

    /// Writes a time so that it is read as the same, to the second.
    pub fn write(self, time: UnixMillis) -> String {
        let seconds = time.seconds();
        match self {
            TimeFormat::Seconds => seconds.to_string(),
            TimeFormat::Millis => time.0.to_string(),
            TimeFormat::Iso => {
                let (year, month, day) = date_of(seconds / 86_400);
                let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
                format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
            }
        }
    }
}

/// The civil date of a day since 1970 (the proleptic Gregorian calendar, by eras of 400 years that begin in March).
fn date_of(day: u64) -> (u64, u64, u64) {
    let from_march = day + 719_468;
    let (era, of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A number of digits alone; at least one.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// The first three digits of a fraction.
fn thousandths(fraction: &str) -> Option<u64> {
    let digit = |n: usize| {
        fraction
            .as_bytes()
            .get(n)
            .map_or(0, |byte| u64::from(byte.wrapping_sub(b'0')))
    };
    fraction
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digit(0) * 100 + digit(1) * 10 + digit(2))
}

/// What is left to read of an ISO time.
struct Iso<'a>(&'a [u8]);

impl Iso<'_> {
    fn read(mut self) -> Option<u64> {
        let year = self.number(4)?;
        let dashed = self.pass(b'-');
        let month = self.number(2)?;
        if dashed && !self.pass(b'-') {
            return None;
        }
        let days = days_since_1970(year, month, self.number(2)?)?;
        let mut millis = i64::try_from(days).ok()?.checked_mul(86_400_000)?;
        if !self.0.is_empty() {
            if !(self.pass(b'T') || self.pass(b't') || self.pass(b' ')) {
                return None;
            }
            millis = millis.checked_add(i64::try_from(self.clock()?).ok()?)?;
            millis = millis.checked_sub(self.zone()?)?;
        }
        self.0
            .is_empty()
            .then_some(millis)
            .and_then(|millis| u64::try_from(millis).ok())
    }

    /// `hh:mm[:ss[.fraction]]`, or without colons.
    fn clock(&mut self) -> Option<u64> {
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        let colons = self.pass(b':');
        let minutes = self.number(2).filter(|minutes| *minutes < 60)?;
        let mut seconds = 0;
        if self.pass(b':') || (!colons && self.0.first().is_some_and(u8::is_ascii_digit)) {
            seconds = self.number(2).filter(|seconds| *seconds <= 60)?;
        }
        let mut thousandth = 0;
        if self.pass(b'.') || self.pass(b',') {
            let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (fraction, rest) = self.0.split_at_checked(length)?;
            thousandth = thousandths(
                std::str::from_utf8(fraction)
                    .ok()
                    .filter(|text| !text.is_empty())?,
            )?;
            self.0 = rest;
        }
        Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandth)
    }

    /// `Z`, `UTC`, `±hh`, `±hhmm` or `±hh:mm`, as milliseconds east of UTC; nothing is UTC.
    fn zone(&mut self) -> Option<i64> {
        self.pass(b' ');
        if self.0 == b"UTC" || self.0 == b"GMT" {
            self.0 = &[];
        }
        if self.0.is_empty() || self.pass(b'Z') || self.pass(b'z') {
            return Some(0);
        }
        let sign = if self.pass(b'+') {
            1
        } else if self.pass(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.number(2)?;
        self.pass(b':');
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.number(2).filter(|minutes| *minutes < 60)?
        };
        Some(sign * i64::try_from((hours * 60 + minutes) * 60_000).ok()?)
    }

    fn number(&mut self, length: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        digits(std::str::from_utf8(number).ok()?)
    }

    fn pass(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap),
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > longest {
        return None;
    }
    // Years begin in March here, so that a leap day is the last day of one.
    let year_of_march = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    let day_of_year = (153 * months + 2) / 5 + day - 1;
    let leaps = year_of_march / 4 - year_of_march / 100 + year_of_march / 400;
    (year_of_march * 365 + leaps + day_of_year).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(format: TimeFormat, text: &str, expected: Option<u64>) {
        assert_eq!(
            format.read(text.as_bytes()).map(|time| time.0),
            expected,
            "{text:?} as {format:?}"
        );
    }

    #[test]
    fn unix_times_are_read() {
        check(TimeFormat::Seconds, "1700000000", Some(1_700_000_000_000));
        check(TimeFormat::Seconds, "1700000000.5", Some(1_700_000_000_500));
        check(TimeFormat::Seconds, "1700000000.123456", Some(1_700_000_000_123));
        check(TimeFormat::Millis, "1700000000123", Some(1_700_000_000_123));
        for bad in [
            "",
            "-1",
            "+1",
            "1e9",
            "1700000000x",
            "99999999999999999999",
            "1.x",
            "１",
        ] {
            check(TimeFormat::Seconds, bad, None);
            check(TimeFormat::Millis, bad, None);
        }
    }

    #[test]
    fn iso_times_are_read() {
        let noon = 1_700_049_600_000;
        for text in [
            "2023-11-15T12:00:00Z",
            "2023-11-15T12:00:00",
            "2023-11-15 12:00:00",
            "2023-11-15T13:00:00+01:00",
            "2023-11-15T13:00:00+0100",
            "2023-11-15T13:00:00+01",
            "2023-11-15T07:30:00.000000-04:30",
            "20231115T120000Z",
            "2023-11-15T12:00Z",
            "2023-11-15 12:00:00 +0000",
            "2023-11-15 12:00:00 UTC",
        ] {
            check(TimeFormat::Iso, text, Some(noon));
        }
        check(TimeFormat::Iso, "2023-11-15T12:00:00.1234567Z", Some(noon + 123));
        check(TimeFormat::Iso, "2023-11-15", Some(noon - 43_200_000));
        check(TimeFormat::Iso, "1970-01-01T00:00:00Z", Some(0));
        check(TimeFormat::Iso, "2024-02-29T00:00:00Z", Some(1_709_164_800_000));
    }

    #[test]
    fn what_is_no_iso_time_is_none() {
        for bad in [
            "",
            "2023",
            "2023-13-01",
            "2023-02-29",
            "2023-11-15T25:00:00Z",
            "2023-11-15T12:00:00X",
            "2023-1115",
            "1969-12-31T23:59:59Z",
            "2023-11-15T12:00:00.Z",
            "2023-11-15Tnoon",
            "1970-01-01T00:00:00+01:00",
        ] {
            check(TimeFormat::Iso, bad, None);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            for format in [TimeFormat::Seconds, TimeFormat::Millis, TimeFormat::Iso] {
                let read = format.read(text.as_bytes());
                prop_assert!(read.is_none_or(|time| time <= UnixMillis::MAX));
            }
        }
    }
}
