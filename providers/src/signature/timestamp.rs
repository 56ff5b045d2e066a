//! The signed time and how old it may be. Age is measured at the time of receipt, so that a backlog makes no forgeries.
//! In: a scope. Out: nothing, or a refusal: missing, malformed, expired.

use tidegate_schemas::{Reason, UnixMillis};

use crate::pick::Scope;
use crate::setting::{Setting, word};
use crate::template::Value;
use crate::time::TimeFormat;
use crate::verdict::Refusal;

/// A clock that runs ahead by less than this is not called the future where only the past is bounded.
const SKEW_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Where the signed time is and how far it may be from the time of receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub value: Value,
    pub format: Setting<TimeFormat>,
    /// Seconds, inclusive; none: any age.
    pub tolerance: Option<Setting<u64>>,
    pub past_only: bool,
}

impl Timestamp {
    /// Reads the time, before anything is signed with it.
    pub fn read(&self, scope: &Scope<'_>) -> Result<UnixMillis, Refusal> {
        let Some(text) = self.value.pick(scope) else {
            return Err(Refusal::new(
                Reason::TimestampMissing,
                "the signed time is missing",
            ));
        };
        let format = self.format.of(scope.request, word)?;
        format
            .read(&text)
            .ok_or_else(|| Refusal::new(Reason::TimestampMalformed, "the signed time cannot be read"))
    }

    /// Refuses a time that is out of tolerance.
    pub fn check(&self, time: UnixMillis, scope: &Scope<'_>) -> Result<(), Refusal> {
        let Some(tolerance) = &self.tolerance else {
            return Ok(());
        };
        let seconds = tolerance.of(scope.request, |text| text.parse().ok())?;
        let received_at = scope.request.raw.received_at;
        let most = seconds.saturating_mul(1000);
        let ahead = if self.past_only {
            most.max(SKEW_MILLIS)
        } else {
            most
        };
        let (past, future) = (
            received_at.0.saturating_sub(time.0),
            time.0.saturating_sub(received_at.0),
        );
        if past <= most && future <= ahead {
            return Ok(());
        }
        let detail = format!(
            "signed {past} ms before and {future} ms after it was received; {seconds} s are tolerated"
        );
        Err(Refusal::new(Reason::Expired, detail))
    }
}

/// Reads and checks an optional timestamp around the proof itself: genuine and late is `expired`, forged is not.
pub(crate) fn around<E: From<Refusal>>(
    timestamp: Option<&Timestamp>,
    scope: &Scope<'_>,
    prove: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let time = timestamp.map(|timestamp| timestamp.read(scope)).transpose()?;
    prove()?;
    if let (Some(timestamp), Some(time)) = (timestamp, time) {
        timestamp.check(time, scope)?;
    }
    Ok(())
}
