-- oldest: 1
-- What listeners are told of: the newest ones, numbered in the order of commits.

CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    topic TEXT NOT NULL,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    owner TEXT NOT NULL,                -- the user whose it is; '': nobody's
    doc TEXT NOT NULL
);
