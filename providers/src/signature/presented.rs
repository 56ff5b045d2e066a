//! The signatures that a request presents: from one or several places, behind a prefix, alone or in a list of named or
//! placed parts, in one set or several. In: a scope. Out: decoded candidates, each with the parts beside it.

use std::borrow::Cow;

use tidegate_schemas::Reason;

use crate::encoding::Encoding;
use crate::map::Text;
use crate::pick::{Parts, Scope};
use crate::selector::Selector;
use crate::setting::{Setting, word};
use crate::template::Template;
use crate::verdict::Refusal;

/// Where signatures are and how they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presented {
    pub at: Vec<Selector>,
    pub prefix: Option<Template>,
    pub list: Option<List>,
    pub encoding: Setting<Encoding>,
}

/// How a signature's text is a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    pub sets: Option<String>,
    pub separator: String,
    pub assign: String,
    pub which: Which,
}

/// Which entries of a list are signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    Named(Template),
    Every,
    From(usize),
}

/// The sets that were found, of which only so many are tried: each costs a hash of the whole body.
pub(crate) struct Sets<'r> {
    pub all: Vec<Set<'r>>,
    /// The limit, when there were more sets or signatures.
    cut_at: Option<usize>,
}

/// One set of parts with the signatures among them.
pub(crate) struct Set<'r> {
    pub parts: Parts<'r>,
    pub candidates: Vec<Candidate<'r>>,
}

/// One signature, decoded.
pub(crate) struct Candidate<'r> {
    pub entry: Option<&'r str>,
    pub bytes: Vec<u8>,
}

impl Presented {
    /// Every text in which signatures are presented.
    pub fn texts<'r>(&'r self, scope: &Scope<'r>) -> Result<Vec<Text<'r>>, Refusal> {
        let texts: Vec<_> = self
            .at
            .iter()
            .flat_map(|selector| selector.pick_all(scope))
            .collect();
        if texts.is_empty() {
            let place = self.at.first().map_or("", |selector| selector.text.as_str());
            return Err(Refusal::new(
                Reason::SignatureMissing,
                format!("no signature in `{place}`"),
            ));
        }
        Ok(texts)
    }

    /// The sets in these texts that hold at least one readable signature.
    pub fn sets<'t>(&self, texts: &'t [Text<'_>], scope: &Scope<'_>) -> Result<Sets<'t>, Refusal> {
        let encoding = self.encoding.of(scope.request, word)?;
        let prefix = self
            .prefix
            .as_ref()
            .and_then(|prefix| prefix.render_str(scope))
            .unwrap_or(Cow::Borrowed(""));
        let mut found = Found {
            sets: Vec::with_capacity(1),
            unreadable: false,
            most: scope.request.definition.limits.signatures_max,
            is_cut: false,
        };
        for text in texts {
            let text = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.strip_prefix(prefix.as_ref()));
            match (text, &self.list) {
                (None, _) => found.unreadable = true,
                (Some(text), None) => match Candidate::decoded(None, text, encoding) {
                    Some(candidate) => found.sets.push(Set::alone(candidate)),
                    None => found.unreadable = true,
                },
                (Some(text), Some(list)) => list.sets(text, (scope, encoding), &mut found),
            }
        }
        if !found.sets.is_empty() {
            return Ok(Sets {
                cut_at: found.is_cut.then_some(found.most),
                all: found.sets,
            });
        }
        let place = self.at.first().map_or("", |selector| selector.text.as_str());
        Err(if found.unreadable {
            let detail = format!("`{place}` holds no signature in the definition's prefix and encoding");
            Refusal::new(Reason::SignatureMalformed, detail)
        } else {
            Refusal::new(
                Reason::SignatureMissing,
                format!("the list in `{place}` holds no signature of that name"),
            )
        })
    }
}

/// What was found in the texts.
struct Found<'t> {
    sets: Vec<Set<'t>>,
    /// Something stands where a signature should, and cannot be read.
    unreadable: bool,
    most: usize,
    is_cut: bool,
}

impl Sets<'_> {
    /// A refusal that tells of what was not tried.
    pub fn explained(&self, refusal: Refusal) -> Refusal {
        match self.cut_at {
            Some(most) if refusal.reason == Reason::SignatureWrong => {
                let untried = format!(
                    "{}; of more than {most} only so many are tried (providers.signatures_max)",
                    refusal.detail
                );
                Refusal::new(refusal.reason, untried)
            }
            _ => refusal,
        }
    }
}

impl<'t> Candidate<'t> {
    fn decoded(entry: Option<&'t str>, text: &str, encoding: Encoding) -> Option<Self> {
        let bytes = encoding
            .decode(text.as_bytes())
            .filter(|bytes| !bytes.is_empty())?;
        Some(Self { entry, bytes })
    }
}

impl<'t> Set<'t> {
    fn alone(candidate: Candidate<'t>) -> Self {
        Self {
            parts: Parts::default(),
            candidates: vec![candidate],
        }
    }
}

impl List {
    fn sets<'t>(&self, text: &'t str, (scope, encoding): (&Scope<'_>, Encoding), out: &mut Found<'t>) {
        let most = out.most;
        let whole = match &self.sets {
            Some(mark) => text.split(mark.as_str()).take(most.saturating_add(1)).collect(),
            None => vec![text],
        };
        out.is_cut |= whole.len() > most;
        let name = match &self.which {
            Which::Named(template) => template.render_str(scope),
            Which::Every | Which::From(_) => None,
        };
        for text in whole.into_iter().take(most) {
            let entries = text
                .split(self.separator.as_str())
                .map(str::trim)
                .filter(|entry| !entry.is_empty());
            let entries = entries.map(
                |entry| match (&self.which, entry.split_once(self.assign.as_str())) {
                    (Which::From(_), _) | (_, None) => (None, entry),
                    (_, Some((name, value))) => (Some(name.trim()), value.trim()),
                },
            );
            let parts = Parts {
                entries: entries.collect(),
            };
            let signatures =
                parts
                    .entries
                    .iter()
                    .enumerate()
                    .filter(|(place, (have, _))| match &self.which {
                        Which::Named(_) => have.is_some() && *have == name.as_deref(),
                        Which::Every => true,
                        Which::From(first) => place >= first,
                    });
            let decoded = signatures.map(|(_, (name, value))| Candidate::decoded(*name, value, encoding));
            let mut decoded: Vec<_> = decoded.take(most.saturating_add(1)).collect();
            out.is_cut |= decoded.len() > most;
            decoded.truncate(most);
            out.unreadable |= !decoded.is_empty();
            let candidates: Vec<_> = decoded.into_iter().flatten().collect();
            if !candidates.is_empty() {
                out.sets.push(Set { parts, candidates });
            }
        }
    }
}
