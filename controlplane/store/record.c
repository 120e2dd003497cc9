#include "controlplane/store/store_internal.h"

#include <errno.h>

static int keep(struct store_tx *tx, enum statement q, enum store_source source, const struct ulid *id,
                struct span doc)
{
    if (doc.n > STORE_DOC_MAX)
        return -EINVAL;
    return db_done(tx, db_bind(tx, q, "iuis", (int64_t)source, id, (int64_t)store_now_ms(tx->store), doc), NULL);
}

int store_record_put(struct store_tx *tx, enum store_source source, const struct ulid *id,
                     struct span doc)
{
    return keep(tx, Q_record_put, source, id, doc);
}

int store_record_add(struct store_tx *tx, enum store_source source, const struct ulid *id,
                     struct span doc)
{
    return keep(tx, Q_record_add, source, id, doc);
}

int store_record_merge(struct store_tx *tx, enum store_source source, const struct ulid *id,
                       struct span doc)
{
    return keep(tx, Q_record_merge, source, id, doc);
}

int store_records_trim(struct store_tx *tx, enum store_source source, uint64_t keep)
{
    if (!keep)
        return -EINVAL;
    return db_done(tx, db_bind(tx, Q_records_trim, "iii", (int64_t)source, (int64_t)keep,
                               (int64_t)(source == STORE_STREAMS)), NULL);
}

int store_report_put(struct store_tx *tx, const struct ulid *subject, const char *topic,
                     struct span doc)
{
    if (doc.n > STORE_DOC_MAX)
        return -EINVAL;
    return db_done(tx, db_bind(tx, Q_report_put, "tuis", topic, subject,
                               (int64_t)store_now_ms(tx->store), doc), NULL);
}

int store_report_delete(struct store_tx *tx, const struct ulid *subject, const char *topic)
{
    return db_done(tx, db_bind(tx, Q_report_delete, "tu", topic, subject), NULL);
}

int store_report_get(struct store_tx *tx, const struct ulid *subject, const char *topic,
                     struct buf *ret_doc, int64_t *ret_at_ms)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_report_get, "tu", topic, subject);
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : STORE_E_NOT_FOUND;
    *ret_at_ms = column_int(row, 1);
    buf_put_span(ret_doc, column_span(row, 2));
    return buf_error(ret_doc);
}

int store_reports(struct store_tx *tx, const char *topic, store_report_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_reports, "t", topic);
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        struct ulid subject = column_ulid(row, 0);

        r = fn(ctx, &subject, column_span(row, 2), column_int(row, 1));
        if (r)
            return r;
    }
    return r;
}

/* ---- idempotency ---- */

int store_answer_get(struct store_tx *tx, struct span principal, struct span key,
                     const char *operation, struct store_answer *ret_answer)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_answer_get, "sst", principal, key, operation);
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : STORE_E_NOT_FOUND;
    column_copy(row, 0, ret_answer->body_hash, sizeof(ret_answer->body_hash));
    ret_answer->status = (unsigned)column_int(row, 1);
    column_copy(row, 2, ret_answer->location, sizeof(ret_answer->location));
    column_copy(row, 3, ret_answer->etag, sizeof(ret_answer->etag));
    buf_init_heap(&ret_answer->body, 4 * STORE_DOC_MAX);
    buf_put_span(&ret_answer->body, column_span(row, 4));
    return buf_error(&ret_answer->body);
}

int store_answer_put(struct store_tx *tx, struct span principal, struct span key,
                     const char *operation, const struct store_answer *answer)
{
    return db_done(tx, db_bind(tx, Q_answer_put, "ssttittbi", principal, key, operation,
                               answer->body_hash, (int64_t)answer->status, answer->location,
                               answer->etag, buf_span(&answer->body),
                               (int64_t)store_now_ms(tx->store)), NULL);
}

int store_answers_trim(struct store_tx *tx, int64_t before_ms)
{
    return db_done(tx, db_bind(tx, Q_answers_trim, "i", before_ms), NULL);
}

/* ---- penalties ---- */

int store_penalty_get(struct store_tx *tx, struct span key, struct store_penalty *ret_penalty)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_penalty_get, "s", key);
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : STORE_E_NOT_FOUND;
    *ret_penalty = (struct store_penalty){ column_int(row, 0), column_int(row, 1) };
    return 0;
}

int store_penalty_put(struct store_tx *tx, struct span key, struct store_penalty penalty)
{
    return db_done(tx, db_bind(tx, Q_penalty_put, "sii", key, penalty.failures, penalty.until_ms),
                   NULL);
}

int store_penalties_trim(struct store_tx *tx, int64_t before_ms, uint64_t keep)
{
    return db_done(tx, db_bind(tx, Q_penalties_trim, "ii", before_ms, (int64_t)keep), NULL);
}

/* ---- enrolment ---- */

static int join_repeat(struct store_tx *tx, const struct ulid *token, struct span csr_hash,
                       struct buf *ret_answer)
{
    int64_t since = (int64_t)store_now_ms(tx->store) - STORE_JOIN_REPEAT_MS;
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_join_repeat, "usi", token, csr_hash, since);
    int r;

    r = db_step(tx, row);
    if (r == DB_ROW)
        buf_put_span(ret_answer, column_span(row, 0));
    return r;
}

int store_join_uses(struct store_tx *tx, const struct ulid *token, uint64_t *ret_uses)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_join_count, "u", token);
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : -EUCLEAN;
    *ret_uses = (uint64_t)column_int(row, 0);
    return 0;
}

static int check_uses(struct store_tx *tx, const struct ulid *token, uint64_t max_uses)
{
    uint64_t uses;
    int r = store_join_uses(tx, token, &uses);

    return r ? r : uses >= max_uses ? STORE_E_USED_UP : 0;
}

/* Where nothing is counted only the answers matter that may be asked for again. */
static int join_forget(struct store_tx *tx, const struct ulid *token)
{
    int64_t since = (int64_t)store_now_ms(tx->store) - STORE_JOIN_REPEAT_MS;

    return db_done(tx, db_bind(tx, Q_join_forget, "ui", token, since), NULL);
}

int store_join_use(struct store_tx *tx, const struct ulid *token, struct span csr_hash,
                   uint64_t max_uses, bool *ret_is_repeat, struct buf *ret_answer)
{
    int r;

    r = join_repeat(tx, token, csr_hash, ret_answer);
    if (r && r != DB_ROW)
        return r;
    *ret_is_repeat = r == DB_ROW;
    if (*ret_is_repeat)
        return buf_error(ret_answer);
    r = max_uses == STORE_JOIN_ANY ? join_forget(tx, token) : check_uses(tx, token, max_uses);
    return r ? r : db_done(tx, db_bind(tx, Q_join_add, "usi", token, csr_hash,
                               (int64_t)store_now_ms(tx->store)), NULL);
}

int store_join_answer(struct store_tx *tx, const struct ulid *token, struct span csr_hash,
                      struct span answer)
{
    int64_t changed;
    int r;

    r = db_done(tx, db_bind(tx, Q_join_answer, "usb", token, csr_hash, answer), &changed);
    return r ? r : changed ? 0 : STORE_E_NOT_FOUND;
}

int store_certificate_put(struct store_tx *tx, const struct store_certificate *c)
{
    return db_done(tx, db_bind(tx, Q_certificate_put, "tutitii", c->fingerprint, &c->subject, c->kind,
                               c->generation, c->key_hash, c->not_after_ms, c->issued_ms), NULL);
}

static int take_certificate(struct store_tx *tx, struct stmt *row, struct store_certificate *ret)
{
    int r;

    r = db_step(tx, row);
    if (r == DB_ROW) {
        column_copy(row, 0, ret->fingerprint, sizeof(ret->fingerprint));
        ret->subject = column_ulid(row, 1);
        column_copy(row, 2, ret->kind, sizeof(ret->kind));
        ret->generation = column_int(row, 3);
        column_copy(row, 4, ret->key_hash, sizeof(ret->key_hash));
        ret->not_after_ms = column_int(row, 5);
        ret->issued_ms = column_int(row, 6);
        r = 0;
    } else if (!r) {
        r = STORE_E_NOT_FOUND;
    }
    stmt_resetp(&row);
    return r;
}

int store_certificate_last(struct store_tx *tx, const struct ulid *subject,
                           struct store_certificate *ret_certificate)
{
    return take_certificate(tx, db_bind(tx, Q_certificate_last, "u", subject), ret_certificate);
}
