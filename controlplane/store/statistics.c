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

/* Whatever a relay tells, a minute's or an hour's count stays below twice this, and seven days of minutes
 * have a sum; statements.sql has the same number. */
#define COUNT_MAX 200000000000000LL

static int64_t bounded(int64_t n)
{
    return n < COUNT_MAX ? n : COUNT_MAX;
}

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
                   (int64_t)p->dimension, p->at_s, key, bounded(c->opened), bounded(c->refused), bounded(c->broken),
                   bounded(c->bytes_out), bounded(c->bytes_in), bounded(weight), c->last_ms, bounded(c->error));
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

/* ---- one minute's or hour's sketch, while it takes in what is new ---- */
#define KEY_BYTES (STORE_NAME_MAX + 24)

struct row {
    char key[KEY_BYTES];
    struct store_counts counts;
    int64_t weight;
    bool is_stored;
};

struct sketch {
    const struct place *place;
    struct row *rows;
    size_t count, room;
    struct store_counts others;
    bool has_others;
};

static void sketch_deinit(struct sketch *s)
{
    free(s->rows);
}

static int load(struct sketch *s)
{
    const struct place *p = s->place;
    AUTO(stmt_resetp) struct stmt *at = db_bind(p->tx, Q_statistic_rows, "iii", (int64_t)p->width->seconds,
                                                (int64_t)p->dimension, p->at_s);
    int r;

    s->room = (size_t)p->width->keys;
    s->rows = calloc(s->room, sizeof(*s->rows));
    if (!s->rows)
        return -ENOMEM;
    while ((r = db_step(p->tx, at)) == DB_ROW && s->count < s->room) {
        struct row *row = &s->rows[s->count++];

        column_copy(at, 0, row->key, sizeof(row->key));
        row->counts = (struct store_counts){
            .opened = column_int(at, 1), .refused = column_int(at, 2), .broken = column_int(at, 3),
            .bytes_out = column_int(at, 4), .bytes_in = column_int(at, 5), .last_ms = column_int(at, 7),
        };
        row->weight = column_int(at, 6);
        row->is_stored = true;
    }
    return r == DB_ROW ? 0 : r;
}

void store_counts_add(struct store_counts *to, const struct store_counts *more)
{
    to->opened += more->opened;
    to->refused += more->refused;
    to->broken += more->broken;
    to->bytes_out += more->bytes_out;
    to->bytes_in += more->bytes_in;
    to->error += more->error;
    if (more->last_ms > to->last_ms)
        to->last_ms = more->last_ms;
}

static void add_to_others(struct sketch *s, const struct store_counts *c)
{
    s->has_others = true;
    s->others.opened += c->opened;
    s->others.refused += c->refused;
    s->others.broken += c->broken;
    s->others.bytes_out += c->bytes_out;
    s->others.bytes_in += c->bytes_in;
    if (c->last_ms > s->others.last_ms)
        s->others.last_ms = c->last_ms;
}

/* Takes the row with the least weight from its key. */
static int evict(struct sketch *s, struct row **ret_row)
{
    const struct place *p = s->place;
    struct row *least = &s->rows[0];

    for (size_t i = 1; i < s->count; i++) {
        if (s->rows[i].weight < least->weight)
            least = &s->rows[i];
    }
    add_to_others(s, &least->counts);
    *ret_row = least;
    if (!least->is_stored)
        return 0;
    return db_done(p->tx, db_bind(p->tx, Q_statistic_delete, "iiit", (int64_t)p->width->seconds,
                                  (int64_t)p->dimension, p->at_s, least->key), NULL);
}

static int take_in(struct sketch *s, const struct store_counted *item)
{
    struct row *row = NULL;
    int64_t inherited = 0;
    int r = 0;

    if (s->count < s->room) {
        row = &s->rows[s->count++];
    } else {
        r = evict(s, &row);
        inherited = row->weight;
    }
    *row = (struct row){ .counts = item->counts, .weight = bounded(inherited) + weight_of(&item->counts) };
    row->counts.error = inherited;
    (void)span_copy(item->key, row->key, sizeof(row->key));
    return r;
}

static int save(struct sketch *s)
{
    bool is_there = true;
    int r = 0;

    for (size_t i = 0; !r && i < s->count; i++) {
        if (!s->rows[i].is_stored)
            r = insert(s->place, span_str(s->rows[i].key), &s->rows[i].counts, s->rows[i].weight);
    }
    if (!r && s->has_others)
        r = add(s->place, SPAN(""), &s->others, 0, &is_there);
    return r || is_there ? r : insert(s->place, SPAN(""), &s->others, 0);
}

static int settle(const struct place *p, const struct store_counted *items, const bool *is_new, size_t count)
{
    AUTO(sketch_deinit) struct sketch sketch = { .place = p };
    int r = load(&sketch);

    for (size_t i = 0; !r && i < count; i++) {
        if (is_new[i])
            r = take_in(&sketch, &items[i]);
    }
    return r ? r : save(&sketch);
}

/* What is there already is added to, all of it first; what is new goes through the sketch. */
static int count_at(const struct place *p, const struct store_counted *items, size_t count)
{
    AUTO(freep) bool *is_new = calloc(count, sizeof(*is_new));
    size_t new_count = 0;
    int r = is_new ? 0 : -ENOMEM;

    for (size_t i = 0; !r && i < count; i++) {
        bool is_there;

        r = add(p, items[i].key, &items[i].counts, weight_of(&items[i].counts), &is_there);
        if (!r && !is_there && !has_bound(p))
            r = insert(p, items[i].key, &items[i].counts, weight_of(&items[i].counts));
        is_new[i] = !is_there && has_bound(p);
        new_count += is_new[i];
    }
    return r || !new_count ? r : settle(p, items, is_new, count);
}

int store_statistics_add(struct store_tx *tx, enum store_dimension dimension, int64_t at_ms,
                         const struct store_counted *items, size_t count)
{
    int r = 0;

    if (at_ms < 0 || !count)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (items[i].key.n >= KEY_BYTES || !items[i].key.p)
            return -EINVAL;
    }
    for (size_t i = 0; !r && i < ARRAY_LEN(widths); i++) {
        int64_t at_s = at_ms / 1000;
        struct place p = { tx, &widths[i], dimension, at_s - at_s % widths[i].seconds };

        r = count_at(&p, items, count);
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
