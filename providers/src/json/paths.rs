//! Paths of JSON documents, read once: picking as selectors do, without a definition around it. In: paths, then a body. Out:
//! the texts found. For whoever measures or looks for a field; the engine's own way is `pick.rs`.

use super::Document;
use crate::config::Config;
use crate::path::Path;

/// Paths, read.
#[derive(Debug, Clone)]
pub struct JsonPaths(Vec<Path>);

impl JsonPaths {
    /// Reads paths, as a definition writes them behind `body:`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(paths: &[&str]) -> Result<Self, String> {
        let paths = paths.iter().map(|path| Path::parse(path));
        paths.collect::<Result<_, _>>().map(Self)
    }

    /// Hands each path's text to `take` in order, `None` where nothing stands; `false` when the body is no JSON.
    pub fn pick(&self, body: &[u8], mut take: impl FnMut(Option<&[u8]>)) -> bool {
        let Ok(document) = Document::parse(body, Config::default().json_depth_max) else {
            return false;
        };
        let json = document.over(body);
        for path in &self.0 {
            let text = path.find(json, json.root()).and_then(|at| json.text(at));
            take(text.as_deref());
        }
        true
    }
}
