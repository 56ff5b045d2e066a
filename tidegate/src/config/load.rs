//! From text to configuration: one TOML file, then environment variables `TIDEGATE__SECTION__KEY` over it.
//! In: the file's text and the variables. Out: any type that can be deserialized, or an error that names the file's
//! line or the variable. Reads nothing itself; knows no section.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// The prefix of variables that override the file.
pub const PREFIX: &str = "TIDEGATE__";

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no TOML, or has a key or value that does not belong there.
    #[error("{file}: {message}\n`tidegate config` prints every key with its default")]
    File {
        /// The file's path, or `environment`.
        file: String,
        /// What is wrong, with the line.
        message: String,
    },
    /// A variable names no key.
    #[error(
        "environment variable {variable}: {message}\n`tidegate config` prints every key with its default"
    )]
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        message: String,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {source}")]
    Unreadable {
        /// The file's path.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The text of the configuration file, and its name in errors; without a file, nothing.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn text_of(file: Option<&Path>) -> Result<(String, String), Error> {
    let Some(path) = file else {
        return Ok(("environment".to_owned(), String::new()));
    };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(source) => Err(Error::Unreadable { file: name, source }),
    }
}

/// The defaults as a configuration that sets every key: lines `# key = value` lose their `# `.
#[must_use]
pub fn uncommented(defaults: &str) -> String {
    let key = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()))
    };
    let lines = defaults
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| key(rest)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// What holds, as TOML: `defaults` under the file's text under the variables. Passwords are left out.
///
/// # Errors
/// As [`load`].
pub fn effective<T: DeserializeOwned>(
    (defaults, file, text): (&str, &str, &str),
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<String, Error> {
    let wrong = |message: String| Error::File {
        file: file.to_owned(),
        message,
    };
    let mut table: Table = defaults
        .parse()
        .map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let over: Table = load_table::<T>(file, text, variables)?;
    merge(&mut table, over);
    hide_passwords(&mut table);
    toml::to_string(&table).map_err(|error| wrong(error.to_string()))
}

fn hide_passwords(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(below) => hide_passwords(below),
            Value::String(text) if key == "password" => "…".clone_into(text),
            _ => {}
        }
    }
}

fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Reads a configuration: `text` (from `file`) with the variables over it.
///
/// # Errors
/// When the text is no TOML, or it or a variable holds an unknown key or a value of the wrong kind.
pub fn load<T: DeserializeOwned>(
    file: &str,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, Error> {
    let table = load_table::<T>(file, text, variables)?;
    T::deserialize(table).map_err(|error| Error::File {
        file: file.to_owned(),
        message: error.to_string(),
    })
}

/// The same before it becomes a configuration; checked to become one.
fn load_table<T: DeserializeOwned>(
    file: &str,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Table, Error> {
    let wrong = |error: &toml::de::Error| Error::File {
        file: file.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    };
    // Checked alone first, so that its errors show the line.
    toml::from_str::<T>(text).map_err(|error| wrong(&error))?;
    let mut table: Table = text.parse().map_err(|error| wrong(&error))?;
    for (variable, value) in variables {
        let Some(path) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let refuse = |message: String| Error::Variable {
            variable: variable.clone(),
            message,
        };
        let mut overridden = table.clone();
        set(&mut overridden, path, value_of(&value)).map_err(refuse)?;
        if let Err(error) = T::deserialize(overridden.clone()) {
            // A text that looks like a number or boolean may still be meant as a text.
            let mut as_text = table.clone();
            set(&mut as_text, path, Value::String(value)).map_err(refuse)?;
            T::deserialize(as_text.clone()).map_err(|_| refuse(error.message().to_owned()))?;
            overridden = as_text;
        }
        table = overridden;
    }
    Ok(table)
}

/// What a variable's text means: a TOML value when it is one, else a text.
fn value_of(text: &str) -> Value {
    let wrapped = format!("value = {text}");
    wrapped
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.into()))
}

fn set(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    let mut names = path.split("__").map(str::to_ascii_lowercase).peekable();
    let mut table = table;
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            table.insert(name, value);
            return Ok(());
        }
        table = table
            .entry(name.clone())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("{name} is a value, no section"))?;
    }
    Err("names no key: expected TIDEGATE__SECTION__KEY".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        name: String,
        server: Server,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Server {
        port: u16,
        hosts: Vec<String>,
        password: String,
    }

    fn check(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load("test.toml", text, variables).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_lie_over_the_file() {
        let text = "name = 'file'\n[server]\nport = 1\nhosts = ['a']";
        let config = check(
            text,
            &[
                ("TIDEGATE__SERVER__PORT", "2"),
                ("TIDEGATE__SERVER__HOSTS", "['b', 'c']"),
                ("PATH", "/bin"),
            ],
        );
        let server = Server {
            port: 2,
            hosts: vec!["b".into(), "c".into()],
            password: String::new(),
        };
        assert_eq!(
            config,
            Ok(Config {
                name: "file".into(),
                server
            })
        );
    }

    #[test]
    fn a_number_may_be_meant_as_text() {
        let config = check("", &[("TIDEGATE__SERVER__PASSWORD", "12345")]).expect("a password of digits");
        assert_eq!(config.server.password, "12345");
    }

    #[test]
    fn errors_name_the_line_or_the_variable() {
        let error = check("name = 'x'\n[server]\nprot = 1", &[]).expect_err("an unknown key");
        assert!(
            error.contains("test.toml") && error.contains("line 3") && error.contains("prot"),
            "{error}"
        );
        let error = check("", &[("TIDEGATE__SERVER__PROT", "1")]).expect_err("an unknown key");
        assert!(error.contains("TIDEGATE__SERVER__PROT"), "{error}");
        let error = check("", &[("TIDEGATE__SERVER__PORT", "many")]).expect_err("no number");
        assert!(error.contains("TIDEGATE__SERVER__PORT"), "{error}");
        let error = check("name = 'x'", &[("TIDEGATE__NAME__PART", "1")]).expect_err("no section");
        assert!(error.contains("TIDEGATE__NAME__PART"), "{error}");
    }
}
