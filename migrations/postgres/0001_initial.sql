-- oldest: 1
-- Times are Unix milliseconds; ids are ULIDs; documents are JSON text without secrets.

CREATE TABLE position (
    one bigint PRIMARY KEY CHECK (one = 1),
    epoch bigint NOT NULL,
    revision bigint NOT NULL,
    trimmed bigint NOT NULL -- state_changes up to here are gone
);
INSERT INTO position VALUES (1, 1, 0, 0);

CREATE TABLE meta (
    key text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE objects (
    id text COLLATE "C" PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL, -- '' when it has none
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    managed_by text COLLATE "C" NOT NULL,
    doc json NOT NULL
);
CREATE UNIQUE INDEX objects_by_name ON objects (kind, name) WHERE name <> '';
CREATE INDEX objects_by_id ON objects (kind, id);

CREATE TABLE refs (
    from_id text COLLATE "C" NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    field text COLLATE "C" NOT NULL,
    to_id text COLLATE "C" NOT NULL REFERENCES objects (id) ON DELETE RESTRICT,
    PRIMARY KEY (from_id, field, to_id)
);
CREATE INDEX refs_by_target ON refs (to_id, field, from_id);

CREATE TABLE members (
    relation text COLLATE "C" NOT NULL,
    group_id text COLLATE "C" NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    member_id text COLLATE "C" NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    doc json NOT NULL,
    added_at bigint NOT NULL,
    PRIMARY KEY (relation, group_id, member_id)
);
CREATE INDEX members_by_member ON members (relation, member_id, group_id);
CREATE INDEX members_of_group ON members (group_id);
CREATE INDEX members_of_member ON members (member_id);

CREATE TABLE secrets (
    object_id text COLLATE "C" NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    purpose text COLLATE "C" NOT NULL,
    value bytea NOT NULL, -- a hash, or sealed bytes
    fingerprint text COLLATE "C" NOT NULL,
    set_at bigint NOT NULL,
    PRIMARY KEY (object_id, purpose)
);
CREATE INDEX secrets_by_value ON secrets (purpose, value);

CREATE TABLE audit_events (
    writer text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    id text COLLATE "C" NOT NULL UNIQUE,
    at bigint NOT NULL,
    doc json NOT NULL, -- as it was chained, to the byte
    prev_hash text COLLATE "C" NOT NULL,
    hash text COLLATE "C" NOT NULL,
    PRIMARY KEY (writer, seq)
);

CREATE TABLE state_records (
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    json text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE TABLE state_changes (
    revision bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    json text COLLATE "C", -- NULL: removed
    PRIMARY KEY (revision, kind, id)
);
CREATE INDEX state_changes_by_record ON state_changes (kind, id, revision);

CREATE TABLE publications ( -- signed deltas: a chain by digest
    epoch bigint NOT NULL,
    revision bigint NOT NULL,
    after bigint NOT NULL,
    digest text COLLATE "C" NOT NULL,
    document bytea NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (epoch, revision)
);

CREATE TABLE records (
    source bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    doc json NOT NULL,
    PRIMARY KEY (source, id)
);

CREATE TABLE reports (
    topic text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    doc text COLLATE "C" NOT NULL,
    PRIMARY KEY (topic, subject)
);

CREATE TABLE answers (
    principal text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    body_hash text COLLATE "C" NOT NULL,
    status bigint NOT NULL,
    location text COLLATE "C" NOT NULL,
    etag text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (principal, key, operation)
);
CREATE INDEX answers_by_time ON answers (at);

CREATE TABLE penalties (
    key text COLLATE "C" PRIMARY KEY,
    failures bigint NOT NULL,
    until bigint NOT NULL
);
CREATE INDEX penalties_by_end ON penalties (until);

CREATE TABLE keys (
    purpose text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    public_part bytea NOT NULL,
    sealed bytea NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (purpose, number)
);

CREATE TABLE join_uses (
    token_id text COLLATE "C" NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    csr_hash text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    answer bytea NOT NULL,
    PRIMARY KEY (token_id, csr_hash, at)
);

CREATE TABLE certificates (
    fingerprint text COLLATE "C" PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    key_hash text COLLATE "C" NOT NULL,
    not_after bigint NOT NULL,
    issued_at bigint NOT NULL
);
CREATE INDEX certificates_by_subject ON certificates (subject, generation);

-- How lists look at a document's field: NULL unless it is of that type.
CREATE FUNCTION adit_text(doc json, path text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE json_typeof(doc #> path) WHEN 'string' THEN doc #>> path END
$$;
CREATE FUNCTION adit_number(doc json, path text[]) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE json_typeof(doc #> path) WHEN 'number' THEN (doc #>> path)::numeric END
$$;
CREATE FUNCTION adit_bool(doc json, path text[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE json_typeof(doc #> path) WHEN 'boolean' THEN (doc #>> path)::boolean END
$$;
-- In an order of all values; absent is as empty text.
CREATE FUNCTION adit_sort(doc json, path text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN doc #>> path IS NULL THEN '""'::jsonb ELSE (doc #> path)::jsonb END
$$;

-- RFC 7396.
CREATE FUNCTION adit_merge(target json, patch json) RETURNS json LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN json_typeof(patch) <> 'object' THEN patch ELSE (
        SELECT coalesce(json_object_agg(key, CASE WHEN p.value IS NULL THEN t.value
                                                  ELSE adit_merge(t.value, p.value) END), '{}'::json)
        FROM json_each(CASE json_typeof(target) WHEN 'object' THEN target ELSE '{}'::json END) t
        FULL JOIN json_each(patch) p USING (key)
        WHERE p.value IS NULL OR json_typeof(p.value) <> 'null') END
$$;
