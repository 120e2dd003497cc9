#include "controlplane/store/store_internal.h"

#include <errno.h>
#include <string.h>

int store_secret_put(struct store_tx *tx, const struct ulid *object, const char *purpose,
                     struct span value, const char *fingerprint)
{
    if (value.n > STORE_SECRET_MAX || strlen(fingerprint) > STORE_FINGERPRINT_MAX)
        return -EINVAL;
    return db_done(tx, db_bind(tx, Q_secret_put, "utbti", object, purpose, value, fingerprint,
                               (int64_t)store_now_ms(tx->store)), NULL);
}

static int take_secret(struct store_tx *tx, struct stmt *row, struct store_secret *ret_secret)
{
    struct span value;
    int r;

    r = db_step(tx, row);
    if (r == DB_ROW) {
        value = column_span(row, 1);
        ret_secret->object = column_ulid(row, 0);
        ret_secret->value_len = value.n <= STORE_SECRET_MAX ? value.n : 0;
        memcpy(ret_secret->value, value.p, ret_secret->value_len);
        column_copy(row, 2, ret_secret->fingerprint, sizeof(ret_secret->fingerprint));
        ret_secret->set_ms = column_int(row, 3);
        r = 0;
    } else if (!r) {
        r = STORE_E_NOT_FOUND;
    }
    stmt_resetp(&row);
    return r;
}

int store_secret_get(struct store_tx *tx, const struct ulid *object, const char *purpose,
                     struct store_secret *ret_secret)
{
    return take_secret(tx, db_bind(tx, Q_secret_get, "ut", object, purpose), ret_secret);
}

int store_secret_find(struct store_tx *tx, const char *purpose, struct span value,
                      struct store_secret *ret_secret)
{
    return take_secret(tx, db_bind(tx, Q_secret_find, "tb", purpose, value), ret_secret);
}

int store_secret_delete(struct store_tx *tx, const struct ulid *object, const char *purpose)
{
    int64_t changed;
    int r;

    r = db_done(tx, db_bind(tx, Q_secret_delete, "ut", object, purpose), &changed);
    return r ? r : changed ? 0 : STORE_E_NOT_FOUND;
}

/* ---- keys ---- */

int store_key_put(struct store_tx *tx, const struct store_key *key)
{
    return db_done(tx, db_bind(tx, Q_key_put, "titbbi", key->purpose, key->number, key->status,
                               key->public_part, key->sealed, key->created_ms), NULL);
}

int store_key_set_status(struct store_tx *tx, const char *purpose, int64_t number,
                         const char *status)
{
    int64_t changed;
    int r;

    r = db_done(tx, db_bind(tx, Q_key_set_status, "tit", purpose, number, status), &changed);
    return r ? r : changed ? 0 : STORE_E_NOT_FOUND;
}

int store_key_retire(struct store_tx *tx, const char *purpose, int64_t number)
{
    int64_t changed;
    int r;

    r = db_done(tx, db_bind(tx, Q_key_retire, "ti", purpose, number), &changed);
    return r ? r : changed ? 0 : STORE_E_NOT_FOUND;
}

static int give_key(struct stmt *row, store_key_fn fn, void *ctx)
{
    char purpose[64], status[32];
    struct store_key key = { .purpose = purpose, .number = column_int(row, 1), .status = status,
                             .public_part = column_span(row, 3), .sealed = column_span(row, 4),
                             .created_ms = column_int(row, 5) };

    column_copy(row, 0, purpose, sizeof(purpose));
    column_copy(row, 2, status, sizeof(status));
    return fn(ctx, &key);
}

int store_keys(struct store_tx *tx, const char *purpose, store_key_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_keys, "t", purpose ? purpose : "");
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = give_key(row, fn, ctx);
        if (r)
            return r;
    }
    return r;
}

/* ---- settings of the installation ---- */

int store_meta_get(struct store_tx *tx, const char *key, struct buf *ret_value)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_meta_get, "t", key);
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : STORE_E_NOT_FOUND;
    buf_put_span(ret_value, column_span(row, 0));
    return buf_error(ret_value);
}

int store_meta_put(struct store_tx *tx, const char *key, struct span value)
{
    return db_done(tx, db_bind(tx, Q_meta_put, "tb", key, value), NULL);
}
