#include "lib/mux/datagram.h"
#include <string.h>

#define STREAMS_MAX 65536
#define MEMORY_LIMIT (256u << 20)

static void apply_defaults(struct mux_config *c)
{
    if (!c->memory_limit)
        c->memory_limit = MEMORY_LIMIT;
    if (!c->first_window)
        c->first_window = MUX_FIRST_WINDOW;
    if (!c->window_max)
        c->window_max = MUX_WINDOW_MAX;
    if (c->window_max < c->first_window)
        c->window_max = c->first_window;
    if (!c->streams_max)
        c->streams_max = STREAMS_MAX;
    if (!c->hello_timeout_ms)
        c->hello_timeout_ms = MUX_HELLO_TIMEOUT_MS;
    if (!c->probe_rest_ms)
        c->probe_rest_ms = MUX_PROBE_REST_MS;
    if (!c->proof_use_ms)
        c->proof_use_ms = MUX_SILENCE_MS;
}

struct mux *mux_new(const struct mux_config *config, const struct mux_handlers *handlers)
{
    struct mux *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->config = *config;
    apply_defaults(&m->config);
    m->on = *handlers;
    m->random = config->random_seed * 2 + 1;
    map_init(&m->by_uid, SIZE_MAX);     /* who adds one asks; those that come from others are there */
    list_init(&m->links);
    list_init(&m->tell);
    list_init(&m->starved);
    list_init(&m->waiting);
    m->waiting_due_ms = UINT64_MAX;
    list_init(&m->dead_links);
    return m;
}

/* Those that waited for a path, and those whose program has not taken all: it is leaving, so the
 * rest is nobody's. */
static void drop_pathless(struct mux *m)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&m->by_uid, &cursor))) {
        struct mux_stream *s = container_of(node, struct mux_stream, by_uid);

        if (s->state != STREAM_SETTLED || s->rx.len)
            s->how = REASON_SESSION_LOST;
        stream_step(s, STREAM_EV_LOST);
    }
}

void mux_free(struct mux *m)
{
    struct list *node;

    if (!m)
        return;
    m->is_freeing = true;
    while ((node = list_first(&m->links)))
        mux_link_free(container_of(node, struct mux_link, node));
    mux_enter(m, m->now_ms);
    drop_pathless(m);
    mux_leave(m);
    map_deinit(&m->by_uid);
    free(m);
}

const struct mux_stats *mux_stats(const struct mux *m)
{
    return &m->stats;
}

uint64_t mux_jittered(struct mux *m, uint64_t ms)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return ms - ms / 4 + m->random % (ms / 2 + 1);
}

void mux_enter(struct mux *m, uint64_t now_ms)
{
    m->depth++;
    if (now_ms > m->now_ms)
        m->now_ms = now_ms;
}

static void tell_reset(struct mux_stream *s)
{
    struct span text = s->text ? span_of(s->text->text, s->text->len) : SPAN_NONE;

    if (s->mux->on.on_reset)
        s->mux->on.on_reset(s->user, s, (enum reason)s->how, text);
}

static void tell_one(struct mux_stream *s, unsigned what)
{
    const struct mux_handlers *on = &s->mux->on;

    if (s->is_probe)
        return;
    if (what == TELL_READABLE && on->on_readable)
        on->on_readable(s->user, s);
    if (what == TELL_WRITABLE && on->on_writable)
        on->on_writable(s->user, s);
    if (what == TELL_RESET)
        tell_reset(s);
    if (what == TELL_PATH && s->is_lost && !s->link && on->on_want_path)
        on->on_want_path(s->user, s);
    if (what == TELL_MOVED && !s->is_lost && on->on_moved)   /* it may be lost again */
        on->on_moved(s->user, s);
}

/* The last call for a stream: it is in no list and no table any more. */
static void end_one(struct mux_stream *s)
{
    if (s->mux->on.on_ended && !s->is_probe)
        s->mux->on.on_ended(s->user, s, (enum reason)s->how);
    stream_free(s);
}

static void tell_stream(struct mux_stream *s)
{
    for (unsigned what = TELL_READABLE; what < TELL_ENDED; what <<= 1) {
        if (s->told & what) {
            s->told &= (uint8_t)~what;
            tell_one(s, what);
        }
    }
    if (s->told == TELL_ENDED) {
        list_remove(&s->tell);
        end_one(s);
    } else if (s->told == 0) {
        list_remove(&s->tell);
    }
}

static void tell_all(struct mux *m)
{
    struct list *node;

    while ((node = list_first(&m->tell)))
        tell_stream(container_of(node, struct mux_stream, tell));
}

static void bury_links(struct mux *m)
{
    struct list *node;

    while ((node = list_first(&m->dead_links))) {
        list_remove(node);
        link_destroy(container_of(node, struct mux_link, node));
    }
}

void mux_leave(struct mux *m)
{
    if (m->depth == 1) {
        tell_all(m);
        if (m->config.holder)
            holder_tell(m->config.holder);
    }
    m->depth--;
    if (m->depth == 0)
        bury_links(m);
}

uint64_t mux_tick(struct mux *m, uint64_t now_ms)
{
    mux_enter(m, now_ms);
    move_tick(m);
    mux_feed_starved(m);        /* where the allocator said no, nothing that is freed may tell */
    mux_leave(m);
    return m->waiting_due_ms;
}

/* A stream without a path is told at the next call for any link, or mux_tick(). */
void stream_tell(struct mux_stream *s, unsigned what)
{
    s->told |= (uint8_t)what;
    if (list_is_empty(&s->tell))
        list_append(&s->mux->tell, &s->tell);
    if (s->mux->depth == 0 && s->link)
        link_wake(s->link);
    else if (s->mux->depth == 0 && !list_is_empty(&s->mux->links))
        link_wake(container_of(list_first(&s->mux->links), struct mux_link, node));
}

void mux_set_memory_limit(struct mux *m, size_t bytes)
{
    bool has_grown = bytes > m->config.memory_limit;

    m->config.memory_limit = bytes;
    if (has_grown)
        mux_feed_starved(m);
}
