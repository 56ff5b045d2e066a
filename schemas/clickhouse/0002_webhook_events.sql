-- One row for each event: the one verdict on it. `version` is the offset of the journal message that holds the
-- verdict; of two rows for one event the higher is true, and merges keep that one alone.
CREATE TABLE IF NOT EXISTS webhook_events
(
    environment       UUID,
    integration       LowCardinality(String),
    received_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id          UUID,
    request_id        UUID,
    request_partition UInt32 COMMENT 'where the request lies in the topic requests',
    request_offset    UInt64 CODEC(Delta, ZSTD(1)),
    position          UInt32 COMMENT 'which event of the request it is',
    provider          LowCardinality(String),
    connection        String,
    attribution       LowCardinality(String) COMMENT 'matched or none',
    event_type        LowCardinality(String),
    delivery_key      String COMMENT 'the id that the provider gave this delivery',
    object_key        String,
    object_version    String,
    event_time        Nullable(DateTime64(3, 'UTC')) COMMENT 'the time that the provider gave',
    outcome           LowCardinality(String),
    reason            LowCardinality(String),
    detail            String,
    verified          LowCardinality(String) COMMENT 'body, fields, origin, token or none',
    window            UUID COMMENT 'the debounce window; all zeros without one',
    endpoints         Array(UUID) COMMENT 'the endpoints it was given to',
    payload_kind      LowCardinality(String),
    span_start        UInt64 COMMENT 'where its payload begins in the body of the request',
    span_bytes        UInt64 COMMENT 'how many bytes it has; 0 when the payload stands in text',
    text              String COMMENT 'the payload, where it is no span of the body' CODEC(ZSTD(1))
                      TTL toDateTime(received_at) + INTERVAL 14 DAY,
    replay_of         UUID COMMENT 'the event that this one replays under a new id; all zeros for none',
    decided_at        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    version           UInt64 CODEC(Delta, ZSTD(1)),
    inserted_at       DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX by_received_at received_at TYPE minmax GRANULARITY 1,
    INDEX by_inserted_at inserted_at TYPE minmax GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_replay_of replay_of TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toDate(received_at)
ORDER BY (environment, integration, received_at, event_id)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000;
