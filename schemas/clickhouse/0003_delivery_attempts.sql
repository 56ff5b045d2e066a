-- One row for each HTTP try of a delivery, and a closing row (number 0) for a delivery that ends without one.
-- `received_at` is when the event's request was received, so that a delivery's tries lie beside one another.
CREATE TABLE IF NOT EXISTS delivery_attempts
(
    environment     UUID,
    integration     LowCardinality(String),
    received_at     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    attempt_id      UUID,
    delivery_id     UUID,
    event_id        UUID,
    request_id      UUID,
    event_partition UInt32 COMMENT 'where the event lies in the topic events',
    event_offset    UInt64 CODEC(Delta, ZSTD(1)),
    provider        LowCardinality(String),
    connection      String,
    event_type      LowCardinality(String),
    endpoint_id     UUID,
    endpoint        LowCardinality(String) COMMENT 'the name of the endpoint then',
    url             String CODEC(ZSTD(1)),
    number          UInt32 COMMENT 'which try this was, from 1; 0 for a closing row',
    status          LowCardinality(String) COMMENT 'delivered, parked, dead or cancelled',
    reason          LowCardinality(String),
    http_status     UInt16 COMMENT '0 without an answer',
    error           String,
    attempted_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    duration_micros UInt64,
    response        String COMMENT 'the first bytes of the answer' CODEC(ZSTD(1))
                    TTL toDateTime(received_at) + INTERVAL 14 DAY,
    next_at         Nullable(DateTime64(3, 'UTC')) COMMENT 'when the next try is due',
    version         UInt64 CODEC(Delta, ZSTD(1)),
    inserted_at     DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX by_attempted_at attempted_at TYPE minmax GRANULARITY 1,
    INDEX by_inserted_at inserted_at TYPE minmax GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toDate(received_at)
ORDER BY (environment, integration, received_at, attempt_id)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000;
