//! The demo's steps as data: what is sent and what must become of it. In: `story.toml`. Out: [`Step`]s, and each one's
//! [`Sent`] once it was sent. Judges nothing: `report` does.

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tidegate_providers::Catalogue;

use crate::sample::{Wanted, prepare, send};

const STORY: &str = include_str!("story.toml");

/// One request of the demo.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it shows.
    pub title: String,
    /// The provider.
    pub provider: String,
    /// Its recorded case.
    pub case: String,
    /// The integration that it is sent to.
    pub integration: String,
    /// Whether it is signed with a secret that nobody gave out.
    #[serde(default)]
    pub forged: bool,
    /// The status of the reply.
    #[serde(default = "ok")]
    pub status: u16,
    /// What the reply's body must hold.
    #[serde(default)]
    pub answer: String,
    /// Why it is refused at the door.
    #[serde(default)]
    pub refusal: String,
    /// The outcomes of its events.
    pub outcomes: Vec<String>,
    /// How many of its events belong to no connection.
    #[serde(default)]
    pub unattributed: usize,
    /// How many deliveries must arrive.
    pub delivered: usize,
    /// Whether some of them must have been tried more than once.
    #[serde(default)]
    pub retried: bool,
}

fn ok() -> u16 {
    200
}

/// A step that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The step.
    pub step: Step,
    /// The id in the reply.
    pub request: String,
    /// The reply's status.
    pub status: u16,
    /// The reply's body.
    pub answer: String,
}

#[derive(Deserialize)]
struct Story {
    step: Vec<Step>,
}

/// Every step, in order.
pub fn steps() -> Vec<Step> {
    toml::from_str::<Story>(STORY)
        .expect("a test reads the story")
        .step
}

/// Sends one step to its integration's URL, signed with the demo's secret, or forged.
///
/// # Errors
/// When nobody answers, or the answer carries no request id.
pub async fn tell(catalogue: &Catalogue, step: Step, (url, secret): (&str, &str)) -> anyhow::Result<Sent> {
    let wanted = Wanted {
        provider: step.provider.clone(),
        case: Some(step.case.clone()),
        url: url.to_owned(),
        secret: Some(secret.to_owned()),
        forge: step.forged,
    };
    let prepared = prepare(catalogue, &wanted)?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let answer = send(&http, &prepared.sample).await?;
    let request = answer
        .headers()
        .get("tidegate-request-id")
        .context("the reply has no tidegate-request-id")?;
    let request = request.to_str()?.to_owned();
    ensure!(!request.is_empty(), "the reply's tidegate-request-id is empty");
    let status = answer.status().as_u16();
    Ok(Sent {
        step,
        request,
        status,
        answer: answer.text().await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_read_and_its_samples_exist() {
        let catalogue = Catalogue::builtin().expect("the definitions compile");
        let steps = steps();
        assert!(steps.len() >= 8, "{} steps", steps.len());
        for step in steps {
            let wanted = Wanted {
                provider: step.provider.clone(),
                case: Some(step.case.clone()),
                url: "http://127.0.0.1/webhook/e/i".to_owned(),
                secret: Some("c2VjcmV0IG9mIHRoaXMgdGVzdA==".to_owned()),
                forge: step.forged,
            };
            assert!(prepare(&catalogue, &wanted).is_ok(), "{}", step.title);
        }
    }
}
