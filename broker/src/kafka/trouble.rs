//! Why this process does not come to the cluster, in words that name our settings. In: what librdkafka reports. Out: the
//! last trouble, and whether waiting could help. Tries nothing again by itself.

use std::borrow::Cow;

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// librdkafka's names of what has a key of ours. Longer names come before those that they contain.
const SETTINGS: [(&str, &str); 9] = [
    ("ssl.ca.location", "broker.kafka.tls.ca"),
    ("ssl.certificate.location", "broker.kafka.tls.certificate"),
    ("ssl.key.location", "broker.kafka.tls.key"),
    (
        "security.protocol",
        "broker.kafka.tls.enabled or broker.kafka.sasl.mechanism",
    ),
    ("sasl.mechanisms", "broker.kafka.sasl.mechanism"),
    ("sasl.mechanism", "broker.kafka.sasl.mechanism"),
    ("sasl.username", "broker.kafka.sasl.user"),
    ("sasl.password", "broker.kafka.sasl.password"),
    ("bootstrap.servers", "broker.kafka.bootstrap"),
];

/// What stands before the names of our settings, some of which end as theirs do.
const OURS: &str = "broker.kafka.";

/// What was reported last.
#[derive(Default)]
pub struct Trouble {
    last: Mutex<Option<(String, bool)>>,
}

impl Trouble {
    /// Takes a report in. One that says why outlives those that only say that brokers are away.
    pub fn note(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        let words = in_our_words(reason);
        let about = match code {
            Some(Code::AllBrokersDown) => return,
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                " (broker.kafka.sasl.user, broker.kafka.sasl.password)"
            }
            Some(Code::UnsupportedFeature | Code::UnsupportedSASLMechanism) => {
                " (broker.kafka.sasl.mechanism)"
            }
            // The other side's word for it, after the handshake.
            _ if reason.contains("alert") && reason.contains("certificate") => {
                " (broker.kafka.tls.certificate, broker.kafka.tls.key)"
            }
            Some(Code::SSL) => " (broker.kafka.tls.ca)",
            _ => "",
        };
        let is_hopeless = !about.is_empty();
        let mut last = self.last.lock();
        if is_hopeless || !last.as_ref().is_some_and(|(_, was_hopeless)| *was_hopeless) {
            *last = Some((format!("{words}{about}"), is_hopeless));
        }
    }

    /// The last trouble, and whether it stays until somebody changes a setting.
    pub fn last(&self) -> Option<(String, bool)> {
        self.last.lock().clone()
    }
}

/// A text of librdkafka's with our settings' names instead of its own; a text in our words stays as it is.
pub fn in_our_words(text: &str) -> Cow<'_, str> {
    SETTINGS.iter().fold(Cow::Borrowed(text), |text, (theirs, ours)| {
        if text.contains(theirs) {
            Cow::Owned(replace(&text, theirs, ours))
        } else {
            text
        }
    })
}

fn replace(text: &str, theirs: &str, ours: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(theirs) {
        replaced.push_str(before);
        let is_ours = replaced.ends_with(OURS);
        replaced.push_str(if is_ours { theirs } else { ours });
        rest = after;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_as_we_name_them() {
        let check = |theirs: &str, ours: &str| assert_eq!(in_our_words(theirs), ours);
        check(
            "verify that ssl.ca.location is correctly configured",
            "verify that broker.kafka.tls.ca is correctly configured",
        );
        check(
            "see ssl.key.location and ssl.certificate.location",
            "see broker.kafka.tls.key and broker.kafka.tls.certificate",
        );
        check("sasl.mechanisms set", "broker.kafka.sasl.mechanism set");
        check("connection refused", "connection refused");
        let ours = "broker.kafka.sasl.mechanism is not what sasl.mechanism says";
        let once = in_our_words(ours).into_owned();
        check(&once, &once);
    }

    #[test]
    fn a_reason_outlives_the_silence_that_follows_it() {
        let trouble = Trouble::default();
        let report = |code, reason| trouble.note(&KafkaError::Global(code), reason);
        report(RDKafkaErrorCode::BrokerTransportFailure, "connection refused");
        assert_eq!(trouble.last(), Some(("connection refused".to_owned(), false)));
        report(RDKafkaErrorCode::Authentication, "who are you?");
        report(RDKafkaErrorCode::BrokerTransportFailure, "connection refused");
        report(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let (words, is_hopeless) = trouble.last().expect("it was told");
        assert!(
            is_hopeless && words.contains("who are you?") && words.contains("broker.kafka.sasl.password")
        );
    }
}
