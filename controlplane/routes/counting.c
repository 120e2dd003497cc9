#include "controlplane/routes/counting.h"
#include "lib/base/map.h"
#include "lib/base/reason.h"
#include "lib/json/json.h"

#include <errno.h>
#include <stdio.h>

#define SUMS_MAX 4096          /* beyond that they are written in between */
#define KEY_MAX (STORE_NAME_MAX + 16)
#define OLDEST_MS (8LL * 24 * 3600 * 1000)
#define NUMBER_MAX ((int64_t)1 << 50)   /* of one event: a batch of them has a sum */

struct sum {
    struct map_node node;
    enum store_dimension dimension;
    int64_t minute_ms;
    struct store_counts counts;
    size_t key_len;
    char name[32 + KEY_MAX];    /* "dimension minute key" */
    size_t head_len;
};

struct counting {
    struct store_tx *tx;
    int64_t now_ms;
    struct map sums;
};

struct counting *counting_new(struct store_tx *tx)
{
    struct counting *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->tx = tx;
    c->now_ms = (int64_t)store_now_ms(store_of(tx));
    map_init(&c->sums, SUMS_MAX);
    return c;
}

static void forget(struct counting *c)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&c->sums, &cursor))) {
        map_remove(&c->sums, node);
        free(container_of(node, struct sum, node));
    }
}

void counting_free(struct counting *c)
{
    forget(c);
    map_deinit(&c->sums);
    free(c);
}

/* By minute, then dimension: what is added to the same place stands together. */
static int compare(const void *a, const void *b)
{
    const struct sum *const *x = a, *const *y = b;

    if ((*x)->minute_ms != (*y)->minute_ms)
        return (*x)->minute_ms < (*y)->minute_ms ? -1 : 1;
    return (int)(*x)->dimension - (int)(*y)->dimension;
}

static int write_sorted(struct counting *c, struct sum **sums, struct store_counted *items, size_t count)
{
    int r = 0;

    for (size_t i = 0, n; !r && i < count; i += n) {
        for (n = 0; i + n < count && !compare(&sums[i], &sums[i + n]); n++) {
            const struct sum *s = sums[i + n];

            items[n] = (struct store_counted){ span_of(s->name + s->head_len, s->key_len), s->counts };
        }
        r = store_statistics_add(c->tx, sums[i]->dimension, sums[i]->minute_ms, items, n);
    }
    return r;
}

int counting_flush(struct counting *c)
{
    AUTO(freep) struct sum **sums = calloc(c->sums.count + 1, sizeof(*sums));
    AUTO(freep) struct store_counted *items = calloc(c->sums.count + 1, sizeof(*items));
    struct map_cursor cursor = { 0 };
    struct map_node *node;
    size_t count = 0;
    int r;

    if (!sums || !items)
        return -ENOMEM;
    while ((node = map_next(&c->sums, &cursor)))
        sums[count++] = container_of(node, struct sum, node);
    if (count)
        qsort(sums, count, sizeof(*sums), compare);
    r = write_sorted(c, sums, items, count);
    forget(c);
    return r;
}

static int add_sum(struct counting *c, const struct sum *wanted, struct span name)
{
    struct map_node *node = map_find(&c->sums, name);
    struct sum *s;
    int r;

    if (node) {
        store_counts_add(&container_of(node, struct sum, node)->counts, &wanted->counts);
        return 0;
    }
    r = c->sums.count == SUMS_MAX ? counting_flush(c) : 0;
    if (r)
        return r;
    s = malloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = *wanted;
    r = map_insert(&c->sums, &s->node, span_of(s->name, name.n));
    if (r)
        free(s);
    return r;
}

static int add(struct counting *c, enum store_dimension dimension, int64_t at_ms, struct span key,
               const struct store_counts *counts)
{
    struct sum wanted = { .dimension = dimension, .minute_ms = at_ms - at_ms % 60000, .counts = *counts };

    if (key.n > KEY_MAX)
        return 0;
    wanted.counts.last_ms = at_ms;
    wanted.head_len = (size_t)snprintf(wanted.name, sizeof(wanted.name), "%d %lld ", (int)dimension,
                                       (long long)(wanted.minute_ms / 60000));
    if (key.n)
        memcpy(wanted.name + wanted.head_len, key.p, key.n);
    wanted.key_len = key.n;
    return add_sum(c, &wanted, span_of(wanted.name, wanted.head_len + key.n));
}

/* ---- who, through whom, where to ---- */
struct party {
    struct span user, agent, target, reason, quota;
};

static struct span member(struct span data, const char *name)
{
    struct span raw;

    return json_walk_find(data, name, &raw) ? SPAN_NONE : json_raw_str(raw);
}

static int64_t number(struct span data, const char *name)
{
    struct span raw;
    int64_t value = json_walk_find(data, name, &raw) ? 0 : json_raw_int(raw);

    if (value > NUMBER_MAX)
        return NUMBER_MAX;
    return value > 0 ? value : 0;
}

static struct span id_member(struct span data, const char *name)
{
    struct span text = member(data, name);
    struct ulid id;

    return ulid_parse(text, &id) ? text : SPAN_NONE;
}

static struct party party_of(struct span data)
{
    return (struct party){ id_member(data, "user"), id_member(data, "agent"), member(data, "target"),
                           member(data, "reason"), id_member(data, "quota") };
}

static int add_quota(struct counting *c, int64_t at_ms, const struct party *p, const struct store_counts *counts)
{
    struct span whose = p->quota.n ? p->quota : span_eq(p->reason, SPAN("quota-agent")) ? p->agent : p->user;
    char key[96];

    if (!counts->refused || !span_starts(p->reason, SPAN("quota-")) || p->reason.n > 32)
        return 0;
    snprintf(key, sizeof(key), SPAN_FMT " " SPAN_FMT, SPAN_ARG(p->reason), SPAN_ARG(whose));
    return add(c, STORE_BY_QUOTA, at_ms, span_str(key), counts);
}

/* Where a stranger wanted to go is not kept: he could fill the tables with what he makes up. */
static int add_all(struct counting *c, int64_t at_ms, const struct party *p, const struct store_counts *counts)
{
    bool is_bad = counts->refused || counts->broken;
    int r;

    if (at_ms > c->now_ms)
        at_ms = c->now_ms;
    if (at_ms < c->now_ms - OLDEST_MS)
        return 0;
    r = add(c, STORE_BY_NOTHING, at_ms, SPAN(""), counts);
    if (!r && is_bad && reason_find(p->reason) != REASON_COUNT)
        r = add(c, STORE_BY_REASON, at_ms, p->reason, counts);
    if (!r && p->user.n)
        r = add(c, STORE_BY_PRINCIPAL, at_ms, p->user, counts);
    if (!r && p->agent.n)
        r = add(c, STORE_BY_AGENT, at_ms, p->agent, counts);
    if (!r && p->user.n && p->target.n)
        r = add(c, STORE_BY_DESTINATION, at_ms, p->target, counts);
    return r ? r : add_quota(c, at_ms, p, counts);
}

/* ---- events ---- */
struct before {                 /* what is kept of it already */
    bool is_there, has_bytes;
};

static int look_before(struct counting *c, enum store_source source, const struct ulid *id, struct before *ret)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    struct span raw;
    int r = store_row_get(c->tx, source, id, &row);

    *ret = (struct before){ .is_there = !r };
    if (!r)
        ret->has_bytes = !json_walk_find(row->doc, "bytes_out", &raw) && raw.n;
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

/* An end that is nobody's failure. */
static bool is_good_end(struct span reason)
{
    return !reason.n || span_eq(reason, span_str(reason_text(REASON_NONE))) ||
           span_eq(reason, span_str(reason_text(REASON_CLIENT_GONE)));
}

static int take_end(struct counting *c, const struct counted *e)
{
    struct party party = party_of(e->data);
    const struct store_counts counts = {
        .broken = !is_good_end(party.reason),
        .bytes_out = number(e->data, "sent_bytes"),
        .bytes_in = number(e->data, "received_bytes"),
    };

    return add_all(c, e->at_ms, &party, &counts);
}

static int take_stream(struct counting *c, const struct counted *e, bool begins, bool ends)
{
    struct party party = party_of(e->data);
    int64_t opened_ms = number(e->data, "opened_at_ms");
    struct before before;
    int r = look_before(c, STORE_STREAMS, &e->id, &before);

    if (!r && begins && !before.is_there)
        r = add_all(c, opened_ms ? opened_ms : e->at_ms, &party, &(struct store_counts){ .opened = 1 });
    if (!r && ends && !before.has_bytes)
        r = take_end(c, e);
    return r;
}

static int take_decision(struct counting *c, const struct counted *e)
{
    struct party party = party_of(e->data);
    int64_t count = number(e->data, "count");
    struct before before;
    int r = look_before(c, STORE_DECISIONS, &e->id, &before);

    if (r || before.is_there || is_good_end(party.reason))
        return r;
    return add_all(c, e->at_ms, &party, &(struct store_counts){ .refused = count ? count : 1 });
}

int counting_take(struct counting *c, const struct counted *e)
{
    if (span_eq(e->type, SPAN("stream.opened")))
        return take_stream(c, e, true, false);
    if (span_eq(e->type, SPAN("stream.closed")))
        return take_stream(c, e, false, true);
    if (span_eq(e->type, SPAN("stream.passed")))
        return take_stream(c, e, true, true);
    return span_eq(e->type, SPAN("decision")) ? take_decision(c, e) : 0;
}
