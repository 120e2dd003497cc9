#include "dataplane/usage.h"
#include "lib/crypto/random.h"
#include "lib/json/json.h"
#include <errno.h>
#include <stdlib.h>

#define TOLD_AT_ONCE 200            /* quotas in one event, each below 250 bytes */

struct usage {
    struct usage_config config;
    struct loop_timer timer;
    uint64_t breakers_seen;
};

/* --- telling ---------------------------------------------------------------------------------- */

struct telling {
    struct events *events;
    struct buf data;
    struct json_writer w;
    size_t count;
};

static void begin(struct telling *t)
{
    buf_clear(&t->data);
    t->count = 0;
    json_begin(&t->w, &t->data);
    json_open_object(&t->w, NULL);
    json_open_array(&t->w, "quotas");
}

static void send(struct telling *t)
{
    struct ulid id = random_ulid(wall_ms());

    json_close_array(&t->w);
    json_close_object(&t->w);
    if (t->count && !buf_error(&t->data))
        events_add(t->events, "quota.used", &id, buf_span(&t->data));
}

static void put_hits(struct json_writer *w, unsigned hits)
{
    static const struct {
        unsigned hit;
        const char *name;
    } names[] = {
        { QUOTA_HIT_STREAMS, "max_streams" },
        { QUOTA_HIT_STREAMS_PER_S, "streams_per_second" },
        { QUOTA_HIT_BYTES_PER_S, "bytes_per_second" },
        { QUOTA_HIT_BYTES_PER_DAY, "bytes_per_day" },
    };

    json_open_array(w, "saturated");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (hits & names[i].hit)
            json_put_text(w, NULL, names[i].name);
    }
    json_close_array(w);
}

static void on_used(void *ctx, const struct quota_usage *usage)
{
    struct telling *t = ctx;

    if (t->count == TOLD_AT_ONCE) {
        send(t);
        begin(t);
    }
    t->count++;
    json_open_object(&t->w, NULL);
    json_put_str(&t->w, "id", usage->id);
    json_put_int(&t->w, "day_ms", usage->day_ms);
    json_put_int(&t->w, "day_end_ms", usage->day_end_ms);
    json_put_int(&t->w, "bytes", (int64_t)usage->bytes);
    json_put_int(&t->w, "streams", (int64_t)usage->streams);
    put_hits(&t->w, usage->hits);
    json_close_object(&t->w);
}

void usage_tell(struct usage *u)
{
    const struct quota_time now = { .wall_ms = (int64_t)wall_ms(), .mono_ms = mono_ms() };
    struct telling t = { .events = u->config.events };

    buf_init_heap(&t.data, EVENTS_DATA_MAX);
    begin(&t);
    quotas_tell(u->config.quotas, &now, on_used, &t);
    send(&t);
    buf_deinit(&t.data);
}

static void on_timer(void *arg)
{
    struct usage *u = arg;

    struct breakers_stats breakers;

    usage_tell(u);
    breakers_get_stats(u->config.breakers, &breakers);
    if (breakers.version != u->breakers_seen)
        u->config.on_breakers(u->config.user);
    u->breakers_seen = breakers.version;
    timer_start(u->config.loop, &u->timer, u->config.told_ms, on_timer, u);
}

/* --- hearing ------------------------------------------------------------------------------------ */

void usage_hear(struct usage *u, struct span answer)
{
    AUTO(json_value_freep) struct json_value *body = NULL;
    const struct json_value *list;
    struct json_error error;

    if (!answer.n || json_parse(answer, &body, &error))
        return;
    list = json_get(body, "quotas");
    for (size_t i = 0; list && i < json_count(list); i++) {
        const struct json_value *row = json_at(list, i);
        int64_t day_ms = 0, bytes = 0;
        struct span id;

        if (json_get_str(row, "id", &id) && json_get_int(row, "day_ms", &day_ms) &&
            json_get_int(row, "bytes", &bytes) && bytes >= 0)
            quotas_set_others(u->config.quotas, id, day_ms, (uint64_t)bytes);
    }
}

/* --- making it ------------------------------------------------------------------------------------ */

int usage_new(const struct usage_config *config, struct usage **ret_usage)
{
    struct usage *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOMEM;
    u->config = *config;
    timer_start(config->loop, &u->timer, config->told_ms, on_timer, u);
    *ret_usage = u;
    return 0;
}

void usage_free(struct usage *u)
{
    timer_stop(&u->timer);
    free(u);
}
