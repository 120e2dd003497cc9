#include "dataplane/sync/refused.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/json/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct row {
    struct map_node node;
    struct list link;
    char place[REFUSED_PLACE_MAX + 1];
    enum reason why;
    bool is_other;                  /* stands for all that found no row */
    struct ulid agent;              /* "": known by the address alone */
    struct addr address;            /* the last one's */
    int64_t count, first_ms, last_ms;
    char key[96];
};

struct refused {
    pthread_mutex_t lock;
    struct map map;
    struct list rows;
    struct row others[REASON_COUNT];
    uint64_t other_count;
    bool is_empty;                  /* or nobody comes for what there is */
};

/* --- counting ------------------------------------------------------------------------------- */

static void write_key(const char *place, enum reason why, const struct ulid *agent, const struct addr *address,
                      char key[static 96])
{
    struct addr source = addr_source(address);
    char text[ADDR_TEXT_MAX];

    snprintf(key, 96, "%s %d %s", place, (int)why, agent ? agent->text : addr_format(&source, text));
}

static struct row *row_make(struct refused *r, const char *place, enum reason why, const struct ulid *agent,
                            const char *key)
{
    AUTO(freep) struct row *row = calloc(1, sizeof(*row));

    if (!row)
        return NULL;
    (void)span_copy(span_first(span_str(place), REFUSED_PLACE_MAX), row->place, sizeof(row->place));
    row->why = why;
    if (agent)
        row->agent = *agent;
    snprintf(row->key, sizeof(row->key), "%s", key);
    if (map_insert(&r->map, &row->node, span_str(row->key)))
        return NULL;
    list_append(&r->rows, &row->link);
    return TAKE(row);
}

/* With the lock held: never NULL. */
static struct row *row_of(struct refused *r, const char *place, enum reason why, const struct ulid *agent,
                          const struct addr *address)
{
    char key[96];
    struct map_node *found;
    struct row *row;

    write_key(place, why, agent, address, key);
    found = map_find(&r->map, span_str(key));
    row = found ? container_of(found, struct row, node) : row_make(r, place, why, agent, key);
    if (row)
        return row;
    r->other_count++;
    return &r->others[why];
}

bool refused_note(struct refused *r, const char *place, enum reason why, const struct ulid *agent,
                  const struct addr *source, int64_t now_ms)
{
    struct row *row;
    bool was_empty;

    pthread_mutex_lock(&r->lock);
    row = row_of(r, place, why, agent, source);
    row->address = *source;
    row->last_ms = now_ms;
    if (!row->count++)
        row->first_ms = now_ms;
    was_empty = r->is_empty;
    r->is_empty = false;
    pthread_mutex_unlock(&r->lock);
    return was_empty;
}

void refused_leave(struct refused *r)
{
    pthread_mutex_lock(&r->lock);
    r->is_empty = true;
    pthread_mutex_unlock(&r->lock);
}

uint64_t refused_others(struct refused *r)
{
    uint64_t n;

    pthread_mutex_lock(&r->lock);
    n = r->other_count;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* --- telling -------------------------------------------------------------------------------- */

static void tell_row(const struct row *row, void (*tell)(void *ctx, struct span data), void *ctx)
{
    char mem[REFUSED_DATA_MAX], text[ADDR_TEXT_MAX];
    struct json_writer w;
    struct buf data;

    buf_init_fixed(&data, mem, sizeof(mem));
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    json_put_text(&w, "place", row->place);
    json_put_text(&w, "reason", reason_text(row->why));
    if (row->agent.text[0])
        json_put_str(&w, "agent", ulid_span(&row->agent));
    if (!row->is_other)
        json_put_text(&w, "source", addr_format(&row->address, text));
    json_put_int(&w, "count", row->count);
    json_put_int(&w, "first_at_ms", row->first_ms);
    json_put_int(&w, "last_at_ms", row->last_ms);
    json_close_object(&w);
    if (!buf_error(&data))
        tell(ctx, buf_span(&data));
}

static void row_drop(struct refused *r, struct row *row)
{
    map_remove(&r->map, &row->node);
    list_remove(&row->link);
    free(row);
}

void refused_take(struct refused *r, void (*tell)(void *ctx, struct span data), void *ctx)
{
    pthread_mutex_lock(&r->lock);
    LIST_EACH(&r->rows, link) {
        struct row *row = container_of(link, struct row, link);

        tell_row(row, tell, ctx);
        row_drop(r, row);
    }
    for (size_t i = 0; i < REASON_COUNT; i++) {
        if (r->others[i].count)
            tell_row(&r->others[i], tell, ctx);
        r->others[i].count = 0;
    }
    r->is_empty = true;
    pthread_mutex_unlock(&r->lock);
}

/* --- life ----------------------------------------------------------------------------------- */

int refused_new(unsigned rows_max, struct refused **ret_refused)
{
    struct refused *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    pthread_mutex_init(&r->lock, NULL);
    map_init(&r->map, rows_max);
    list_init(&r->rows);
    for (size_t i = 0; i < REASON_COUNT; i++)
        r->others[i] = (struct row){ .place = "others", .why = (enum reason)i, .is_other = true };
    r->is_empty = true;
    *ret_refused = r;
    return 0;
}

void refused_free(struct refused *r)
{
    LIST_EACH(&r->rows, link)
        row_drop(r, container_of(link, struct row, link));
    map_deinit(&r->map);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
