-- What people read: every request, event and attempt once, in its last state.
CREATE OR REPLACE VIEW requests AS
SELECT * EXCEPT (inserted_at)
FROM webhook_requests FINAL;

-- An event that was replayed under a new id is left out: the new one stands for it.
CREATE OR REPLACE VIEW events AS
SELECT * EXCEPT (inserted_at, text, window, replay_of),
       nullIf(window, toUUID('00000000-0000-0000-0000-000000000000')) AS window,
       nullIf(replay_of, toUUID('00000000-0000-0000-0000-000000000000')) AS replay_of
FROM webhook_events FINAL
WHERE event_id NOT IN
(
    SELECT replay_of
    FROM webhook_events
    WHERE replay_of > toUUID('00000000-0000-0000-0000-000000000000')
);

-- Events with their payload: the span of the request's body, or the text that stands beside the event. Name the
-- environment, the integration and a time, or the event: the request is then found by its key.
CREATE OR REPLACE VIEW event_payloads AS
SELECT
    e.* EXCEPT (inserted_at, text, window, replay_of),
    nullIf(e.window, toUUID('00000000-0000-0000-0000-000000000000')) AS window,
    nullIf(e.replay_of, toUUID('00000000-0000-0000-0000-000000000000')) AS replay_of,
    if(e.span_bytes = 0, e.text, substring(r.body, e.span_start + 1, e.span_bytes)) AS payload
FROM webhook_events AS e FINAL
LEFT JOIN
(
    SELECT environment, integration, received_at, request_id, any(body) AS body
    FROM webhook_requests
    GROUP BY environment, integration, received_at, request_id
) AS r USING (environment, integration, received_at, request_id)
WHERE e.event_id NOT IN
(
    SELECT replay_of
    FROM webhook_events
    WHERE replay_of > toUUID('00000000-0000-0000-0000-000000000000')
);

CREATE OR REPLACE VIEW attempts AS
SELECT * EXCEPT (inserted_at)
FROM delivery_attempts FINAL;
