#include "lib/mux/mux_internal.h"
/*
 * Probe streams: answered by whoever opens streams at the other end of the link.  One runs where bytes
 * are not acknowledged although the link answers PING, so something on their path is stuck; and, on
 * links that we have to prove, at the beginning, now and then, and beside what comes after a rest.
 */

static bool is_suspect(const struct mux_stream *s)
{
    uint32_t waited_ms = (uint32_t)s->mux->now_ms - s->acked_ms;

    return s->tx_sent > s->tx_acked && s->state != STREAM_RESETTING && !s->is_attaching &&
           waited_ms >= MUX_UNACKED_MS;
}

static struct mux_stream *next_suspect(struct mux_link *l, struct map_cursor *cursor)
{
    struct map_node *node;

    while ((node = map_next(&l->by_id, cursor))) {
        struct mux_stream *s = stream_of(container_of(node, struct leg, by_id));

        if (s && is_suspect(s))
            return s;
    }
    return NULL;
}

static void uid_make(struct mux *m, unsigned char ret_uid[MUX_UID_LEN])
{
    for (int i = 0; i < MUX_UID_LEN; i++)
        ret_uid[i] = (unsigned char)mux_jittered(m, 1024);
}

static void probe_start(struct mux_link *l)
{
    struct mux *m = l->mux;
    struct mux_open open = { .kind = MUX_KIND_PROBE, .answer_ms = probe_wait_ms(m) };

    uid_make(m, open.uid);
    l->probe_due_ms = m->now_ms + MUX_PROBE_AGAIN_MS;
    if (mux_stream_open(l, &open, 0, NULL, m->now_ms, &l->probe))
        return;             /* no room for it now: looked at again in a second */
    l->probe->is_probe = true;
    m->stats.probing++;
    l->probe_until_ms = m->now_ms + probe_wait_ms(m);
    m->stats.probes++;
}

void probe_answered(struct mux_stream *s)
{
    struct map_cursor cursor = { 0 };
    struct mux_stream *suspect;

    if (!s->link || s->link->probe != s)
        return;
    s->link->probe_until_ms = 0;
    s->link->probe_over_ms = s->mux->now_ms + probe_wait_ms(s->mux);
    s->link->probe_due_ms = s->mux->now_ms + mux_jittered(s->mux, s->mux->config.probe_every_ms);
    while ((suspect = next_suspect(s->link, &cursor)))
        suspect->acked_ms = (uint32_t)s->mux->now_ms;
}

/* It was not answered, or its end was not. */
static void forget_probe(struct mux_link *l)
{
    struct mux_stream *probe = l->probe;

    l->probe = NULL;
    if (probe)
        mux_stream_reset(probe, REASON_SESSION_LOST, SPAN_NONE, true);
}

/* Twice as long after each of a row, but not longer than between those that are answered. */
static void try_later(struct mux_link *l)
{
    const struct mux_config *config = &l->mux->config;
    uint32_t most = config->probe_every_ms < MUX_PROBE_RETRY_MAX_MS ? config->probe_every_ms : MUX_PROBE_RETRY_MAX_MS;
    uint32_t ms = l->probe_retry_ms ? 2 * l->probe_retry_ms : config->proof_use_ms;

    l->probe_retry_ms = ms < most ? ms : most;
    l->probe_due_ms = l->mux->now_ms + mux_jittered(l->mux, l->probe_retry_ms);
}

static void probe_failed(struct mux_link *l)
{
    struct map_cursor cursor = { 0 };
    struct mux_stream *s;

    l->probe_until_ms = 0;
    l->mux->stats.probes_failed++;
    try_later(l);
    proof_failed(l);
    while ((s = next_suspect(l, &cursor)))
        stream_detach(s, REASON_SESSION_LOST, "bytes that nobody acknowledges", 0);
    forget_probe(l);
}

static bool is_due(const struct mux_link *l)
{
    return link_is_proved_by_us(l) && l->mux->now_ms >= l->probe_due_ms;
}

static bool has_suspect(struct mux_link *l)
{
    struct map_cursor cursor = { 0 };

    if (!l->unacked || l->mux->now_ms < l->suspect_due_ms)
        return false;
    l->suspect_due_ms = l->mux->now_ms + MUX_PING_BUSY_MS;
    return next_suspect(l, &cursor);
}

uint64_t probe_due(const struct mux_link *l)
{
    uint64_t due = l->probe ? l->probe_over_ms : UINT64_MAX;

    if (l->probe_until_ms)
        return l->probe_until_ms;
    if (link_is_proved_by_us(l) && l->state == MUX_LINK_OPEN && l->probe_due_ms < due)
        return l->probe_due_ms;
    return due;
}

/* It goes beside the stream, not before it: nobody waits for its answer. */
void probe_with_use(struct mux_link *l)
{
    uint64_t now_ms = l->mux->now_ms, rest_ms = now_ms - l->used_ms;

    l->used_ms = now_ms;
    if (!link_is_proved_by_us(l) || l->probe_until_ms || rest_ms < l->mux->config.probe_rest_ms)
        return;
    forget_probe(l);
    probe_start(l);
}

void probe_tick(struct mux_link *l)
{
    uint64_t now_ms = l->mux->now_ms;

    if (l->probe_until_ms) {
        if (now_ms >= l->probe_until_ms)
            probe_failed(l);
        return;
    }
    if (l->probe && now_ms >= l->probe_over_ms)
        forget_probe(l);
    if (l->state != MUX_LINK_OPEN || (!is_due(l) && !has_suspect(l)))
        return;
    forget_probe(l);
    probe_start(l);
}
