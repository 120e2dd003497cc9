#pragma once
#include "lib/mux/sim_progs_test.h"
/*
 * sim_left_test.h - what is left of a run, and what of that may be.
 */
/* --- what a run does not wait for --------------------------------------------------------------- */
static inline bool is_harmed_hop(const struct leg *g)
{
    size_t user = g->kind == LEG_HOP ? (size_t)(uintptr_t)side_of(g)->hop->user : 0;

    return user && (progs[user - 1][ENTRY].is_harmed || progs[user - 1][TARGET].is_harmed);
}

/* Forged frames have told both ends that an id is over, which no holder said: it never hears so. */
static inline bool are_hops_harmed(void)
{
    for (unsigned i = 0; i < sim.holders; i++) {
        LIST_EACH(&sim.switch_mux[i]->links, node) {
            const struct mux_link *l = container_of(node, struct mux_link, node);
            struct map_cursor cursor = { 0 };
            struct map_node *id;

            while ((id = map_next(&l->by_id, &cursor))) {
                if (!is_harmed_hop(container_of(id, struct leg, by_id)))
                    return false;
            }
        }
    }
    return true;
}

/* Whose ends both take what comes. */
static inline bool is_read(unsigned i)
{
    return !progs[i][ENTRY].is_stalled && !progs[i][TARGET].is_stalled;
}

static inline bool has_read_one(void)
{
    for (unsigned i = 0; i < opened; i++) {
        if (is_read(i) && (progs[i][ENTRY].s || progs[i][TARGET].s))
            return true;
    }
    return false;
}

static inline bool has_any(void)
{
    for (unsigned i = 0; i < opened; i++) {
        if (progs[i][ENTRY].s || progs[i][TARGET].s)
            return true;
    }
    return false;
}

/* An OPEN that is still under way makes a stream yet. */
static inline bool have_streams_ended(void)
{
    return mux_stats(sim.mux[0])->streams == 0 && mux_stats(sim.mux[1])->streams == 0 &&
           (!sim.twin || mux_stats(sim.twin)->streams == 0);
}

static inline bool all_ended(void)
{
    for (int i = 0; i < LANES_MAX; i++) {
        if (!list_is_empty(&sim.lanes[i].in[0]) || !list_is_empty(&sim.lanes[i].in[1]))
            return false;
    }
    return have_streams_ended() && holders_are_empty();
}

/* --- where a seed fails ---------------------------------------------------------------------------- */
static inline void say_stream(const struct mux_stream *s)
{
    print_message("  stream %u of the %s: %s%s%s%s%s, path %u, id %u, owed %02x, told %02x\n"
                  "    sends: acked %lu sent %lu end %lu limit %lu; takes: consumed %lu received %lu "
                  "limit %lu (%u lie here)\n",
                  s->uid[1], s->is_entry ? "entry" : "target", stream_state_name((enum stream_state)s->state),
                  s->link ? "" : ", no link", s->is_lost ? ", lost" : "",
                  s->is_attaching ? ", attaching" : "", s->is_probe ? ", a probe" : "", s->path, s->id,
                  s->owed, s->told, s->tx_acked, s->tx_sent, s->tx_end, s->tx_limit, s->rx_consumed,
                  s->rx_received, s->rx_limit, s->rx.len);
}

static inline void say_streams(const struct mux *m)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    if (!m)
        return;
    print_message("  held %zu of %zu, promised %zu, streams %u\n", m->stats.held_bytes,
                  m->config.memory_limit, m->stats.promised_bytes, m->stats.streams);
    while ((node = map_next((struct map *)&m->by_uid, &cursor)))
        say_stream(container_of(node, struct mux_stream, by_uid));
}

static inline void say_side(const struct side *y)
{
    print_message("  hop of stream %ld, towards the %s, id %u: acked %lu handed %lu received %lu told %lu "
                  "limit %lu, last %u%s%s\n", (long)(uintptr_t)y->hop->user - 1,
                  y->is_target ? "target" : "entry", y->id, y->acked, y->handed, y->received, y->told,
                  y->limit, y->last, y->is_reset ? ", reset" : "", y->hop->is_answered ? "" : ", not answered");
}

static inline void say_lane(const struct lane *lane)
{
    for (int end = 0; end < 2; end++) {
        struct map_cursor cursor = { 0 };
        struct map_node *node;

        if (!lane->link[end] || node_of(lane, end) < HOLDER)
            continue;
        while ((node = map_next(&lane->link[end]->by_id, &cursor)))
            say_side(side_of(container_of(node, struct leg, by_id)));
    }
    print_message("  lane %d of group %d: %s/%s, %s%s, delay %lu, on the way %s/%s\n", lane->index, lane->group,
                  lane->link[0] ? "up" : "gone", lane->link[1] ? "up" : "gone",
                  lane->is_silent ? "silent" : "heard", lane_is_dying(lane) ? ", dying" : "", lane->delay_ms,
                  list_is_empty(&lane->in[0]) ? "none" : "some",
                  list_is_empty(&lane->in[1]) ? "none" : "some");
}

static inline void say_what_is_left(void)
{
    print_message("%lu ms: the entry\n", sim.now_ms);
    say_streams(sim.mux[ENTRY]);
    if (sim.twin)
        print_message("its other mux\n");
    say_streams(sim.twin);
    print_message("the target side\n");
    say_streams(sim.mux[TARGET]);
    for (int i = 0; i < LANES_MAX; i++) {
        if (!lane_is_free(&sim.lanes[i]))
            say_lane(&sim.lanes[i]);
    }
}

static inline void fail_left(const char *what)
{
    say_what_is_left();
    fail_msg("seed %lu: %s", sim.seed, what);
}
