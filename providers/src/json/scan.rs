//! The scanner: walks JSON byte by byte where it must and sixteen bytes at a time inside strings and numbers, most of
//! which end within one such step. Checks all of RFC 8259 but the text encoding, which the document checks first. In: bytes.
//! Out: places; an error says where it broke.

use std::ops::Range;

use super::JsonError;
use super::lanes::{self, LANES};
use crate::config::JSON_DEPTH_LIMIT;

/// A place in bytes that are being read as JSON.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: u32,
}

/// Where a member of an object stands: its name inside the quotes, whether that holds escapes, and its value.
pub(super) struct Place {
    pub key: Range<usize>,
    pub escaped: bool,
    pub value: Range<usize>,
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8], depth_max: u32) -> Self {
        Self {
            bytes,
            at: 0,
            depth_max: depth_max.min(JSON_DEPTH_LIMIT),
        }
    }

    /// Over bytes that were found to be JSON before.
    pub fn validated(bytes: &'a [u8]) -> Self {
        Self::new(bytes, JSON_DEPTH_LIMIT)
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn jump(&mut self, at: usize) {
        self.at = at;
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes this byte and nothing else.
    pub fn pass(&mut self, byte: u8) -> Result<(), JsonError> {
        self.expect(byte)
    }

    /// Passes a string: its place inside the quotes, and whether it holds escapes.
    pub fn text(&mut self) -> Result<(Range<usize>, bool), JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        let escaped = self.skip_string()?;
        Ok((start..self.at - 1, escaped))
    }

    /// Whether another member or element follows; the comma before it is passed.
    pub fn goes_on(&mut self, end: u8) -> Result<bool, JsonError> {
        self.skip_space();
        if self.peek() == Some(end) {
            return Ok(false);
        }
        self.expect(b',')?;
        self.skip_space();
        if self.peek() == Some(end) {
            return self.broken();
        }
        Ok(true)
    }

    fn broken<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax(self.at))
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return self.broken();
        }
        self.at += 1;
        Ok(())
    }

    /// Passes one value, nested `depth` deep.
    pub fn skip_value(&mut self, depth: u32) -> Result<(), JsonError> {
        if depth > self.depth_max {
            return Err(JsonError::Depth(self.at));
        }
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.skip_string().map(|_| ())
            }
            Some(b'{') => self.members(depth, |_| {}),
            Some(b'[') => self.each(depth, |_| true),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            Some(b't') => self.skip_word(b"true"),
            Some(b'f') => self.skip_word(b"false"),
            Some(b'n') => self.skip_word(b"null"),
            _ => self.broken(),
        }
    }

    /// Passes an object, naming each member's place.
    pub fn object(&mut self, member: impl FnMut(Place)) -> Result<(), JsonError> {
        self.members(0, member)
    }

    /// Passes an array, naming each element until the visitor has enough.
    pub fn array(&mut self, element: impl FnMut(Range<usize>) -> bool) -> Result<(), JsonError> {
        self.each(0, element)
    }

    fn members(&mut self, depth: u32, mut member: impl FnMut(Place)) -> Result<(), JsonError> {
        self.expect(b'{')?;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.expect(b'"')?;
            let key_start = self.at;
            let escaped = self.skip_string()?;
            let key = key_start..self.at - 1;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let start = self.at;
            self.skip_value(depth + 1)?;
            let value = start..self.at;
            member(Place { key, escaped, value });
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.broken(),
            }
            self.skip_space();
        }
    }

    fn each(&mut self, depth: u32, mut element: impl FnMut(Range<usize>) -> bool) -> Result<(), JsonError> {
        self.expect(b'[')?;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let start = self.at;
            self.skip_value(depth + 1)?;
            if !element(start..self.at) {
                return Ok(());
            }
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.broken(),
            }
            self.skip_space();
        }
    }

    /// Passes a string whose opening quote is passed; says whether it holds escapes.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, JsonError> {
        let mut escaped = false;
        loop {
            self.at += self.run(lanes::special);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.skip_escape()?;
                }
                Some(0x20..) => self.at += 1,
                _ => return self.broken(),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or_default();
                if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return self.broken();
                }
                self.at += 5;
            }
            _ => return self.broken(),
        }
        Ok(())
    }

    fn skip_word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self
            .bytes
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            return self.broken();
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits()?,
            _ => return self.broken(),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += self.run(lanes::not_digit);
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.broken() } else { Ok(()) }
    }

    /// How many bytes from here on come before the first that `ends` sets a bit for; the document's last few are not looked at.
    #[inline]
    fn run(&self, ends: impl Fn(&[u8; LANES]) -> u32) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut passed = 0;
        while let Some(found) = rest.get(passed..).and_then(<[u8]>::first_chunk).map(&ends) {
            if found != 0 {
                return passed + found.trailing_zeros() as usize;
            }
            passed += LANES;
        }
        passed
    }
}
