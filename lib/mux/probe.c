#include "lib/mux/mux_internal.h"
/*
 * Bytes that nobody acknowledges although their link answers PING: something on their path is
 * stuck.  A probe stream on the same link tells: it is answered by whoever opens streams there.
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
    struct mux_open open = { .kind = MUX_KIND_PROBE, .answer_ms = MUX_SILENCE_MS };

    uid_make(m, open.uid);
    if (mux_stream_open(l, &open, 0, NULL, m->now_ms, &l->probe))
        return;             /* no room for it now: looked at again in a second */
    l->probe->is_probe = true;
    l->probe_until_ms = m->now_ms + MUX_SILENCE_MS;
    m->stats.probes++;
}

void probe_answered(struct mux_stream *s)
{
    struct map_cursor cursor = { 0 };
    struct mux_stream *suspect;

    if (!s->link || s->link->probe != s)
        return;
    s->link->probe_until_ms = 0;
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

static void probe_failed(struct mux_link *l)
{
    struct map_cursor cursor = { 0 };
    struct mux_stream *s;

    l->probe_until_ms = 0;
    l->mux->stats.probes_failed++;
    while ((s = next_suspect(l, &cursor)))
        stream_detach(s, REASON_SESSION_LOST, "bytes that nobody acknowledges", 0);
    forget_probe(l);
}

void probe_tick(struct mux_link *l)
{
    uint64_t now_ms = l->mux->now_ms;
    struct map_cursor cursor = { 0 };

    if (l->probe_until_ms) {
        if (now_ms >= l->probe_until_ms)
            probe_failed(l);
        return;
    }
    if (!l->unacked || now_ms < l->suspect_due_ms || l->state != MUX_LINK_OPEN)
        return;
    l->suspect_due_ms = now_ms + MUX_PING_BUSY_MS;
    if (!next_suspect(l, &cursor))
        return;
    forget_probe(l);
    probe_start(l);
}
