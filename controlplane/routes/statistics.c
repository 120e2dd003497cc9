/*
 * GET /statistics: what went through the relays, out of minutes and hours.
 */
#include "controlplane/domain/when.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/view.h"
#include "lib/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RANGE_MAX_S (7 * 24 * 3600)
#define RANGE_DEFAULT_S (24 * 3600)
#define POINTS_WANTED 300
#define TOP_MAX 100
#define TOP_DEFAULT 10

enum order { ORDER_OPENED, ORDER_FAILED, ORDER_BYTES, ORDERS };
static const char *const orders[ORDERS] = { "opened", "failed", "bytes" };

static const struct dimension {
    enum store_dimension id;
    const char *name, *list, *kind;     /* of the object that a key names; NULL: none */
} dimensions[] = {
    { STORE_BY_PRINCIPAL, "principal", "principals", "user" },
    { STORE_BY_AGENT, "agent", "agents", "agent" },
    { STORE_BY_DESTINATION, "destination", "destinations", NULL },
};

struct range {
    int64_t from_s, to_s, step_s;       /* whole minutes */
    size_t top;
    enum order order;
    const struct dimension *by;         /* of the points; NULL: everything */
    char key[STORE_NAME_MAX + 16];
};

/* ---- what was asked ---- */
static int bad(struct call *c, const char *pointer, const char *message)
{
    return call_refuse_at(c, REASON_INVALID, pointer, message);
}

/* What the schema allows, but the other parameters do not. */
static int contradicts(struct call *c, const char *pointer, const char *message)
{
    return call_refuse_at(c, REASON_CONFLICT, pointer, message);
}

static int read_moment(struct call *c, const char *name, int64_t fallback_s, int64_t *ret_s)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct span text;
    char pointer[16];
    struct buf out;
    int64_t ms;

    snprintf(pointer, sizeof(pointer), "?%s", name);
    *ret_s = fallback_s;
    if (!request_query(c->req, name, &text))
        return 0;
    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_TIME, &none, text, &out, &message) != CHECK_OK || !when_parse(text, &ms))
        return bad(c, pointer, "must be a time like 2031-01-31T18:00:00Z");
    *ret_s = ms / 1000;
    return 0;
}

static int read_number(struct call *c, const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
    struct span text;
    char pointer[16], message[64];

    if (!request_query(c->req, name, &text) || (span_to_u64(text, max, value) && *value >= min))
        return 0;
    snprintf(pointer, sizeof(pointer), "?%s", name);
    snprintf(message, sizeof(message), "must be a whole number from %llu to %llu", (unsigned long long)min,
             (unsigned long long)max);
    return bad(c, pointer, message);
}

/* The narrowest step of a few that gives few enough points. */
static uint64_t step_for(int64_t length_s)
{
    static const uint64_t steps[] = { 60, 300, 900, 1800, 3600 };
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(steps) && length_s / (int64_t)steps[i] > POINTS_WANTED)
        i++;
    return steps[i];
}

static int read_times(struct call *c, struct range *range)
{
    int64_t now_s = (int64_t)store_now_ms(c->api->options.store) / 1000;
    uint64_t step;
    int r = read_moment(c, "to", now_s - now_s % 60 + 60, &range->to_s);

    if (!r)
        r = read_moment(c, "from", range->to_s - RANGE_DEFAULT_S, &range->from_s);
    if (r)
        return r;
    range->from_s -= range->from_s % 60;
    range->to_s += (60 - range->to_s % 60) % 60;
    if (range->from_s < 0 || range->to_s <= range->from_s || range->to_s - range->from_s > RANGE_MAX_S + 60)
        return call_refuse_at(c, REASON_CONFLICT, "?from", "must be before to, by seven days at the most");
    step = step_for(range->to_s - range->from_s);
    r = read_number(c, "step", 60, 86400, &step);
    range->step_s = (int64_t)(step - step % 60);
    return r;
}

static int read_order(struct call *c, struct range *range)
{
    struct span text;

    if (!request_query(c->req, "order", &text))
        return 0;
    for (range->order = 0; range->order < ORDERS; range->order++) {
        if (span_eq(text, span_str(orders[range->order])))
            return 0;
    }
    return bad(c, "?order", "must be opened, failed or bytes");
}

/* A user or an agent by name or id; a destination as host:port. */
static int read_key(struct call *c, struct range *range)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct span text;
    struct buf out;
    int r;

    if (!request_query(c->req, "key", &text))
        return contradicts(c, "?key", "is required with by");
    if (!range->by->kind)
        return text.n && span_copy(text, range->key, sizeof(range->key)) ? 0 : contradicts(c, "?key", "must be host:port");
    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_REF, &none, text, &out, &message) != CHECK_OK)
        return contradicts(c, "?key", message);
    r = call_find(c, kind_by_name(span_str(range->by->kind))->id, text, &object);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    (void)span_copy(object ? ulid_span(&object->id) : text, range->key, sizeof(range->key));
    return 0;
}

static int read_by(struct call *c, struct range *range)
{
    struct span text;

    if (!request_query(c->req, "by", &text))
        return request_query(c->req, "key", &text) ? contradicts(c, "?by", "is required with key") : 0;
    for (size_t i = 0; i < ARRAY_LEN(dimensions); i++) {
        if (span_eq(text, span_str(dimensions[i].name)))
            range->by = &dimensions[i];
    }
    return range->by ? read_key(c, range) : bad(c, "?by", "must be principal, agent or destination");
}

static int read_range(struct call *c, struct range *range)
{
    uint64_t top = TOP_DEFAULT;
    int r = read_times(c, range);

    if (!r)
        r = read_number(c, "top", 1, TOP_MAX, &top);
    range->top = (size_t)top;
    if (!r)
        r = read_order(c, range);
    return r ? r : read_by(c, range);
}

/* ---- adding up: whole hours by hours, what is left at both ends by minutes ---- */
struct sum {
    struct map_node node;
    struct store_counts counts;
    char key[];
};

struct sums {
    struct map map;
    struct sum **sorted;
    size_t count;
};

static void sums_deinit(struct sums *s)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&s->map, &cursor))) {
        map_remove(&s->map, node);
        free(container_of(node, struct sum, node));
    }
    map_deinit(&s->map);
    free(s->sorted);
}

static int add_sum(void *ctx, struct span key, const struct store_counts *counts)
{
    struct sums *sums = ctx;
    struct map_node *node = map_find(&sums->map, key);
    struct sum *s;
    int r;

    if (node) {
        store_counts_add(&container_of(node, struct sum, node)->counts, counts);
        return 0;
    }
    s = calloc(1, sizeof(*s) + key.n + 1);
    if (!s)
        return -ENOMEM;
    if (key.n)
        memcpy(s->key, key.p, key.n);
    s->counts = *counts;
    r = map_insert(&sums->map, &s->node, span_of(s->key, key.n));
    if (r)
        free(s);
    return r;
}

static int sum_up(struct call *c, const struct range *range, enum store_dimension dimension, struct sums *sums)
{
    int64_t first_hour = range->from_s + (3600 - range->from_s % 3600) % 3600;
    int64_t last_hour = range->to_s - range->to_s % 3600;
    int r;

    map_init(&sums->map, 100000);
    if (last_hour <= first_hour)
        return store_statistics_sums(c->tx, STORE_MINUTE_S, dimension, range->from_s, range->to_s, add_sum, sums);
    r = store_statistics_sums(c->tx, STORE_HOUR_S, dimension, first_hour, last_hour, add_sum, sums);
    if (!r && range->from_s < first_hour)
        r = store_statistics_sums(c->tx, STORE_MINUTE_S, dimension, range->from_s, first_hour, add_sum, sums);
    if (!r && last_hour < range->to_s)
        r = store_statistics_sums(c->tx, STORE_MINUTE_S, dimension, last_hour, range->to_s, add_sum, sums);
    return r;
}

static int64_t value_of(const struct store_counts *c, enum order order)
{
    if (order == ORDER_OPENED)
        return c->opened;
    return order == ORDER_FAILED ? c->refused + c->broken : c->bytes_out + c->bytes_in;
}

struct by_order {
    enum order order;
};

static int compare(const void *a, const void *b, void *ctx)
{
    const struct sum *const *x = a, *const *y = b;
    const struct by_order *by = ctx;
    int64_t left = value_of(&(*x)->counts, by->order), right = value_of(&(*y)->counts, by->order);

    if (left != right)
        return left < right ? 1 : -1;
    return span_cmp((*x)->node.key, (*y)->node.key);
}

/* The others ("") stand outside the order. */
static int sort(struct sums *sums, enum order order)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    sums->sorted = calloc(sums->map.count + 1, sizeof(*sums->sorted));
    if (!sums->sorted)
        return -ENOMEM;
    while ((node = map_next(&sums->map, &cursor))) {
        if (node->key.n)
            sums->sorted[sums->count++] = container_of(node, struct sum, node);
    }
    qsort_r(sums->sorted, sums->count, sizeof(*sums->sorted), compare, &(struct by_order){ order });
    return 0;
}

/* ---- answering ---- */
static void put_counts(struct json_writer *w, const struct store_counts *c)
{
    json_put_int(w, "opened", c->opened);
    json_put_int(w, "refused", c->refused);
    json_put_int(w, "broken", c->broken);
    json_put_int(w, "bytes_out", c->bytes_out);
    json_put_int(w, "bytes_in", c->bytes_in);
}

/* A destination is no id, so it has none. */
static int put_name(struct call *c, struct span key, struct json_writer *w)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct ulid id;
    int r = STORE_E_NOT_FOUND;

    json_put_str(w, "id", key);
    if (ulid_parse(key, &id))
        r = store_object_get(c->tx, NULL, &id, &object);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    json_put_text(w, "name", object ? object->name : NULL);
    return 0;
}

static int put_top(struct call *c, const struct range *range, const struct dimension *d, struct json_writer *w)
{
    AUTO(sums_deinit) struct sums sums = { .count = 0 };
    int r = sum_up(c, range, d->id, &sums);

    if (!r)
        r = sort(&sums, range->order);
    json_open_array(w, d->list);
    for (size_t i = 0; !r && i < sums.count && i < range->top; i++) {
        const struct sum *s = sums.sorted[i];

        if (!value_of(&s->counts, range->order))
            break;
        json_open_object(w, NULL);
        r = put_name(c, s->node.key, w);
        put_counts(w, &s->counts);
        json_put_int(w, "error", s->counts.error);
        view_time(w, "last_at", s->counts.last_ms);
        json_close_object(w);
    }
    json_close_array(w);
    return r;
}

static int put_reasons(struct call *c, const struct range *range, struct json_writer *w)
{
    AUTO(sums_deinit) struct sums sums = { .count = 0 };
    int r = sum_up(c, range, STORE_BY_REASON, &sums);

    if (!r)
        r = sort(&sums, ORDER_FAILED);
    json_open_array(w, "reasons");
    for (size_t i = 0; !r && i < sums.count; i++) {
        json_open_object(w, NULL);
        json_put_text(w, "reason", sums.sorted[i]->key);
        json_put_int(w, "refused", sums.sorted[i]->counts.refused);
        json_put_int(w, "broken", sums.sorted[i]->counts.broken);
        view_time(w, "last_at", sums.sorted[i]->counts.last_ms);
        json_close_object(w);
    }
    json_close_array(w);
    return r;
}

/* Keys are "quota-user ULID": of the quota, or of whom it refused. */
static int put_quotas(struct call *c, const struct range *range, struct json_writer *w)
{
    AUTO(sums_deinit) struct sums sums = { .count = 0 };
    int r = sum_up(c, range, STORE_BY_QUOTA, &sums);

    if (!r)
        r = sort(&sums, ORDER_FAILED);
    json_open_array(w, "quotas");
    for (size_t i = 0; !r && i < sums.count && i < range->top; i++) {
        struct span id = span_str(sums.sorted[i]->key), reason;

        (void)span_cut(&id, ' ', &reason);
        json_open_object(w, NULL);
        json_put_str(w, "reason", reason);
        r = put_name(c, id, w);
        json_put_int(w, "refused", sums.sorted[i]->counts.refused);
        view_time(w, "last_at", sums.sorted[i]->counts.last_ms);
        json_close_object(w);
    }
    json_close_array(w);
    return r;
}

struct points {
    struct json_writer *w;
    const struct range *range;
    struct store_counts total;
};

static int put_point(void *ctx, int64_t at_s, const struct store_counts *counts)
{
    struct points *p = ctx;

    json_open_object(p->w, NULL);
    view_time(p->w, "at", at_s * 1000);
    put_counts(p->w, counts);
    json_close_object(p->w);
    store_counts_add(&p->total, counts);
    return 0;
}

static int put_points(struct call *c, const struct range *range, struct json_writer *w)
{
    struct points points = { .w = w, .range = range };
    bool by_hour = range->by && range->step_s % 3600 == 0 && range->from_s % 3600 == 0 && range->to_s % 3600 == 0;
    int r;

    json_put_int(w, "step_s", range->step_s);
    json_open_array(w, "points");
    r = store_statistics_points(c->tx, by_hour ? STORE_HOUR_S : STORE_MINUTE_S,
                                range->by ? range->by->id : STORE_BY_NOTHING, span_str(range->key), range->from_s,
                                range->to_s, range->step_s, put_point, &points);
    json_close_array(w);
    json_open_object(w, "totals");
    put_counts(w, &points.total);
    json_close_object(w);
    return r;
}

static int show_statistics(struct call *c)
{
    struct range range = { .top = TOP_DEFAULT };
    struct json_writer w;
    int r = read_range(c, &range);

    if (r)
        return r;
    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    view_time(&w, "from", range.from_s * 1000);
    view_time(&w, "to", range.to_s * 1000);
    r = put_points(c, &range, &w);
    if (!r)
        r = put_reasons(c, &range, &w);
    json_open_object(&w, "top");
    for (size_t i = 0; !r && i < ARRAY_LEN(dimensions); i++)
        r = put_top(c, &range, &dimensions[i], &w);
    json_close_object(&w);
    if (!r)
        r = put_quotas(c, &range, &w);
    json_close_object(&w);
    c->res->status = 200;
    return r ? r : buf_error(&c->res->body);
}

void on_statistics(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, show_statistics);
}
