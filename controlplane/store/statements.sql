-- Every statement of the store that is not composed from filters (those are in list_sql.c).
-- Behind a name: guarded, when a refusal (taken, in use, no such object) leaves the transaction
-- usable; a driver's name, when the statement is for that database only.

-- name: position_get
SELECT epoch, revision, trimmed FROM position;
-- name: position_advance
UPDATE position SET revision = revision + 1;
-- name: position_raise_epoch
UPDATE position SET epoch = CASE WHEN epoch < ?1 THEN ?1 ELSE epoch + 1 END;
-- name: position_set_trimmed
UPDATE position SET trimmed = ?1 WHERE trimmed < ?1;

-- name: position_restore
UPDATE position SET epoch = ?1, revision = ?2, trimmed = ?3;

-- The server and its timeline, which a standby that takes over begins anew.
-- name: server_identity sqlite
SELECT '';
-- name: server_identity postgres
SELECT system_identifier || ' ' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) FROM pg_control_system();

-- name: meta_get
SELECT value FROM meta WHERE key = ?1;
-- name: meta_put
INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: object_insert guarded
INSERT INTO objects (id, kind, name, version, created_at, updated_at, created_by, managed_by, doc)
VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6, ?7);
-- name: object_update guarded
UPDATE objects SET version = version + 1, updated_at = ?3, name = ?4, doc = ?5
WHERE id = ?1 AND kind = ?2;
-- name: object_version
SELECT version FROM objects WHERE id = ?1 AND kind = ?2;
-- name: object_delete guarded
DELETE FROM objects WHERE id = ?1;
-- name: object_get
SELECT id, kind, name, version, created_at, updated_at, created_by, managed_by, doc
FROM objects WHERE id = ?1 AND (?2 = '' OR kind = ?2);
-- name: object_find
SELECT id, kind, name, version, created_at, updated_at, created_by, managed_by, doc
FROM objects WHERE kind = ?1 AND name = ?2 AND name <> '';
-- name: object_manage
UPDATE objects SET managed_by = ?3 WHERE id = ?1 AND kind = ?2;

-- name: refs_clear
DELETE FROM refs WHERE from_id = ?1 AND field = ?2;
-- name: refs_add guarded
INSERT INTO refs (from_id, field, to_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING;
-- name: referrers
SELECT o.id, o.kind, o.name, r.field FROM refs r JOIN objects o ON o.id = r.from_id
WHERE r.to_id = ?1 AND r.from_id <> ?1 ORDER BY o.kind, o.id LIMIT ?2;

-- name: member_put guarded
INSERT INTO members (relation, group_id, member_id, doc, added_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (relation, group_id, member_id) DO UPDATE SET doc = excluded.doc;
-- name: member_exists
SELECT 1 FROM members WHERE relation = ?1 AND group_id = ?2 AND member_id = ?3;
-- name: member_delete
DELETE FROM members WHERE relation = ?1 AND group_id = ?2 AND member_id = ?3;
-- name: members_of
SELECT m.group_id, m.member_id, g.name, o.name, m.doc, m.added_at
FROM members m JOIN objects g ON g.id = m.group_id JOIN objects o ON o.id = m.member_id
WHERE m.relation = ?1 AND m.group_id = ?2 AND m.member_id > ?3 ORDER BY m.member_id LIMIT ?4;
-- name: groups_of
SELECT m.group_id, m.member_id, g.name, o.name, m.doc, m.added_at
FROM members m JOIN objects g ON g.id = m.group_id JOIN objects o ON o.id = m.member_id
WHERE m.relation = ?1 AND m.member_id = ?2 AND m.group_id > ?3 ORDER BY m.group_id LIMIT ?4;

-- name: secret_put guarded
INSERT INTO secrets (object_id, purpose, value, fingerprint, set_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (object_id, purpose) DO UPDATE
SET value = excluded.value, fingerprint = excluded.fingerprint, set_at = excluded.set_at;
-- name: secret_get
SELECT object_id, value, fingerprint, set_at FROM secrets WHERE object_id = ?1 AND purpose = ?2;
-- name: secret_find
SELECT object_id, value, fingerprint, set_at FROM secrets WHERE purpose = ?1 AND value = ?2;
-- name: secret_delete
DELETE FROM secrets WHERE object_id = ?1 AND purpose = ?2;

-- name: audit_head
SELECT seq, hash FROM audit_events WHERE writer = ?1 ORDER BY seq DESC LIMIT 1;
-- name: audit_append
INSERT INTO audit_events (writer, seq, id, at, doc, prev_hash, hash)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);
-- name: audit_get
SELECT id, 'audit-event', '', 1, at, at, '', '', doc FROM audit_events WHERE id = ?1;
-- name: audit_walk
SELECT writer, seq, id, at, doc, prev_hash, hash FROM audit_events
WHERE (writer, seq) > (?1, ?2) ORDER BY writer, seq LIMIT ?3;
-- name: audit_heads
WITH RECURSIVE writers (writer) AS (
    SELECT min(writer) FROM audit_events
    UNION ALL
    SELECT (SELECT min(e.writer) FROM audit_events e WHERE e.writer > w.writer)
    FROM writers w WHERE w.writer IS NOT NULL)
SELECT w.writer, e.seq, e.hash FROM writers w JOIN audit_events e ON e.writer = w.writer
WHERE e.seq = (SELECT max(last.seq) FROM audit_events last WHERE last.writer = w.writer)
ORDER BY w.writer;
-- name: audit_hash
SELECT hash FROM audit_events WHERE writer = ?1 AND seq = ?2;
-- name: audit_remove
DELETE FROM audit_events WHERE writer = ?1 AND seq IN
    (SELECT seq FROM audit_events WHERE writer = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3);
-- name: checkpoint_put
INSERT INTO audit_checkpoints (number, at, doc, signature) VALUES (?1, ?2, ?3, ?4);
-- name: checkpoint_get
SELECT number, at, doc, signature FROM audit_checkpoints WHERE number = ?1;
-- name: checkpoints
SELECT number, at, doc, signature FROM audit_checkpoints WHERE number > ?1 ORDER BY number LIMIT ?2;
-- name: checkpoint_before
SELECT number, at, doc, signature FROM audit_checkpoints WHERE at < ?1 ORDER BY number DESC LIMIT 1;

-- name: record_put
INSERT INTO records (source, id, at, doc) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (source, id) DO UPDATE SET doc = excluded.doc;
-- name: record_add
INSERT INTO records (source, id, at, doc) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (source, id) DO NOTHING;
-- name: record_merge sqlite
INSERT INTO records (source, id, at, doc) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (source, id) DO UPDATE SET doc = json_patch(records.doc, excluded.doc);
-- name: record_merge postgres
INSERT INTO records (source, id, at, doc) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (source, id) DO UPDATE SET doc = adit_merge(records.doc, excluded.doc);
-- name: record_get
SELECT id, ?2, '', 1, at, at, '', '', doc FROM records WHERE source = ?1 AND id = ?3;
-- name: records_trim sqlite
DELETE FROM records WHERE source = ?1 AND id < (
    SELECT id FROM records WHERE source = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2 - 1)
AND NOT (?3 AND json_extract(doc, '$.state') = 'open');
-- name: records_trim postgres
DELETE FROM records WHERE source = ?1 AND id < (
    SELECT id FROM records WHERE source = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2 - 1)
AND NOT (?3 = 1 AND coalesce(doc ->> 'state', '') = 'open');

-- name: report_put
INSERT INTO reports (topic, subject, at, doc) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (topic, subject) DO UPDATE SET at = excluded.at, doc = excluded.doc;
-- name: report_delete
DELETE FROM reports WHERE topic = ?1 AND subject = ?2;
-- name: report_get
SELECT subject, at, doc FROM reports WHERE topic = ?1 AND subject = ?2;
-- name: reports
SELECT subject, at, doc FROM reports WHERE topic = ?1 ORDER BY subject;

-- name: state_get
SELECT json FROM state_records WHERE kind = ?1 AND id = ?2;
-- name: state_put
INSERT INTO state_records (kind, id, json) VALUES (?1, ?2, ?3)
ON CONFLICT (kind, id) DO UPDATE SET json = excluded.json;
-- name: state_remove
DELETE FROM state_records WHERE kind = ?1 AND id = ?2;
-- name: state_change
INSERT INTO state_changes (revision, kind, id, json) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (revision, kind, id) DO UPDATE SET json = excluded.json;
-- name: state_each
SELECT 0, kind, id, json FROM state_records ORDER BY kind, id;
-- name: state_changes
SELECT revision, kind, id, json FROM state_changes c
WHERE revision > ?1 AND NOT EXISTS (
    SELECT 1 FROM state_changes d WHERE d.kind = c.kind AND d.id = c.id AND d.revision > c.revision)
ORDER BY kind, id;
-- name: state_trim
DELETE FROM state_changes WHERE revision <= ?1;

-- name: publication_put guarded
INSERT INTO publications (epoch, revision, after, digest, document, at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6);
-- name: publications
SELECT epoch, revision, after, digest, document FROM publications
ORDER BY epoch DESC, revision DESC LIMIT ?1;
-- name: publications_trim
DELETE FROM publications WHERE (epoch, revision) < (
    SELECT epoch, revision FROM publications ORDER BY epoch DESC, revision DESC LIMIT 1 OFFSET ?1 - 1);

-- name: answer_get
SELECT body_hash, status, location, etag, body FROM answers
WHERE principal = ?1 AND key = ?2 AND operation = ?3;
-- name: answer_put
INSERT INTO answers (principal, key, operation, body_hash, status, location, etag, body, at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING;
-- name: answers_trim
DELETE FROM answers WHERE at < ?1;

-- name: penalty_get
SELECT failures, until FROM penalties WHERE key = ?1;
-- name: penalty_put
INSERT INTO penalties (key, failures, until) VALUES (?1, ?2, ?3)
ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, until = excluded.until;
-- name: penalties_trim
DELETE FROM penalties WHERE until < ?1 OR key IN (
    SELECT key FROM penalties ORDER BY until DESC LIMIT 1000000000 OFFSET ?2);

-- name: key_put guarded
INSERT INTO keys (purpose, number, status, public_part, sealed, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6);
-- name: key_set_status
UPDATE keys SET status = ?3 WHERE purpose = ?1 AND number = ?2;
-- name: key_retire
UPDATE keys SET status = 'retired', sealed = '' WHERE purpose = ?1 AND number = ?2;
-- name: keys
SELECT purpose, number, status, public_part, sealed, created_at FROM keys
WHERE ?1 = '' OR purpose = ?1 ORDER BY purpose, number;

-- name: join_repeat
SELECT answer FROM join_uses WHERE token_id = ?1 AND csr_hash = ?2 AND at > ?3
ORDER BY at DESC LIMIT 1;
-- name: join_forget
DELETE FROM join_uses WHERE token_id = ?1 AND at <= ?2;
-- name: join_count
SELECT count(*) FROM join_uses WHERE token_id = ?1;
-- name: join_add guarded
INSERT INTO join_uses (token_id, csr_hash, at, answer) VALUES (?1, ?2, ?3, '');
-- name: join_answer
UPDATE join_uses SET answer = ?3 WHERE token_id = ?1 AND csr_hash = ?2
AND at = (SELECT max(at) FROM join_uses WHERE token_id = ?1 AND csr_hash = ?2);

-- name: certificate_put guarded
INSERT INTO certificates (fingerprint, subject, kind, generation, key_hash, not_after, issued_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);
-- name: certificate_last
SELECT fingerprint, subject, kind, generation, key_hash, not_after, issued_at FROM certificates
WHERE subject = ?1 ORDER BY generation DESC LIMIT 1;

-- name: event_add
INSERT INTO events (number, at, topic, kind, object, owner, doc)
VALUES ((SELECT coalesce(max(number), 0) + 1 FROM events), ?1, ?2, ?3, ?4, ?5, ?6);
-- name: events
SELECT number, at, topic, kind, object, owner, doc FROM events
WHERE number > ?1 ORDER BY number LIMIT ?2;
-- name: events_bounds
SELECT coalesce((SELECT min(number) FROM events), 0), coalesce((SELECT max(number) FROM events), 0);
-- name: events_trim
DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?1;

-- name: statistic_add
UPDATE statistics SET opened = CASE WHEN opened < 200000000000000 THEN opened + ?5 ELSE opened END,
    refused = CASE WHEN refused < 200000000000000 THEN refused + ?6 ELSE refused END,
    broken = CASE WHEN broken < 200000000000000 THEN broken + ?7 ELSE broken END,
    bytes_out = CASE WHEN bytes_out < 200000000000000 THEN bytes_out + ?8 ELSE bytes_out END,
    bytes_in = CASE WHEN bytes_in < 200000000000000 THEN bytes_in + ?9 ELSE bytes_in END,
    weight = CASE WHEN weight < 200000000000000 THEN weight + ?10 ELSE weight END,
    last_at = CASE WHEN last_at < ?11 THEN ?11 ELSE last_at END
WHERE width = ?1 AND dimension = ?2 AND at = ?3 AND key = ?4;
-- name: statistic_insert
INSERT INTO statistics (width, dimension, at, key, opened, refused, broken, bytes_out, bytes_in, weight,
    last_at, error)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12);
-- name: statistic_rows
SELECT key, opened, refused, broken, bytes_out, bytes_in, weight, last_at
FROM statistics WHERE width = ?1 AND dimension = ?2 AND at = ?3 AND key <> '';
-- name: statistic_delete
DELETE FROM statistics WHERE width = ?1 AND dimension = ?2 AND at = ?3 AND key = ?4;
-- name: statistic_points
SELECT at - at % ?6, CAST(sum(opened) AS bigint), CAST(sum(refused) AS bigint), CAST(sum(broken) AS bigint),
    CAST(sum(bytes_out) AS bigint), CAST(sum(bytes_in) AS bigint)
FROM statistics WHERE width = ?1 AND dimension = ?2 AND at >= ?3 AND at < ?4 AND key = ?5
GROUP BY 1 ORDER BY 1;
-- name: statistic_sums
SELECT key, CAST(sum(opened) AS bigint), CAST(sum(refused) AS bigint), CAST(sum(broken) AS bigint),
    CAST(sum(bytes_out) AS bigint), CAST(sum(bytes_in) AS bigint), CAST(sum(error) AS bigint), max(last_at)
FROM statistics WHERE width = ?1 AND dimension = ?2 AND at >= ?3 AND at < ?4
GROUP BY key;
-- name: statistics_trim
DELETE FROM statistics WHERE width = ?1 AND dimension = ?2 AND at < ?3;
