-- oldest: 1
-- What went through the relays, by minute and by hour; sketches with a bound, see statistics.c.

CREATE TABLE statistics (
    width bigint NOT NULL,             -- 60 or 3600 seconds
    dimension bigint NOT NULL,
    at bigint NOT NULL,                -- where it begins, Unix seconds
    key text COLLATE "C" NOT NULL,                  -- '' beside others: those that found no room
    opened bigint NOT NULL,
    refused bigint NOT NULL,
    broken bigint NOT NULL,
    bytes_out bigint NOT NULL,
    bytes_in bigint NOT NULL,
    weight bigint NOT NULL,
    error bigint NOT NULL,             -- of the weight: what it took over from others
    last_at bigint NOT NULL,           -- Unix milliseconds
    PRIMARY KEY (width, dimension, at, key)
);
