//! A signature's text: the code, encoded, alone or in a list beside the signed time, behind its prefix. In: how the
//! definition reads it, and what makes the code. Out: the text as the provider writes it.

use super::{Sample, SignError, Signing, unsupported};
use crate::pick::{Parts, Scope};
use crate::selector::PartName;
use crate::setting::word;
use crate::signature::Proving;
use crate::signature::presented::{List, Presented, Which};

impl Signing<'_> {
    /// The signature's text around the code that `make` gives.
    pub fn written(
        &self,
        (sample, part): (&Sample, Option<&(PartName, String)>),
        presented: &Presented,
        make: impl FnOnce(&Scope<'_>, Proving<'_>) -> Result<Vec<u8>, SignError>,
    ) -> Result<String, SignError> {
        let parts = parts(part);
        self.prove((sample, &parts), |scope, proving| {
            let code = make(scope, proving)?;
            let encoding = presented.encoding.of(scope.request, word);
            let code = encoding
                .map_err(|_| unsupported("the signature's encoding"))?
                .encode(&code);
            let prefix = presented
                .prefix
                .as_ref()
                .and_then(|prefix| prefix.render_str(scope))
                .unwrap_or_default();
            let text = match &presented.list {
                None => code,
                Some(list) => entries(list, (&parts, &code), scope)?,
            };
            Ok(format!("{prefix}{text}"))
        })
    }
}

/// The list's other entries: the signed time, if it stands there.
fn parts(part: Option<&(PartName, String)>) -> Parts<'_> {
    let entries = part.iter().map(|(name, value)| match name {
        PartName::Named(name) => (Some(name.as_str()), value.as_str()),
        PartName::Placed(_) => (None, value.as_str()),
    });
    Parts {
        entries: entries.collect(),
    }
}

fn entries(list: &List, (parts, code): (&Parts<'_>, &str), scope: &Scope<'_>) -> Result<String, SignError> {
    let (separator, assign) = (&list.separator, &list.assign);
    let entry = match &list.which {
        Which::Named(name) => {
            let name = name
                .render_str(scope)
                .ok_or(unsupported("the name of the signature's entry"))?;
            format!("{name}{assign}{code}")
        }
        Which::From(first) if *first == parts.entries.len() => code.to_owned(),
        Which::From(_) => return Err(unsupported("a list with other parts than the signed time")),
        Which::Every => return Err(unsupported("a signature list without names")),
    };
    let before = parts.entries.iter().map(|(name, value)| match name {
        Some(name) => format!("{name}{assign}{value}{separator}"),
        None => format!("{value}{separator}"),
    });
    Ok(before.collect::<String>() + &entry)
}
