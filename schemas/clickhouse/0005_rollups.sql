-- Sums of each minute. A minute is written whole under a run number, again when rows came late; only the highest run
-- that is noted in `rollup_runs` counts, and it is noted after its rows are there.
CREATE TABLE IF NOT EXISTS rollup_runs
(
    rollup   LowCardinality(String) COMMENT 'requests, events or attempts',
    minute   DateTime('UTC'),
    run      UInt64,
    begun_at DateTime64(3, 'UTC') COMMENT 'rows that came after this are not in it'
)
ENGINE = ReplacingMergeTree(run)
PARTITION BY toYYYYMM(minute)
ORDER BY (rollup, minute)
TTL minute + INTERVAL 400 DAY;

CREATE TABLE IF NOT EXISTS request_rollups
(
    environment UUID,
    integration LowCardinality(String),
    minute      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    run         UInt64,
    provider    LowCardinality(String),
    kind        LowCardinality(String),
    status      UInt16,
    refusal     LowCardinality(String),
    requests    UInt64,
    body_bytes  UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (environment, integration, minute, run)
TTL minute + INTERVAL 400 DAY;

CREATE TABLE IF NOT EXISTS event_rollups
(
    environment UUID,
    integration LowCardinality(String),
    minute      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    run         UInt64,
    provider    LowCardinality(String),
    event_type  LowCardinality(String),
    attribution LowCardinality(String),
    outcome     LowCardinality(String),
    reason      LowCardinality(String),
    events      UInt64,
    deliveries  UInt64 COMMENT 'how many endpoints they were given to'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (environment, integration, minute, run)
TTL minute + INTERVAL 400 DAY;

-- The minute is the one in which the try began.
CREATE TABLE IF NOT EXISTS attempt_rollups
(
    environment         UUID,
    integration         LowCardinality(String),
    minute              DateTime('UTC') CODEC(Delta, ZSTD(1)),
    run                 UInt64,
    provider            LowCardinality(String),
    endpoint_id         UUID,
    status              LowCardinality(String),
    reason              LowCardinality(String),
    http_status         UInt16,
    attempts            UInt64 COMMENT 'closing rows included',
    duration_micros     UInt64 COMMENT 'of all of them together',
    duration_micros_max UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (environment, integration, minute, run)
TTL minute + INTERVAL 400 DAY;

CREATE OR REPLACE VIEW requests_per_minute AS
SELECT * EXCEPT (run)
FROM request_rollups
WHERE (minute, run) IN (SELECT minute, max(run) FROM rollup_runs WHERE rollup = 'requests' GROUP BY minute);

CREATE OR REPLACE VIEW events_per_minute AS
SELECT * EXCEPT (run)
FROM event_rollups
WHERE (minute, run) IN (SELECT minute, max(run) FROM rollup_runs WHERE rollup = 'events' GROUP BY minute);

CREATE OR REPLACE VIEW attempts_per_minute AS
SELECT * EXCEPT (run)
FROM attempt_rollups
WHERE (minute, run) IN (SELECT minute, max(run) FROM rollup_runs WHERE rollup = 'attempts' GROUP BY minute);
