//! Flood control as it is written down, for whoever tries it out without a registry: a `flood:` map alone, or those of a
//! whole declarative file. In: a text, or a file that was read. Out: settings. Compares nothing with what there is.

use std::collections::BTreeMap;

use super::fields::Reading;
use super::flood::flood;
use super::yaml::{self, Kind, Node};
use super::{Manifest, ManifestError};
use crate::entity::{Connection, FloodSettings};

/// What a file says about the floods of one integration.
#[derive(Debug, Clone)]
pub struct PlannedFlood<'m> {
    /// The integration's key.
    pub integration: &'m str,
    /// Its provider.
    pub provider: &'m str,
    /// Its constants.
    pub cfg: &'m BTreeMap<String, String>,
    /// Its settings.
    pub settings: &'m FloodSettings,
    /// Its connections, with those of them that have settings of their own.
    pub connections: Vec<(&'m Connection, Option<&'m FloodSettings>)>,
}

impl Manifest {
    /// What the file says about floods, integration by integration.
    pub fn floods(&self) -> impl Iterator<Item = PlannedFlood<'_>> {
        let integrations = self
            .environments
            .iter()
            .flat_map(|environment| &environment.integrations);
        integrations.map(|wanted| PlannedFlood {
            integration: &wanted.integration.key,
            provider: &wanted.integration.provider,
            cfg: &wanted.integration.cfg,
            settings: &wanted.integration.flood,
            connections: wanted
                .connections
                .iter()
                .flatten()
                .map(|wanted| (&wanted.connection, wanted.flood.as_ref()))
                .collect(),
        })
    }
}

/// Reads settings as they stand below `flood:` in a declarative file, with or without that line. `file` names the text in
/// errors.
///
/// # Errors
/// [`ManifestError`] with every mistake.
pub fn read_flood(file: &str, text: &str) -> Result<FloodSettings, ManifestError> {
    let root = yaml::parse(text).map_err(|wrong| ManifestError::new(file, vec![wrong]))?;
    let has_head = matches!(&root.kind, Kind::Map(entries) if entries.iter().any(|(key, _)| key == "flood"));
    let root = if has_head {
        root
    } else {
        Node {
            line: root.line,
            kind: Kind::Map(vec![("flood".to_owned(), root)]),
        }
    };
    let mut reading = Reading {
        lookup: &|_| None,
        wrongs: Vec::new(),
    };
    let mut fields = reading.fields(root, "the policy");
    let settings = flood(&mut fields, &mut reading, &FloodSettings::default()).unwrap_or_default();
    reading.finish(fields, "the policy");
    if reading.wrongs.is_empty() {
        return Ok(settings);
    }
    Err(ManifestError::new(file, reading.wrongs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_and_without_their_head() {
        let bare = read_flood("policy", "debounce: {quiet: 5s}").expect("settings");
        let headed = read_flood("policy", "flood:\n  debounce:\n    quiet: 5s\n").expect("settings");
        assert_eq!(bare, headed);
        assert_eq!(bare.debounce.quiet_ms, Some(5_000));
        assert!(read_flood("policy", "").expect("nothing is set").is_empty());
    }

    #[test]
    fn a_mistake_names_the_policy_and_its_line() {
        let check = |text: &str, expected: &str| {
            let error = read_flood("p.yaml", text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check(
            "debonce: on",
            "p.yaml:1: `flood` has no key `debonce`: did you mean `debounce`?",
        );
        check("dedupe: true\ndebounce: {quiet: 2}", "p.yaml:2: `quiet` is `2`");
        check(
            "debounce: {quiet: 40s}",
            "`flood.debounce.quiet` must lie between",
        );
        check("- on", "must be a map");
    }

    #[test]
    fn a_file_tells_the_floods_of_its_integrations() {
        let text = "environments:\n  a:\n    integrations:\n      crm:\n        provider: any\n        \
                    flood: {order: true}\n        connections:\n          one: {flood: {order: false}}\n          two: {}\n";
        let manifest = Manifest::parse("f", text, |_| None).expect("a file");
        let floods: Vec<_> = manifest.floods().collect();
        let [flood] = &floods[..] else {
            panic!("{floods:?}");
        };
        assert_eq!((flood.integration, flood.settings.order), ("crm", Some(true)));
        let own: Vec<_> = flood
            .connections
            .iter()
            .map(|(connection, own)| (&*connection.id, own.and_then(|own| own.order)))
            .collect();
        assert_eq!(own, [("one", Some(false)), ("two", None)]);
    }
}
