#include "controlplane/store/store_internal.h"

#include <errno.h>

static const struct width {
    unsigned seconds;
    int64_t keys;
} widths[] = { { STORE_MINUTE_S, STORE_MINUTE_KEYS }, { STORE_HOUR_S, STORE_HOUR_KEYS } };

/* Where something is counted. */
struct place {
    struct store_tx *tx;
    const struct width *width;
    enum store_dimension dimension;
    int64_t at_s;
};

static int64_t weight_of(const struct store_counts *c)
{
    return c->opened + c->refused + ((c->bytes_out + c->bytes_in) >> 20);
}

/* These two have few keys, all of them known. */
static bool has_bound(const struct place *p)
{
    return p->dimension != STORE_BY_NOTHING && p->dimension != STORE_BY_REASON;
}

static struct stmt *bind(const struct place *p, enum statement q, struct span key, const struct store_counts *c,
                         int64_t weight)
{
    return db_bind(p->tx, q, q == Q_statistic_add ? "iiisiiiiiii" : "iiisiiiiiiii", (int64_t)p->width->seconds,
                   (int64_t)p->dimension, p->at_s, key, c->opened, c->refused, c->broken, c->bytes_out, c->bytes_in,
                   weight, c->last_ms, c->error);
}

static int add(const struct place *p, struct span key, const struct store_counts *c, int64_t weight, bool *ret_is_there)
{
    int64_t changed;
    int r;

    r = db_done(p->tx, bind(p, Q_statistic_add, key, c, weight), &changed);
    *ret_is_there = !r && changed;
    return r;
}

static int insert(const struct place *p, struct span key, const struct store_counts *c, int64_t weight)
{
    return db_done(p->tx, bind(p, Q_statistic_insert, key, c, weight), NULL);
}

/* The one with the least weight, when there is no room for one more; otherwise `ret_key` is empty. */
static int find_least(const struct place *p, char *ret_key, size_t key_size, struct store_counts *ret_counts,
                      int64_t *ret_weight)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(p->tx, Q_statistic_least, "iii", (int64_t)p->width->seconds,
                                                 (int64_t)p->dimension, p->at_s);
    int r = db_step(p->tx, row);

    ret_key[0] = '\0';
    if (r != DB_ROW || column_int(row, 0) < p->width->keys)
        return r == DB_ROW ? 0 : r;
    column_copy(row, 1, ret_key, key_size);
    *ret_counts = (struct store_counts){
        .opened = column_int(row, 2), .refused = column_int(row, 3), .broken = column_int(row, 4),
        .bytes_out = column_int(row, 5), .bytes_in = column_int(row, 6), .last_ms = column_int(row, 8),
    };
    *ret_weight = column_int(row, 7);
    return 0;
}

static int give_to_others(const struct place *p, const char *key, const struct store_counts *c)
{
    bool is_there;
    int r;

    r = db_done(p->tx, db_bind(p->tx, Q_statistic_delete, "iiit", (int64_t)p->width->seconds,
                               (int64_t)p->dimension, p->at_s, key), NULL);
    if (!r)
        r = add(p, SPAN(""), c, 0, &is_there);
    return r || is_there ? r : insert(p, SPAN(""), c, 0);
}

static int count_at(const struct place *p, struct span key, const struct store_counts *counts)
{
    struct store_counts c = *counts, least;
    char least_key[STORE_NAME_MAX + 32];
    int64_t inherited = 0;
    bool is_there;
    int r = add(p, key, &c, weight_of(&c), &is_there);

    if (r || is_there)
        return r;
    least_key[0] = '\0';
    if (has_bound(p))
        r = find_least(p, least_key, sizeof(least_key), &least, &inherited);
    if (!r && least_key[0])
        r = give_to_others(p, least_key, &least);
    else
        inherited = 0;
    c.error = inherited;
    return r ? r : insert(p, key, &c, inherited + weight_of(&c));
}

int store_statistics_add(struct store_tx *tx, enum store_dimension dimension, int64_t at_ms, struct span key,
                         const struct store_counts *counts)
{
    int r = 0;

    if (at_ms < 0 || key.n > STORE_NAME_MAX + 16)
        return -EINVAL;
    for (size_t i = 0; !r && i < ARRAY_LEN(widths); i++) {
        int64_t at_s = at_ms / 1000;
        struct place p = { tx, &widths[i], dimension, at_s - at_s % widths[i].seconds };

        r = count_at(&p, key.n ? key : SPAN(""), counts);
    }
    return r;
}

int store_statistics_points(struct store_tx *tx, unsigned width_s, enum store_dimension dimension, struct span key,
                            int64_t from_s, int64_t to_s, int64_t step_s, store_point_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_statistic_points, "iiiisi", (int64_t)width_s,
                                                 (int64_t)dimension, from_s, to_s, key.n ? key : SPAN(""), step_s);
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = fn(ctx, column_int(row, 0), &(struct store_counts){
            .opened = column_int(row, 1), .refused = column_int(row, 2), .broken = column_int(row, 3),
            .bytes_out = column_int(row, 4), .bytes_in = column_int(row, 5),
        });
        if (r)
            return r;
    }
    return r;
}

int store_statistics_sums(struct store_tx *tx, unsigned width_s, enum store_dimension dimension, int64_t from_s,
                          int64_t to_s, store_sum_fn fn, void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_statistic_sums, "iiii", (int64_t)width_s,
                                                 (int64_t)dimension, from_s, to_s);
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = fn(ctx, column_span(row, 0), &(struct store_counts){
            .opened = column_int(row, 1), .refused = column_int(row, 2), .broken = column_int(row, 3),
            .bytes_out = column_int(row, 4), .bytes_in = column_int(row, 5), .error = column_int(row, 6),
            .last_ms = column_int(row, 7),
        });
        if (r)
            return r;
    }
    return r;
}

int store_statistics_trim(struct store_tx *tx, int64_t before_s)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        for (int64_t d = 0; !r && d < STORE_DIMENSIONS; d++)
            r = db_done(tx, db_bind(tx, Q_statistics_trim, "iii", (int64_t)widths[i].seconds, d, before_s), NULL);
    }
    return r;
}
