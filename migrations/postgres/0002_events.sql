-- oldest: 1
-- What listeners are told of: the newest ones, numbered in the order of commits.

CREATE TABLE events (
    number bigint PRIMARY KEY,
    at bigint NOT NULL,
    topic text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    object text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,                -- the user whose it is; '': nobody's
    doc text COLLATE "C" NOT NULL
);
