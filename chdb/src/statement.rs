//! What a statement is, found in its head alone: whether rows follow it, and where its result's format is named.
//!
//! In: the text of a request, as bytes; of an insert perhaps only its beginning. Out: a [`Statement`], and the SQL to give to the engine instead:
//! rows never stand in the text, since the engine loses binary ones there; they are read from a file descriptor. A result is written to one, so that
//! it streams in any format. It does not check the SQL: what it cannot make out goes to the engine as it is, whose error is the better one.

use crate::exception::{Exception, codes};
use crate::insert::Insert;
use crate::tokens::{Kind, Token, Tokens};

/// What a statement is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// An insert whose rows follow the statement, from the position `rows` on.
    Insert(Insert),
    /// A statement that returns rows.
    Rows(Rows),
    /// Any other; it returns nothing or little.
    Plain {
        /// Where it ends, a semicolon left out.
        end: usize,
    },
}

/// A statement that returns rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Where `FORMAT` stands, if it does.
    format_at: Option<usize>,
    /// The format that it names.
    pub(crate) format: Option<String>,
    end: usize,
}

const ROWS: [&str; 10] = [
    "SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "KILL",
];

impl Statement {
    /// Reads the head of `text`.
    pub(crate) fn parse(text: &[u8]) -> Result<Statement, Exception> {
        let mut tokens = Tokens::of(text);
        let mut ahead = tokens.clone();
        let Some(first) = ahead.find(|token| token.kind != Kind::Sign(b'(')) else {
            return Err(Exception::new(
                codes::SYNTAX_ERROR,
                "Syntax error: failed at position 1 (end of query): empty query.",
            ));
        };
        if first.is(text, "INSERT") {
            tokens.next();
            if let Some(insert) = Insert::parse(text, tokens)? {
                return Ok(Statement::Insert(insert));
            }
            let whole = Whole::parse(text)?;
            return Ok(Statement::Plain { end: whole.end });
        }
        let whole = Whole::parse(text)?;
        if !first.is_any(text, &ROWS) || whole.inserts {
            return Ok(Statement::Plain { end: whole.end });
        }
        if whole.outfile {
            return Err(Exception::new(
                codes::OUTFILE_REFUSED,
                "INTO OUTFILE is not allowed.",
            ));
        }
        Ok(Statement::Rows(whole.rows(text)))
    }
}

/// A statement without rows behind it, read to its end.
#[derive(Default)]
struct Whole {
    end: usize,
    format: Option<(Token, Token)>,
    outfile: bool,
    inserts: bool,
}

impl Whole {
    fn parse(text: &[u8]) -> Result<Whole, Exception> {
        let mut whole = Whole::default();
        let mut tokens = Tokens::of(text);
        let mut depth = 0_usize;
        while let Some(token) = tokens.next() {
            match token.kind {
                Kind::Sign(b'(' | b'[' | b'{') => depth += 1,
                Kind::Sign(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
                Kind::Sign(b';') => {
                    if let Some(extra) = tokens.find(|token| token.kind != Kind::Sign(b';')) {
                        return Err(several(extra.start));
                    }
                    break;
                }
                Kind::Word if depth == 0 => whole.word(text, token, &tokens),
                _ => {}
            }
            whole.end = token.end;
        }
        Ok(whole)
    }

    fn word(&mut self, text: &[u8], token: Token, tokens: &Tokens<'_>) {
        let next = tokens.clone().next();
        if token.is(text, "FORMAT")
            && let Some(name) = next.filter(|name| name.kind == Kind::Word)
        {
            self.format = Some((token, name));
        }
        self.inserts |= token.is(text, "INSERT");
        self.outfile |= token.is(text, "INTO") && next.is_some_and(|next| next.is(text, "OUTFILE"));
    }

    /// The format counts only as the last clause, or the last but for settings: elsewhere the word is a name.
    fn rows(self, text: &[u8]) -> Rows {
        let is_last = |name: &Token| {
            let behind = text.get(name.end..self.end).unwrap_or_default();
            Tokens::of(behind)
                .next()
                .is_none_or(|next| next.is(behind, "SETTINGS"))
        };
        let clause = self.format.filter(|(_, name)| is_last(name));
        let name = |token: Token| {
            String::from_utf8_lossy(text.get(token.start..token.end).unwrap_or_default()).into_owned()
        };
        Rows {
            format_at: clause.map(|(word, _)| word.start),
            format: clause.map(|(_, token)| name(token)),
            end: self.end,
        }
    }
}

fn several(position: usize) -> Exception {
    let sentence = format!(
        "Syntax error (Multi-statements are not allowed): failed at position {}.",
        position + 1
    );
    Exception::new(codes::SYNTAX_ERROR, sentence)
}

impl Rows {
    /// The statement with its result written to the open file `descriptor`; `default_format` where it names none.
    pub(crate) fn writing(&self, text: &[u8], descriptor: i32, default_format: &str) -> Vec<u8> {
        let part = |from, to| text.get(from..to).unwrap_or_default();
        let split = self.format_at.unwrap_or(self.end);
        let mut sql = part(0, split).to_vec();
        sql.extend_from_slice(format!("\nINTO OUTFILE '/proc/self/fd/{descriptor}' TRUNCATE ").as_bytes());
        match self.format_at {
            Some(_) => sql.extend_from_slice(part(split, self.end)),
            None => sql.extend_from_slice(format!("FORMAT {default_format}").as_bytes()),
        }
        sql
    }

    /// The statement as it was sent, without its semicolon.
    pub(crate) fn plain<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(..self.end).unwrap_or(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_rows(text: &str, sql: &str, format: Option<&str>) {
        let Ok(Statement::Rows(rows)) = Statement::parse(text.as_bytes()) else {
            panic!("no rows: {text:?}")
        };
        let found = String::from_utf8(rows.writing(text.as_bytes(), 7, "TSV")).unwrap();
        let wanted = sql.replace('@', "INTO OUTFILE '/proc/self/fd/7' TRUNCATE");
        assert_eq!(
            found.split_whitespace().collect::<Vec<_>>(),
            wanted.split_whitespace().collect::<Vec<_>>()
        );
        assert_eq!(rows.format.as_deref(), format, "{text:?}");
    }

    #[test]
    fn a_query_writes_its_rows_to_a_descriptor() {
        for (text, sql, format) in [
            ("SELECT 1", "SELECT 1 @ FORMAT TSV", None),
            ("SELECT 1 ; -- x", "SELECT 1 @ FORMAT TSV", None),
            ("SELECT 1 FORMAT JSON;", "SELECT 1 @ FORMAT JSON", Some("JSON")),
            (
                "SELECT 1 SETTINGS a=1 format JSON",
                "SELECT 1 SETTINGS a=1 @ format JSON",
                Some("JSON"),
            ),
            (
                "SELECT 1 FORMAT JSON SETTINGS a=1",
                "SELECT 1 @ FORMAT JSON SETTINGS a=1",
                Some("JSON"),
            ),
            ("SELECT format FROM t", "SELECT format FROM t @ FORMAT TSV", None),
            (
                "SELECT (SELECT 1 FORMAT x) a",
                "SELECT (SELECT 1 FORMAT x) a @ FORMAT TSV",
                None,
            ),
            (
                "(SELECT 1) UNION ALL (SELECT 2)",
                "(SELECT 1) UNION ALL (SELECT 2) @ FORMAT TSV",
                None,
            ),
            (
                "WITH 1 AS x SELECT 'a;b', x",
                "WITH 1 AS x SELECT 'a;b', x @ FORMAT TSV",
                None,
            ),
            ("SHOW TABLES", "SHOW TABLES @ FORMAT TSV", None),
            ("SELECT 1 -- FORMAT CSV", "SELECT 1 @ FORMAT TSV", None),
        ] {
            check_rows(text, sql, format);
        }
    }

    #[test]
    fn other_statements_go_as_they_are() {
        for (text, end) in [
            ("INSERT INTO t SELECT 1", 22),
            ("INSERT INTO t (a) (SELECT 1)", 28),
            ("INSERT INTO t WITH 1 AS x SELECT x", 34),
            ("INSERT INTO t FROM x SELECT 1", 29),
            ("CREATE TABLE t (a Int) ENGINE=Memory ; ", 36),
            ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", 50),
            ("ALTER TABLE t DELETE WHERE a = ';'", 34),
        ] {
            assert_eq!(
                Statement::parse(text.as_bytes()),
                Ok(Statement::Plain { end }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refusals_have_clickhouse_codes() {
        for (text, code) in [
            ("", 62),
            (" -- nothing\n", 62),
            ("SELECT 1; SELECT 2", 62),
            ("SELECT 1 INTO OUTFILE 'x'", 358),
            ("INSERT INTO t FROM INFILE 'x' FORMAT CSV", 78),
            ("INSERT INTO t FORMAT CSV; 1", 477),
        ] {
            assert_eq!(
                Statement::parse(text.as_bytes()).unwrap_err().code(),
                code,
                "{text:?}"
            );
        }
    }
}
