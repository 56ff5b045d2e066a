//! What a statement is, found in its head alone: whether rows follow it, and where its result's format is named.
//!
//! In: the text of a request, as bytes; of an insert perhaps only its beginning. Out: a [`Statement`], and the SQL to give to the engine instead:
//! rows never stand in the text, since the engine loses binary ones there; they are read from a file descriptor. A result is written to one, so that
//! it streams in any format. It does not check the SQL: what it cannot make out goes to the engine as it is, whose error is the better one.

use crate::exception::{Exception, codes};
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

/// An insert whose rows follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Insert {
    /// Where the table and its list of columns end.
    target_end: usize,
    /// Where the statement ends, `VALUES` left out.
    end: usize,
    /// Where the rows begin.
    pub(crate) rows: usize,
    format: InsertFormat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum InsertFormat {
    Named,
    Values,
    Absent,
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

impl Insert {
    /// `None` when the rows come from a query.
    fn parse(text: &[u8], tokens: Tokens<'_>) -> Result<Option<Insert>, Exception> {
        let mut cursor = Cursor { text, tokens, end: 0 };
        cursor.skip("INTO");
        if !cursor.peek().is_some_and(|next| next.is(text, "TABLE")) || cursor.second_names() {
            cursor.skip("TABLE");
        }
        let is_function = cursor.second_names() && cursor.skip("FUNCTION");
        loop {
            cursor.part();
            if !cursor.peek().is_some_and(|next| next.kind == Kind::Sign(b'.')) {
                break;
            }
            cursor.part();
        }
        if is_function {
            cursor.part();
        }
        if cursor.peek().is_some_and(|next| next.kind == Kind::Sign(b'(')) && !cursor.opens_query() {
            cursor.part();
        }
        cursor.clauses()
    }

    /// Rows begin after the first line break behind the format, else after the spaces.
    fn after_format(mut self, text: &[u8]) -> Result<Insert, Exception> {
        let at = |position: usize| text.get(position).copied();
        if at(self.rows) == Some(b';') {
            let sentence = "You have excessive ';' symbol before data for INSERT.";
            return Err(Exception::new(codes::EXCESSIVE_SEMICOLON, sentence));
        }
        while matches!(at(self.rows), Some(b' ' | b'\t' | 0x0c)) {
            self.rows += 1;
        }
        if at(self.rows) == Some(b'\r') {
            self.rows += 1;
        }
        if at(self.rows) == Some(b'\n') {
            self.rows += 1;
        }
        Ok(self)
    }

    /// The statement with its rows in the open file `descriptor`; `default_format` where it names none.
    pub(crate) fn reading(&self, text: &[u8], descriptor: i32, default_format: Option<&str>) -> Vec<u8> {
        let part = |from, to| text.get(from..to).unwrap_or_default();
        let mut sql = part(0, self.target_end).to_vec();
        sql.extend_from_slice(
            format!("\nFROM INFILE '/proc/self/fd/{descriptor}' COMPRESSION 'none' ").as_bytes(),
        );
        sql.extend_from_slice(part(self.target_end, self.end));
        match self.format {
            InsertFormat::Named => {}
            InsertFormat::Values => sql.extend_from_slice(b"\nFORMAT Values"),
            InsertFormat::Absent => {
                sql.extend_from_slice(format!("\nFORMAT {}", default_format.unwrap_or("Values")).as_bytes())
            }
        }
        sql
    }
}

/// Walks the head of an insert.
struct Cursor<'a> {
    text: &'a [u8],
    tokens: Tokens<'a>,
    /// Where the last part taken ends.
    end: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.clone().next()
    }

    /// Whether the token after the next is a name: then the next may be a keyword before it.
    fn second_names(&self) -> bool {
        let second = self.tokens.clone().nth(1);
        let clause = ["VALUES", "FORMAT", "SETTINGS", "SELECT", "WITH", "FROM"];
        second.is_some_and(|token| {
            matches!(token.kind, Kind::Word | Kind::Name | Kind::Sign(b'{'))
                && !token.is_any(self.text, &clause)
        })
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|next| next.is(self.text, word));
        if found {
            self.part();
        }
        found
    }

    /// Takes one token, or all between two parentheses.
    fn part(&mut self) {
        let mut depth = 0_usize;
        for token in self.tokens.by_ref() {
            self.end = token.end;
            match token.kind {
                Kind::Sign(b'(' | b'{' | b'[') => depth += 1,
                Kind::Sign(b')' | b'}' | b']') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Whether the parentheses that come hold a query, rather than a list of columns.
    fn opens_query(&self) -> bool {
        let mut inside = self
            .tokens
            .clone()
            .skip_while(|token| token.kind == Kind::Sign(b'('));
        inside
            .next()
            .is_some_and(|first| first.is_any(self.text, &["SELECT", "WITH"]))
            && inside
                .next()
                .is_some_and(|second| !matches!(second.kind, Kind::Sign(b',' | b')')))
    }

    /// Reads what stands behind the target: settings, then `VALUES`, a format or a query.
    fn clauses(mut self) -> Result<Option<Insert>, Exception> {
        let target_end = self.end;
        let insert = |end, rows, format| Insert {
            target_end,
            end,
            rows,
            format,
        };
        while let Some(next) = self.peek() {
            if next.is(self.text, "VALUES") {
                return Ok(Some(insert(self.end, next.end, InsertFormat::Values)));
            }
            if next.kind == Kind::Sign(b';') {
                break;
            }
            if next.is_any(self.text, &["SELECT", "WITH", "EXPLAIN", "WATCH"]) || self.opens_query() {
                return Ok(None);
            }
            self.part();
            if next.is(self.text, "FROM") {
                return self.from();
            }
            if next.is(self.text, "FORMAT") && self.peek().is_some_and(|name| name.kind == Kind::Word) {
                self.part();
                return insert(self.end, self.end, InsertFormat::Named)
                    .after_format(self.text)
                    .map(Some);
            }
        }
        Ok(Some(insert(self.end, self.text.len(), InsertFormat::Absent)))
    }

    /// A query may begin with `FROM`; a file on the server is refused, as ClickHouse does over HTTP.
    fn from(self) -> Result<Option<Insert>, Exception> {
        if self.peek().is_some_and(|next| next.is(self.text, "INFILE")) {
            return Err(Exception::new(
                codes::UNKNOWN_TYPE_OF_QUERY,
                "Query has infile and was send directly to server.",
            ));
        }
        Ok(None)
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

    fn check_insert(text: &str, sql: &str, rows: &str) {
        let Ok(Statement::Insert(insert)) = Statement::parse(text.as_bytes()) else {
            panic!("no insert: {text:?}")
        };
        let found = String::from_utf8(insert.reading(text.as_bytes(), 7, Some("TSV"))).unwrap();
        let wanted = sql.replace('@', "FROM INFILE '/proc/self/fd/7' COMPRESSION 'none'");
        assert_eq!(
            found.split_whitespace().collect::<Vec<_>>(),
            wanted.split_whitespace().collect::<Vec<_>>()
        );
        assert_eq!(&text[insert.rows..], rows, "{text:?}");
    }

    #[test]
    fn an_insert_reads_its_rows_from_a_descriptor() {
        for (text, sql, rows) in [
            (
                "INSERT INTO t FORMAT RowBinary\nxyz",
                "INSERT INTO t @ FORMAT RowBinary",
                "xyz",
            ),
            ("insert t format CSV  1,2", "insert t @ format CSV", "1,2"),
            (
                "INSERT INTO t FORMAT RowBinary\n\n'",
                "INSERT INTO t @ FORMAT RowBinary",
                "\n'",
            ),
            (
                "INSERT INTO t FORMAT TSV \r\n1",
                "INSERT INTO t @ FORMAT TSV",
                "1",
            ),
            (
                "INSERT INTO d.`t (x` (a, `b)`) VALUES (1, ')')",
                "INSERT INTO d.`t (x` (a, `b)`) @ FORMAT Values",
                " (1, ')')",
            ),
            (
                "INSERT INTO t SETTINGS async_insert=0 FORMAT JSONEachRow {}",
                "INSERT INTO t @ SETTINGS async_insert=0 FORMAT JSONEachRow",
                "{}",
            ),
            (
                "INSERT INTO TABLE t (* EXCEPT(b)) SETTINGS a = 'FORMAT x', b=2 FORMAT TSV\n1",
                "INSERT INTO TABLE t (* EXCEPT(b)) @ SETTINGS a = 'FORMAT x', b=2 FORMAT TSV",
                "1",
            ),
            (
                "INSERT INTO FUNCTION null('a Int') (a) FORMAT TSV\n1",
                "INSERT INTO FUNCTION null('a Int') (a) @ FORMAT TSV",
                "1",
            ),
            (
                "INSERT INTO {t:Identifier} FORMAT TSV\n1",
                "INSERT INTO {t:Identifier} @ FORMAT TSV",
                "1",
            ),
            (
                "INSERT INTO {d:Identifier}.{t:Identifier} (a) VALUES (1)",
                "INSERT INTO {d:Identifier}.{t:Identifier} (a) @ FORMAT Values",
                " (1)",
            ),
            (
                "-- INSERT INTO x VALUES\nINSERT /* VALUES */ INTO t VALUES(1)",
                "-- INSERT INTO x VALUES INSERT /* VALUES */ INTO t @ FORMAT Values",
                "(1)",
            ),
            (
                "INSERT INTO values VALUES (1)",
                "INSERT INTO values @ FORMAT Values",
                " (1)",
            ),
            (
                "INSERT INTO table VALUES (1)",
                "INSERT INTO table @ FORMAT Values",
                " (1)",
            ),
            (
                "INSERT INTO t (select, `from`) VALUES (1)",
                "INSERT INTO t (select, `from`) @ FORMAT Values",
                " (1)",
            ),
            ("INSERT INTO t", "INSERT INTO t @ FORMAT TSV", ""),
            (
                "INSERT INTO t SETTINGS a=1",
                "INSERT INTO t @ SETTINGS a=1 FORMAT TSV",
                "",
            ),
        ] {
            check_insert(text, sql, rows);
        }
    }

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
