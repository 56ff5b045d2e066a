-- One row for each request of a known integration, as it was received. Secrets are masked in every column.
--
-- The key is what a repeat of the same message has again, so a block that is inserted twice leaves one row.
-- `body` is a column of its own term: it goes long before its row does. Both terms are set from the configuration.
CREATE TABLE IF NOT EXISTS webhook_requests
(
    environment       UUID,
    integration       LowCardinality(String),
    received_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    request_id        UUID,
    request_partition UInt32 COMMENT 'where the request lies in the topic requests',
    request_offset    UInt64 CODEC(Delta, ZSTD(1)),
    kind              LowCardinality(String) COMMENT 'received, answered (a handshake) or refused',
    provider          LowCardinality(String),
    connection        String COMMENT 'the connection that the URL names, if it does',
    method            LowCardinality(String),
    path              String CODEC(ZSTD(1)),
    query             String CODEC(ZSTD(1)),
    headers           Map(String, String) COMMENT 'in order, repeated names kept' CODEC(ZSTD(1)),
    remote            String COMMENT 'the address of the sender',
    body              String CODEC(ZSTD(1)) TTL toDateTime(received_at) + INTERVAL 14 DAY,
    body_bytes        UInt64 COMMENT 'the size of the whole body; of a refused request only the first bytes are kept',
    status            UInt16 COMMENT 'the status of the reply',
    refusal           LowCardinality(String) COMMENT 'why it was refused; empty when it was not',
    detail            String,
    spilled           Bool,
    appended_at       DateTime64(3, 'UTC') COMMENT 'when it was appended to its topic' CODEC(Delta, ZSTD(1)),
    inserted_at       DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX by_received_at received_at TYPE minmax GRANULARITY 1,
    INDEX by_inserted_at inserted_at TYPE minmax GRANULARITY 1,
    INDEX by_request_id request_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(request_offset)
PARTITION BY toDate(received_at)
ORDER BY (environment, integration, received_at, request_id)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000;
