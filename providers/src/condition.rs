//! Conditions: selector → text, present, absent, a pattern, or equal to a template. In: a scope. Out: whether it holds.
//! Equality is compared in constant time, for a token may be what is compared.

use subtle::ConstantTimeEq as _;

use crate::glob::Glob;
use crate::pick::Scope;
use crate::selector::{Selector, Terms};
use crate::template::Template;

/// Several tables of which one must hold whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition(pub Vec<Vec<Line>>);

/// One line: what is picked, and what it must be (one of these).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub selector: Selector,
    pub tests: Vec<Test>,
}

/// What a picked text must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    Present,
    Absent,
    Fits(Glob),
    Equals(Template),
}

impl Condition {
    /// Whether it holds.
    pub fn holds<'r>(&'r self, scope: &Scope<'r>) -> bool {
        self.0
            .iter()
            .any(|lines| lines.iter().all(|line| line.holds(scope)))
    }

    /// The first line that does not hold, of the table that comes nearest first.
    pub fn failing<'r>(&'r self, scope: &Scope<'r>) -> Option<&'r Line> {
        if self.holds(scope) {
            return None;
        }
        self.0.iter().flatten().find(|line| !line.holds(scope))
    }

    /// Every selector in it.
    pub fn selectors(&self) -> Vec<&Selector> {
        let lines = self.0.iter().flatten();
        lines
            .flat_map(|line| std::iter::once(&line.selector).chain(line.compared()))
            .collect()
    }
}

impl Condition {
    /// What is picked and compared with what else is picked.
    pub fn compared(&self) -> Vec<(&Selector, &Selector)> {
        let lines = self.0.iter().flatten();
        lines
            .flat_map(|line| line.compared().into_iter().map(|with| (&line.selector, with)))
            .collect()
    }
}

impl Line {
    fn holds<'r>(&'r self, scope: &Scope<'r>) -> bool {
        let picked = self.selector.pick(scope);
        self.tests.iter().any(|test| match (test, &picked) {
            (Test::Absent, text) => text.is_none(),
            (_, None) => false,
            (Test::Present, Some(_)) => true,
            (Test::Fits(glob), Some(text)) => glob.fits(text),
            (Test::Equals(template), Some(text)) => template
                .render(scope)
                .is_some_and(|expected| expected.ct_eq(text.as_ref()).into()),
        })
    }

    fn compared(&self) -> Vec<&Selector> {
        let templates = self.tests.iter().filter_map(|test| match test {
            Test::Equals(template) => Some(template),
            _ => None,
        });
        templates.flat_map(Template::selectors).collect()
    }
}

impl Test {
    /// Reads what stands behind a selector.
    pub fn parse(text: &str, terms: Terms<'_>) -> Result<Self, String> {
        Ok(match text {
            "" => Test::Absent,
            "*" => Test::Present,
            _ if text.contains('{') => Test::Equals(Template::parse(text, terms)?),
            _ => Test::Fits(Glob::new(text)),
        })
    }
}
