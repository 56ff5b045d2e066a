//! A table of a definition's file, read key by key. In: TOML. Out: texts, numbers, templates, conditions; every error names
//! the key by its whole path, and a key that nobody asked for is one.

use std::cell::RefCell;

use toml::{Table, Value as Toml};

use crate::condition::{Condition, Line, Test};
use crate::selector::{Selector, Terms};
use crate::setting::{Setting, word};
use crate::template::{Choice, Template, Value};

/// What is wrong with a file: the key, and the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub key: String,
    pub problem: String,
}

pub(super) type Read<T> = Result<T, Problem>;

/// A table that is being read.
pub(super) struct Keys<'t> {
    path: String,
    table: &'t Table,
    asked: RefCell<Vec<&'t str>>,
}

impl<'t> Keys<'t> {
    pub fn of(path: &str, table: &'t Table) -> Self {
        Self {
            path: path.to_owned(),
            table,
            asked: RefCell::default(),
        }
    }

    /// The whole path of a key.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub fn problem<T>(&self, key: &str, problem: impl Into<String>) -> Read<T> {
        Err(Problem {
            key: self.at(key),
            problem: problem.into(),
        })
    }

    /// The table is read: refuses every key that was not asked for.
    pub fn finish(self) -> Read<()> {
        self.unknown()
    }

    /// Refuses every key that was not asked for.
    pub fn unknown(&self) -> Read<()> {
        let asked = self.asked.borrow();
        match self.table.keys().find(|key| !asked.contains(&key.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let mut known = asked.clone();
                known.sort_unstable();
                known.dedup();
                let known = known.join(", ");
                self.problem(unknown, format!("there is no such key here; known are {known}"))
            }
        }
    }

    pub fn raw(&self, key: &'t str) -> Option<&'t Toml> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// The table's keys, which are then all asked for: for tables of free names.
    pub fn names(&self) -> Vec<&'t str> {
        let names: Vec<_> = self.table.keys().map(String::as_str).collect();
        self.asked.borrow_mut().extend(&names);
        names
    }

    pub fn text(&self, key: &'t str) -> Read<Option<&'t str>> {
        match self.raw(key) {
            None => Ok(None),
            Some(Toml::String(text)) => Ok(Some(text)),
            Some(_) => self.problem(key, "write a text"),
        }
    }

    pub fn owned(&self, key: &'t str) -> Read<Option<String>> {
        Ok(self.text(key)?.map(str::to_owned))
    }

    pub fn required(&self, key: &'t str) -> Read<&'t str> {
        match self.text(key)? {
            Some(text) => Ok(text),
            None => self.problem(key, "this key is required"),
        }
    }

    pub fn flag(&self, key: &'t str) -> Read<bool> {
        match self.raw(key) {
            None => Ok(false),
            Some(Toml::Boolean(flag)) => Ok(*flag),
            Some(_) => self.problem(key, "write true or false"),
        }
    }

    pub fn number(&self, key: &'t str) -> Read<Option<u64>> {
        match self.raw(key) {
            None => Ok(None),
            Some(Toml::Integer(number)) => match u64::try_from(*number) {
                Ok(number) => Ok(Some(number)),
                Err(_) => self.problem(key, "write a number that is not negative"),
            },
            Some(_) => self.problem(key, "write a whole number"),
        }
    }

    pub fn status(&self, key: &'t str, usual: u16) -> Read<u16> {
        match self.number(key)? {
            None => Ok(usual),
            Some(status @ 200..=599) => Ok(u16::try_from(status).unwrap_or(usual)),
            Some(_) => self.problem(key, "write an HTTP status from 200 to 599"),
        }
    }

    /// A text or a list of texts.
    pub fn texts(&self, key: &'t str) -> Read<Vec<&'t str>> {
        match self.raw(key) {
            None => Ok(Vec::new()),
            Some(Toml::String(text)) => Ok(vec![text]),
            Some(Toml::Array(list)) => list.iter().map(|entry| self.text_of(key, entry)).collect(),
            Some(_) => self.problem(key, "write a text or a list of texts"),
        }
    }

    fn text_of(&self, key: &str, entry: &'t Toml) -> Read<&'t str> {
        match entry {
            Toml::String(text) => Ok(text),
            _ => self.problem(key, "write texts in this list"),
        }
    }

    pub fn table(&self, key: &'t str) -> Read<Option<Keys<'t>>> {
        match self.raw(key) {
            None => Ok(None),
            Some(Toml::Table(table)) => Ok(Some(Keys::of(&self.at(key), table))),
            Some(_) => self.problem(key, "write a table"),
        }
    }

    /// `[[key]]` tables, or one `[key]`.
    pub fn tables(&self, key: &'t str) -> Read<Vec<Keys<'t>>> {
        match self.raw(key) {
            None => Ok(Vec::new()),
            Some(Toml::Table(table)) => Ok(vec![Keys::of(&self.at(key), table)]),
            Some(Toml::Array(list)) => list
                .iter()
                .enumerate()
                .map(|(place, entry)| match entry {
                    Toml::Table(table) => Ok(Keys::of(&format!("{}[{place}]", self.at(key)), table)),
                    _ => self.problem(key, "write tables"),
                })
                .collect(),
            Some(_) => self.problem(key, "write a table, or several as [[…]]"),
        }
    }

    /// One word of an enum, spelt as in the grammar.
    pub fn word<T: serde::de::DeserializeOwned>(&self, key: &'t str) -> Read<Option<T>> {
        self.text(key)?.map(|text| self.word_of(key, text)).transpose()
    }

    pub fn word_of<T: serde::de::DeserializeOwned>(&self, key: &str, text: &str) -> Read<T> {
        match word(text) {
            Some(word) => Ok(word),
            None => self.problem(
                key,
                format!("`{text}` is none of the words that the grammar lists"),
            ),
        }
    }

    /// A setting: a word, or `{ cfg = "name", default = "word" }`.
    pub fn setting<T: serde::de::DeserializeOwned>(
        &self,
        key: &'t str,
        terms: Terms<'_>,
    ) -> Read<Option<Setting<T>>> {
        if let Some(Toml::Table(table)) = self.raw(key) {
            let keys = Keys::of(&self.at(key), table);
            let name = keys.declared("cfg", terms)?;
            let default = keys.word_of("default", keys.required("default")?)?;
            keys.finish()?;
            return Ok(Some(Setting::Cfg { name, default }));
        }
        Ok(self.word(key)?.map(Setting::Fixed))
    }

    /// The name of a declared constant.
    pub fn declared(&self, key: &'t str, terms: Terms<'_>) -> Read<String> {
        let name = self.required(key)?;
        if terms.cfg.contains(name) {
            return Ok(name.to_owned());
        }
        self.problem(key, format!("`{name}` is not declared; add [cfg.{name}]"))
    }

    pub fn template_of(&self, key: &str, text: &str, terms: Terms<'_>) -> Read<Template> {
        Template::parse(text, terms).or_else(|problem| self.problem(key, problem))
    }

    pub fn template(&self, key: &'t str, terms: Terms<'_>) -> Read<Option<Template>> {
        self.text(key)?
            .map(|text| self.template_of(key, text, terms))
            .transpose()
    }

    pub fn selector_of(&self, key: &str, text: &str, terms: Terms<'_>) -> Read<Selector> {
        Selector::parse(text, terms).or_else(|problem| self.problem(key, problem))
    }

    pub fn selector(&self, key: &'t str, terms: Terms<'_>) -> Read<Option<Selector>> {
        self.text(key)?
            .map(|text| self.selector_of(key, text, terms))
            .transpose()
    }

    pub fn selectors(&self, key: &'t str, terms: Terms<'_>) -> Read<Vec<Selector>> {
        self.texts(key)?
            .into_iter()
            .map(|text| self.selector_of(key, text, terms))
            .collect()
    }

    /// Selectors of what is secret: each has a place in the request that can be written over.
    pub fn secret_places(&self, key: &'t str, terms: Terms<'_>) -> Read<Vec<Selector>> {
        let selectors = self.selectors(key, terms)?;
        let placeless = |selector: &&Selector| {
            !selector
                .sources()
                .into_iter()
                .all(crate::selector::Source::has_place)
        };
        match selectors.iter().find(placeless) {
            None => Ok(selectors),
            Some(selector) => self.problem(
                key,
                format!(
                    "`{}` is secret, so it must stand where it can be masked: write header:, query:, form:, body:PATH, \
                     event:PATH or parent:PATH",
                    selector.text
                ),
            ),
        }
    }

    /// A value: a template, a table with a condition, or a list of these.
    pub fn value(&self, key: &'t str, terms: Terms<'_>) -> Read<Option<Value>> {
        let choices = match self.raw(key) {
            None => return Ok(None),
            Some(Toml::Array(list)) => list
                .iter()
                .map(|entry| self.choice(key, entry, terms))
                .collect::<Read<Vec<_>>>()?,
            Some(one) => vec![self.choice(key, one, terms)?],
        };
        Ok(Some(Value(choices)))
    }

    fn choice(&self, key: &str, entry: &'t Toml, terms: Terms<'_>) -> Read<Choice> {
        match entry {
            Toml::String(text) => Ok(Choice {
                when: None,
                template: self.template_of(key, text, terms)?,
            }),
            Toml::Table(table) => {
                let keys = Keys::of(&self.at(key), table);
                let template = keys.template_of("value", keys.required("value")?, terms)?;
                let when = keys.condition("when", terms)?;
                keys.finish()?;
                Ok(Choice { when, template })
            }
            _ => self.problem(
                key,
                "write a template, a list of templates, or { value = …, when = … }",
            ),
        }
    }

    /// A condition: a table, or a list of tables of which one must hold.
    pub fn condition(&self, key: &'t str, terms: Terms<'_>) -> Read<Option<Condition>> {
        let tables = self.tables(key)?;
        if tables.is_empty() {
            return Ok(None);
        }
        let tables = tables
            .iter()
            .map(|table| table.lines(terms))
            .collect::<Read<Vec<_>>>()?;
        if tables.iter().any(Vec::is_empty) {
            return self.problem(key, "an empty condition always holds; leave it out");
        }
        Ok(Some(Condition(tables)))
    }

    fn lines(&self, terms: Terms<'_>) -> Read<Vec<Line>> {
        let lines = self.names().into_iter().map(|name| {
            let texts = self.texts(name)?;
            let tests = texts.into_iter().map(|text| Test::parse(text, terms));
            Ok(Line {
                selector: self.selector_of(name, name, terms)?,
                tests: tests
                    .collect::<Result<_, _>>()
                    .or_else(|problem| self.problem(name, problem))?,
            })
        });
        lines.collect()
    }
}
