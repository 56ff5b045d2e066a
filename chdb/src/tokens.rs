//! ClickHouse's SQL cut into tokens, as far as finding the end of a statement's head needs it.
//!
//! In: bytes. Out: [`Token`]s with their positions; comments and white space are passed over. It never fails: what cannot be a token
//! (a string that does not end) is one [`Kind::Broken`] token up to the end, and the engine then says what is wrong with it.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word or a number.
    Word,
    /// A name in backquotes or double quotes.
    Name,
    /// A string, or a here document.
    Text,
    /// Any other byte.
    Sign(u8),
    /// A quote or comment that does not end.
    Broken,
}

/// A token and its bytes' positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    /// Whether this is the bare word `word`, in any case.
    pub(crate) fn is(&self, text: &[u8], word: &str) -> bool {
        self.kind == Kind::Word
            && text
                .get(self.start..self.end)
                .is_some_and(|own| own.eq_ignore_ascii_case(word.as_bytes()))
    }

    pub(crate) fn is_any(&self, text: &[u8], words: &[&str]) -> bool {
        words.iter().any(|word| self.is(text, word))
    }
}

/// The tokens of `text` from a position on.
#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Tokens { text, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over white space and comments; false when a comment does not end.
    fn skip(&mut self) -> bool {
        loop {
            let rest = self.rest();
            match rest {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, ..] => self.at += 1,
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => {
                    self.at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                }
                [b'/', b'*', inside @ ..] => match find(inside, b"*/") {
                    Some(length) => self.at += length + 4,
                    None => return false,
                },
                _ => return true,
            }
        }
    }

    fn token(&mut self, kind: Kind, length: usize) -> Token {
        let start = self.at;
        self.at = (start + length).min(self.text.len());
        Token {
            kind,
            start,
            end: self.at,
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if !self.skip() {
            return Some(self.token(Kind::Broken, usize::MAX / 2));
        }
        let rest = self.rest();
        let (kind, length) = match *rest.first()? {
            quote @ (b'`' | b'"') => (Kind::Name, quoted(rest, quote)),
            b'\'' => (Kind::Text, quoted(rest, b'\'')),
            b'$' => here_document(rest).map_or((Kind::Word, Some(word(rest).max(1))), |length| {
                (Kind::Text, Some(length))
            }),
            byte if is_word(byte) => (Kind::Word, Some(word(rest))),
            byte => (Kind::Sign(byte), Some(1)),
        };
        Some(match length {
            Some(length) => self.token(kind, length),
            None => self.token(Kind::Broken, usize::MAX / 2),
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn word(text: &[u8]) -> usize {
    text.iter().position(|&byte| !is_word(byte)).unwrap_or(text.len())
}

/// The length of what `text` begins with up to its closing quote; a doubled quote and one behind a backslash are inside.
fn quoted(text: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            _ if byte == quote && text.get(at + 1) == Some(&quote) => at += 2,
            _ if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The length of `$tag$ … $tag$`.
fn here_document(text: &[u8]) -> Option<usize> {
    let tag_length = 2 + text.get(1..)?.iter().position(|&byte| byte == b'$')?;
    let tag = text.get(..tag_length)?;
    let inside = tag.get(1..tag_length - 1)?;
    if !inside
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return None;
    }
    let length = find(text.get(tag_length..)?, tag)?;
    Some(tag_length + length + tag_length)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, wanted: &[&str]) {
        let found: Vec<_> = Tokens::of(text.as_bytes())
            .map(|token| &text[token.start..token.end])
            .collect();
        assert_eq!(found, wanted, "{text:?}");
    }

    #[test]
    fn quotes_comments_and_words_are_told_apart() {
        check("select 1", &["select", "1"]);
        check("a -- b\n c", &["a", "c"]);
        check("a/* ; */b", &["a", "b"]);
        check("a #! x\n# y\nb", &["a", "b"]);
        check(r"'a''b\';c' `x``;` d", &[r"'a''b\';c'", "`x``;`", "d"]);
        check("$a$ ' ; $a$ b", &["$a$ ' ; $a$", "b"]);
        check(
            "x.y({p:Int32})",
            &["x", ".", "y", "(", "{", "p", ":", "Int32", "}", ")"],
        );
        check("a 'open ; b", &["a", "'open ; b"]);
        check("a /* open", &["a", "/* open"]);
    }

    proptest! {
        #[test]
        fn every_token_lies_behind_the_one_before(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut end = 0;
            for token in Tokens::of(&text) {
                prop_assert!(token.start >= end && token.end > token.start && token.end <= text.len());
                end = token.end;
            }
        }
    }
}
