//! `tidegate send PROVIDER --to URL`: a recorded webhook of a provider, signed anew, sent to any URL.

use std::process::ExitCode;

use clap::Args;
use tidegate_providers::fixture::Fixture;

use crate::command::{Shared, waiting};
use crate::sample::{Wanted, prepare, send};
use crate::serve::catalogue;

/// Send a signed sample webhook of any provider to any URL.
#[derive(Args)]
#[command(
    after_help = "The sample is a recording (providers/fixtures/), signed anew for this URL, secret and time.\n\n\
    tidegate send github --to http://127.0.0.1:8080/webhook/ENVIRONMENT/INTEGRATION --secret my-secret\n\
    tidegate send slack --cases                       # what recordings there are\n\
    tidegate send slack --case url_verification --to …\n\
    tidegate send stripe --forge --to …               # with a wrong signature: expect 401"
)]
pub struct Arguments {
    /// The provider
    provider: String,
    /// Where to send it: the URL as registered at the provider
    #[arg(long, value_name = "URL", required_unless_present = "cases")]
    to: Option<String>,
    /// The recording; without it the first that holds an event
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// The integration's secret; without it the recording's own
    #[arg(long, env = "TIDEGATE_SEND_SECRET", value_name = "TEXT")]
    secret: Option<String>,
    /// Forge it: sign something else than is sent, or send a token that is not the secret
    #[arg(long)]
    forge: bool,
    /// How often to send it
    #[arg(long, short = 'n', default_value_t = 1)]
    times: u32,
    /// List the provider's recordings and send nothing
    #[arg(long)]
    cases: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        if self.cases {
            return self.list();
        }
        let catalogue = catalogue(&shared.load()?)?;
        let wanted = Wanted {
            provider: self.provider,
            case: self.case,
            url: self.to.unwrap_or_default(),
            secret: self.secret,
            forge: self.forge,
        };
        waiting()?.block_on(async {
            let http = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()?;
            let mut refused = false;
            for _ in 0..self.times {
                let prepared = prepare(&catalogue, &wanted)?;
                let answer = send(&http, &prepared.sample).await?;
                let status = answer.status();
                let id = answer
                    .headers()
                    .get("tidegate-request-id")
                    .and_then(|id| id.to_str().ok())
                    .unwrap_or("-")
                    .to_owned();
                println!(
                    "{status}  {id}  {}",
                    answer.text().await.unwrap_or_default().trim_end()
                );
                refused |= !status.is_success();
            }
            Ok(if refused {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        })
    }

    fn list(&self) -> anyhow::Result<ExitCode> {
        let Some(fixture) = Fixture::of(&self.provider) else {
            anyhow::bail!("there is no recording of provider `{}`", self.provider);
        };
        for case in &fixture.cases {
            println!("{:<28} {}", case.name, case.about);
        }
        Ok(ExitCode::SUCCESS)
    }
}
