-- oldest: 1
-- Times are Unix milliseconds; ids are ULIDs; documents are JSON text without secrets.

CREATE TABLE position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    trimmed INTEGER NOT NULL            -- state_changes up to here are gone
);
INSERT INTO position VALUES (1, 1, 0, 0);

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE objects (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,                 -- '' when it has none
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    managed_by TEXT NOT NULL,
    doc TEXT NOT NULL CHECK (json_valid(doc))
);
CREATE UNIQUE INDEX objects_by_name ON objects (kind, name) WHERE name <> '';
CREATE INDEX objects_by_id ON objects (kind, id);

CREATE TABLE refs (
    from_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    field TEXT NOT NULL,
    to_id TEXT NOT NULL REFERENCES objects (id) ON DELETE RESTRICT,
    PRIMARY KEY (from_id, field, to_id)
) WITHOUT ROWID;
CREATE INDEX refs_by_target ON refs (to_id, field, from_id);

CREATE TABLE members (
    relation TEXT NOT NULL,
    group_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    doc TEXT NOT NULL CHECK (json_valid(doc)),
    added_at INTEGER NOT NULL,
    PRIMARY KEY (relation, group_id, member_id)
) WITHOUT ROWID;
CREATE INDEX members_by_member ON members (relation, member_id, group_id);
CREATE INDEX members_of_group ON members (group_id);
CREATE INDEX members_of_member ON members (member_id);

CREATE TABLE secrets (
    object_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    value BLOB NOT NULL,                -- a hash, or sealed bytes
    fingerprint TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    PRIMARY KEY (object_id, purpose)
) WITHOUT ROWID;
CREATE INDEX secrets_by_value ON secrets (purpose, value);

CREATE TABLE audit_events (
    writer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (writer, seq)
);

CREATE TABLE state_records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;

CREATE TABLE state_changes (
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    json TEXT,                          -- NULL: removed
    PRIMARY KEY (revision, kind, id)
) WITHOUT ROWID;
CREATE INDEX state_changes_by_record ON state_changes (kind, id, revision);

CREATE TABLE publications (             -- signed deltas: a chain by digest
    epoch INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    after INTEGER NOT NULL,
    digest TEXT NOT NULL,
    document BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (epoch, revision)
);

CREATE TABLE records (
    source INTEGER NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    doc TEXT NOT NULL CHECK (json_valid(doc)),
    PRIMARY KEY (source, id)
) WITHOUT ROWID;

CREATE TABLE reports (
    topic TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (topic, subject)
) WITHOUT ROWID;

CREATE TABLE answers (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    operation TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    location TEXT NOT NULL,
    etag TEXT NOT NULL,
    body BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (principal, key, operation)
) WITHOUT ROWID;
CREATE INDEX answers_by_time ON answers (at);

CREATE TABLE penalties (
    key TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX penalties_by_end ON penalties (until);

CREATE TABLE keys (
    purpose TEXT NOT NULL,
    number INTEGER NOT NULL,
    status TEXT NOT NULL,
    public_part BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, number)
) WITHOUT ROWID;

CREATE TABLE join_uses (
    token_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    csr_hash TEXT NOT NULL,
    at INTEGER NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (token_id, csr_hash, at)
) WITHOUT ROWID;

CREATE TABLE certificates (
    fingerprint TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    generation INTEGER NOT NULL,
    key_hash TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    issued_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX certificates_by_subject ON certificates (subject, generation);
