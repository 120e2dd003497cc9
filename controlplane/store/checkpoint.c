#include "controlplane/store/store_internal.h"

#include <string.h>

/* What the audit's checkpoints need: heads of chains, removal before a head, and their own rows. */

int store_audit_heads(struct store_tx *tx, store_audit_head_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_audit_heads, "");
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        struct store_audit_head head = { .seq = column_int(row, 1) };

        column_copy(row, 0, head.writer, sizeof(head.writer));
        column_copy(row, 2, head.hash, sizeof(head.hash));
        r = fn(ctx, &head);
        if (r)
            return r;
    }
    return r;
}

int store_audit_has(struct store_tx *tx, const struct store_audit_head *head)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_audit_hash, "ti", head->writer, head->seq);
    char hash[STORE_HASH_HEX + 1];
    int r = db_step(tx, row);

    if (r != DB_ROW)
        return r ? r : STORE_E_NOT_FOUND;
    column_copy(row, 0, hash, sizeof(hash));
    return strcmp(hash, head->hash) == 0 ? 0 : STORE_E_NOT_FOUND;
}

int store_audit_remove(struct store_tx *tx, const struct store_audit_head *before, uint64_t limit,
                       uint64_t *ret_removed)
{
    int64_t changed = 0;
    int r = db_done(tx, db_bind(tx, Q_audit_remove, "tii", before->writer, before->seq, (int64_t)limit), &changed);

    if (!r)
        *ret_removed = (uint64_t)changed;
    return r;
}

int store_checkpoint_put(struct store_tx *tx, const struct store_checkpoint *c)
{
    return db_done(tx, db_bind(tx, Q_checkpoint_put, "iiss", c->number, c->at_ms, c->doc, c->signature), NULL);
}

static int give(struct stmt *row, store_checkpoint_fn fn, void *ctx)
{
    const struct store_checkpoint c = { column_int(row, 0), column_int(row, 1), column_span(row, 2),
                                        column_span(row, 3) };

    return fn(ctx, &c);
}

static int give_one(struct store_tx *tx, struct stmt *row, store_checkpoint_fn fn, void *ctx)
{
    int r = db_step(tx, row);

    if (r == DB_ROW)
        return give(row, fn, ctx);
    return r ? r : STORE_E_NOT_FOUND;
}

int store_checkpoint_get(struct store_tx *tx, int64_t number, store_checkpoint_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_checkpoint_get, "i", number);

    return give_one(tx, row, fn, ctx);
}

int store_checkpoint_before(struct store_tx *tx, int64_t at_ms, store_checkpoint_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_checkpoint_before, "i", at_ms);

    return give_one(tx, row, fn, ctx);
}

int store_checkpoints(struct store_tx *tx, int64_t after, size_t limit, store_checkpoint_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_checkpoints, "ii", after, (int64_t)limit);
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = give(row, fn, ctx);
        if (r)
            return r;
    }
    return r;
}
