#include "controlplane/store/store_internal.h"

#include <errno.h>

#define SERVER_KEY "store.server"       /* the one that was led on last */

static int read_position(struct store_tx *tx, struct store_position *ret_position,
                         uint64_t *ret_trimmed)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_position_get, "");
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : -EUCLEAN;
    ret_position->epoch = (uint64_t)column_int(row, 0);
    ret_position->revision = (uint64_t)column_int(row, 1);
    *ret_trimmed = (uint64_t)column_int(row, 2);
    return 0;
}

int store_position(struct store_tx *tx, struct store_position *ret_position)
{
    uint64_t trimmed;

    return read_position(tx, ret_position, &trimmed);
}

bool store_has_revision(const struct store_tx *tx, struct store_position *ret_taken)
{
    *ret_taken = tx->position;
    return tx->has_revision;
}

int position_take(struct store_tx *tx)
{
    int r;

    if (tx->has_revision)
        return 0;
    r = db_done(tx, db_bind(tx, Q_position_advance, ""), NULL);
    if (!r)
        r = store_position(tx, &tx->position);
    if (!r)
        tx->has_revision = true;
    return r;
}

/* 1: the record has exactly this content (or is absent and shall be). */
static int is_unchanged(struct store_tx *tx, const char *kind, struct span id, struct span json,
                        bool *ret_is_unchanged)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_state_get, "ts", kind, id);
    int r;

    r = db_step(tx, row);
    if (r && r != DB_ROW)
        return r;
    *ret_is_unchanged = r == DB_ROW ? json.n && span_eq(column_span(row, 0), json) : !json.n;
    return 0;
}

static int write_record(struct store_tx *tx, const char *kind, struct span id, struct span json)
{
    if (!json.n)
        return db_done(tx, db_bind(tx, Q_state_remove, "ts", kind, id), NULL);
    return db_done(tx, db_bind(tx, Q_state_put, "tss", kind, id, json), NULL);
}

static int write_change(struct store_tx *tx, const char *kind, struct span id, struct span json)
{
    int64_t revision = (int64_t)tx->position.revision;

    if (!json.n)
        return db_done(tx, db_bind(tx, Q_state_change, "itst", revision, kind, id, NULL), NULL);
    return db_done(tx, db_bind(tx, Q_state_change, "itss", revision, kind, id, json), NULL);
}

int store_state_put(struct store_tx *tx, const char *kind, struct span id, struct span json)
{
    bool unchanged = false;
    int r;

    if (json.n > STORE_DOC_MAX)
        return -EINVAL;
    r = is_unchanged(tx, kind, id, json, &unchanged);
    if (r || unchanged)
        return r;
    r = position_take(tx);
    if (!r)
        r = write_record(tx, kind, id, json);
    return r ? r : write_change(tx, kind, id, json);
}

static int give_change(struct stmt *row, store_change_fn fn, void *ctx)
{
    char kind[STORE_KIND_MAX + 1];
    struct store_change change = { .revision = (uint64_t)column_int(row, 0), .kind = kind,
                                   .id = column_span(row, 2), .json = SPAN_NONE };

    column_copy(row, 1, kind, sizeof(kind));
    if (!column_is_null(row, 3))
        change.json = column_span(row, 3);
    return fn(ctx, &change);
}

static int each_change(struct store_tx *tx, struct stmt *row, store_change_fn fn, void *ctx)
{
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = give_change(row, fn, ctx);
        if (r)
            break;
    }
    stmt_resetp(&row);
    return r;
}

int store_state_each(struct store_tx *tx, store_change_fn fn, void *ctx)
{
    return each_change(tx, db_bind(tx, Q_state_each, ""), fn, ctx);
}

int store_state_changes(struct store_tx *tx, uint64_t revision, store_change_fn fn, void *ctx)
{
    struct store_position position;
    uint64_t trimmed;
    int r;

    r = read_position(tx, &position, &trimmed);
    if (r)
        return r;
    if (revision < trimmed)
        return STORE_E_NOT_FOUND;
    return each_change(tx, db_bind(tx, Q_state_changes, "i", (int64_t)revision), fn, ctx);
}

int store_state_trim(struct store_tx *tx, uint64_t up_to_revision)
{
    int r;

    r = db_done(tx, db_bind(tx, Q_position_set_trimmed, "i", (int64_t)up_to_revision), NULL);
    return r ? r : db_done(tx, db_bind(tx, Q_state_trim, "i", (int64_t)up_to_revision), NULL);
}

/* Seconds since 2026: what is raised twice, from what does not know of the first time, is greater. */
#define EPOCH_ZERO_S 1767225600

int64_t epoch_by_clock(const struct store *store)
{
    return (int64_t)store_now_ms(store) / 1000 - EPOCH_ZERO_S;
}

int store_epoch_raise(struct store_tx *tx)
{
    int r;

    r = position_take(tx);
    if (!r)
        r = db_done(tx, db_bind(tx, Q_position_raise_epoch, "i", epoch_by_clock(tx->store)), NULL);
    return r ? r : store_position(tx, &tx->position);
}

static int server_identity(struct store_tx *tx, struct buf *ret_text)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_server_identity, "");
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : -EUCLEAN;
    buf_put_span(ret_text, column_span(row, 0));
    return buf_error(ret_text);
}

int store_meet_server(struct store_tx *tx, bool *ret_is_other)
{
    AUTO(buf_deinit) struct buf now, before;
    int r, known;

    buf_init_heap(&now, 256);
    buf_init_heap(&before, 256);
    *ret_is_other = false;
    r = server_identity(tx, &now);
    if (r)
        return r;
    known = store_meta_get(tx, SERVER_KEY, &before);
    if (known && known != STORE_E_NOT_FOUND)
        return known;
    if (!known && span_eq(buf_span(&now), buf_span(&before)))
        return 0;
    *ret_is_other = !known;
    r = known ? 0 : store_epoch_raise(tx);
    return r ? r : store_meta_put(tx, SERVER_KEY, buf_span(&now));
}

/* ---- what was published ---- */

int store_publication_put(struct store_tx *tx, const struct store_publication *p)
{
    return db_done(tx, db_bind(tx, Q_publication_put, "iiitbi", (int64_t)p->epoch,
                               (int64_t)p->revision, (int64_t)p->after, p->digest, p->document,
                               (int64_t)store_now_ms(tx->store)), NULL);
}

static int give_publication(struct stmt *row, store_publication_fn fn, void *ctx)
{
    struct store_publication p = { .epoch = (uint64_t)column_int(row, 0),
                                   .revision = (uint64_t)column_int(row, 1),
                                   .after = (uint64_t)column_int(row, 2),
                                   .document = column_span(row, 4) };

    column_copy(row, 3, p.digest, sizeof(p.digest));
    return fn(ctx, &p);
}

int store_publications(struct store_tx *tx, size_t limit, store_publication_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_publications, "i", (int64_t)limit);
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = give_publication(row, fn, ctx);
        if (r)
            return r;
    }
    return r;
}

int store_publications_trim(struct store_tx *tx, size_t keep)
{
    return keep ? db_done(tx, db_bind(tx, Q_publications_trim, "i", (int64_t)keep), NULL) : -EINVAL;
}
