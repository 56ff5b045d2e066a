//! The text that is signed: one template, several of which any may be it, or one that the integration wrote. In: a scope.
//! Out: the pieces of each, uncopied. A part that is missing is a refusal that names it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use tidegate_schemas::Reason;

use crate::map::Text;
use crate::pick::Scope;
use crate::selector::{Allow, Terms};
use crate::setting::unusable;
use crate::template::Template;
use crate::verdict::Refusal;

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signed {
    /// Any of these.
    AnyOf(Vec<Template>),
    /// The integration's constant `name` holds the template.
    Cfg { name: String, default: Template },
}

/// What a `signed` template may pick.
pub(crate) const SIGNED_ALLOW: Allow = Allow {
    body: true,
    event: true,
    claims: false,
    signature: true,
    hmac: false,
};

impl Signed {
    /// Runs `proves` with the pieces of each template until one proves.
    pub fn any(
        &self,
        scope: &Scope<'_>,
        mut proves: impl FnMut(&[Text<'_>]) -> bool,
    ) -> Result<bool, Refusal> {
        let written;
        let templates = match self {
            Signed::AnyOf(templates) => templates.as_slice(),
            Signed::Cfg { name, default } => {
                written = written_template(scope, name, default)?;
                std::slice::from_ref(written.as_ref())
            }
        };
        let mut missing = None;
        for template in templates {
            let mut pieces = Vec::with_capacity(4);
            match template.collect(scope, &mut pieces) {
                Ok(()) if proves(&pieces) => return Ok(true),
                Ok(()) => {}
                Err(selector) => missing = Some(selector),
            }
        }
        match missing {
            Some(selector) if templates.len() == 1 => {
                let detail = format!("`{}`, which is signed, is missing", selector.text);
                Err(Refusal::new(Reason::SignatureMissing, detail))
            }
            _ => Ok(false),
        }
    }

    /// The templates that stand in the definition.
    pub fn templates(&self) -> &[Template] {
        match self {
            Signed::AnyOf(templates) => templates,
            Signed::Cfg { default, .. } => std::slice::from_ref(default),
        }
    }
}

fn written_template<'t>(
    scope: &Scope<'_>,
    name: &str,
    default: &'t Template,
) -> Result<Cow<'t, Template>, Refusal> {
    let Some(text) = scope.request.cfg(name) else {
        return Ok(Cow::Borrowed(default));
    };
    let declared: BTreeSet<_> = scope
        .request
        .definition
        .cfg
        .iter()
        .map(|cfg| cfg.name.clone())
        .collect();
    let terms = Terms {
        cfg: &declared,
        allow: SIGNED_ALLOW,
    };
    let template = Template::parse(text, terms).ok().filter(Template::binds_body);
    template.map(Cow::Owned).ok_or_else(|| unusable(name, text))
}
