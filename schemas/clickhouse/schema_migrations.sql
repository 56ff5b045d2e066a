-- Which migrations were applied, and what they said then.
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number     UInt32,
    file       String,
    checksum   String COMMENT 'SHA-256 of the file, as hex',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number;
