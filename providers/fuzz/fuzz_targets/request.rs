//! A request out of fuzzed bytes, shared by the targets: what stands before the last blank line are `name:value` headers.
//! In: bytes. Out: a definition's answer to everything. Holds nothing to be proved itself.

use std::collections::BTreeMap;

use tidegate_providers::{Awaiting, Credentials, Definition, NoKeySets, RawEvent, RawRequest, Verified};
use tidegate_schemas::{HeaderText, Headers, UnixMillis};

/// Cuts the input at its first empty line: headers, body.
pub fn cut(input: &[u8]) -> (Headers, &[u8]) {
    let at = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, body) = input.split_at(at);
    let mut headers = Headers::default();
    for line in head.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        headers.push(&String::from_utf8_lossy(name), HeaderText::new(value.get(1..).unwrap_or_default()));
    }
    (headers, body.get(2..).unwrap_or_default())
}

/// Asks a definition everything; splits when nothing need be proved; yields what verified with these credentials.
pub fn ask(
    definition: &Definition,
    (headers, body): (&Headers, &[u8]),
    credentials: Credentials<'_>,
    look: impl Fn(&[RawEvent<'_>]),
) -> Option<Verified> {
    let cfg = BTreeMap::new();
    let request = definition.parse(RawRequest {
        method: "POST",
        path: "/webhook/e/i",
        query: "a=1&token=x",
        headers,
        body,
        url: "https://hooks.test/webhook/e/i?a=1&token=x",
        received_at: UnixMillis(1_795_255_200_000),
        cfg: &cfg,
    });
    let handshake = definition.handshake(&request, Awaiting { integration: true, connection: true });
    let _answer = handshake.map(|handshake| handshake.answer(None, credentials).is_ok());
    let _found = (definition.identify(&request), definition.route(&request), definition.reply(&request));
    let mut masked = body.to_vec();
    definition.masks(&request).apply(&mut masked);
    let open = Credentials { secrets: &[], allow_unverified: true };
    if let Ok(verified) = definition.verify(&request, open, &NoKeySets)
        && let Ok(events) = definition.split(&request, &verified)
    {
        look(&events);
    }
    definition.verify(&request, credentials, &NoKeySets).ok()
}
