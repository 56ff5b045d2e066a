//! What people want to know about a provider before they rely on it, and the constants it asks of an integration. Plain
//! text from the definition's file; printed, never acted on.

/// Facts about a provider's webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where the vendor documents them.
    pub docs: Option<String>,
    /// How soon it wants its answer.
    pub deadline: Option<String>,
    /// How it retries.
    pub retries: Option<String>,
    /// When it gives an endpoint up.
    pub disables: Option<String>,
    /// What it says of order.
    pub order: Option<String>,
    /// How much it sends.
    pub volume: Option<String>,
    /// Which flood settings suit it.
    pub suggests: Option<String>,
    /// How to set it up there.
    pub set_up: Option<String>,
    /// What else to know, a line each.
    pub notes: Vec<String>,
}

impl Facts {
    /// Every fact that is known, with its heading.
    pub fn lines(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let named = [
            ("docs", &self.docs),
            ("set up", &self.set_up),
            ("deadline", &self.deadline),
            ("retries", &self.retries),
            ("disables", &self.disables),
            ("order", &self.order),
            ("volume", &self.volume),
            ("suggests", &self.suggests),
        ];
        let known = named
            .into_iter()
            .filter_map(|(heading, fact)| Some((heading, fact.as_deref()?)));
        known.chain(self.notes.iter().map(|note| ("note", note.as_str())))
    }
}

/// A constant that an integration gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CfgRule {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Whether an integration must give it.
    pub required: bool,
    /// What it is when an integration gives none.
    pub default: Option<String>,
    /// What it may be; empty: any text.
    pub values: Vec<String>,
    /// Whether it is a token: the definition says so, or a handshake demands that the request brings it. It is sealed
    /// as secrets are, and masked where a request brings it.
    pub secret: bool,
}

impl CfgRule {
    /// Checks what an integration gives; the error says what is wrong and what it may be.
    ///
    /// # Errors
    /// It is required and missing, or none of the values it may be.
    pub fn check(&self, given: Option<&str>) -> Result<(), String> {
        match given {
            None if self.required => Err(format!("cfg `{}` is missing: {}", self.name, self.about)),
            Some(given) if !self.values.is_empty() && !self.values.iter().any(|value| value == given) => {
                Err(format!(
                    "cfg `{}` is `{given}`; it may be {}",
                    self.name,
                    self.values.join(", ")
                ))
            }
            _ => Ok(()),
        }
    }
}
