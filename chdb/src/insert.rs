//! An insert whose rows follow its statement: where the table ends, where the rows begin, and the SQL that reads them from a file instead.
//!
//! In: the tokens behind the word `INSERT`. Out: [`Insert`], or nothing when the rows come from a query. The rows themselves are never looked at.

use crate::exception::{Exception, codes};
use crate::tokens::{Kind, Token, Tokens};

/// An insert whose rows follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Insert {
    /// Where the table and its list of columns end.
    target_end: usize,
    /// Where the statement ends, `VALUES` left out.
    end: usize,
    /// Where the rows begin.
    pub(crate) rows: usize,
    format: Format,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Format {
    Named,
    Values,
    Absent,
}

impl Insert {
    /// `None` when the rows come from a query.
    pub(crate) fn parse(text: &[u8], tokens: Tokens<'_>) -> Result<Option<Insert>, Exception> {
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
            Format::Named => {}
            Format::Values => sql.extend_from_slice(b"\nFORMAT Values"),
            Format::Absent => {
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
                return Ok(Some(insert(self.end, next.end, Format::Values)));
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
                return insert(self.end, self.end, Format::Named)
                    .after_format(self.text)
                    .map(Some);
            }
        }
        Ok(Some(insert(self.end, self.text.len(), Format::Absent)))
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

#[cfg(test)]
mod tests {
    use crate::statement::Statement;

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

    const CASES: &[(&str, &str, &str)] = &[
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
    ];

    #[test]
    fn an_insert_reads_its_rows_from_a_descriptor() {
        for (text, sql, rows) in CASES {
            check_insert(text, sql, rows);
        }
    }
}
