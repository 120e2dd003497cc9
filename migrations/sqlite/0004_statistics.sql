-- oldest: 1
-- What went through the relays, by minute and by hour; sketches with a bound, see statistics.c.

CREATE TABLE statistics (
    width INTEGER NOT NULL,             -- 60 or 3600 seconds
    dimension INTEGER NOT NULL,
    at INTEGER NOT NULL,                -- where it begins, Unix seconds
    key TEXT NOT NULL,                  -- '' beside others: those that found no room
    opened INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    broken INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    error INTEGER NOT NULL,             -- of the weight: what it took over from others
    last_at INTEGER NOT NULL,           -- Unix milliseconds
    PRIMARY KEY (width, dimension, at, key)
) WITHOUT ROWID;
