// Verifies forwarded webhooks with the official Standard Webhooks library, for the end-to-end tests.
// In: JSON lines of { secret, headers, body } (body: base64 of the raw bytes). Out: a JSON line for each:
// { "ok": true } or { "ok": false, "error": "…" }.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "") continue;
  const { secret, headers, body } = JSON.parse(line);
  let answer = { ok: true };
  try {
    new Webhook(secret).verify(Buffer.from(body, "base64").toString("utf8"), headers);
  } catch (error) {
    answer = { ok: false, error: String(error) };
  }
  console.log(JSON.stringify(answer));
}
