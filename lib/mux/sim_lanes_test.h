#pragma once
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include "lib/mux/hop.h"
#include <stdio.h>
#include <stdlib.h>
/*
 * sim_lanes_test.h - an entry, a target side and holders in one process, with lanes between them
 * that are dialled, cut at a random byte, go silent, stall, delay and come back, in fake time.
 *
 * End 0 of a lane is that towards the entry (which opens streams), end 1 that towards the target
 * side (which dials its links).  Lanes of group 0 join the two; of each holder the upper ones go
 * to the entry, the lower ones to the target side.
 */
#define LANES_MAX 24
#define HOLDERS_MAX 2
#define GROUPS (1 + 2 * HOLDERS_MAX)
#define ENTRY 0
#define TARGET 1
#define HOLDER 2                    /* and 3: nodes beside the two ends */
#define NODES (2 + HOLDERS_MAX)

enum fault {
    FAULT_RESET,        /* link cut, both ends hear of it */
    FAULT_RESET_LATE,   /* one end hears of it later */
    FAULT_SILENT,       /* nothing arrives any more, nobody hears of it */
    FAULT_STALL,        /* nothing arrives for a while */
    FAULT_MID_FRAME,    /* a cut inside a message */
    FAULT_DRAIN,        /* GOAWAY, then the link ends */
    FAULT_DETACHED,     /* before that, its streams are told to go elsewhere */
    FAULT_MOVE,         /* a stream is moved from a living path */
    FAULT_HANDOVER,     /* to the entry's other mux */
    FAULT_ENTRY_RESTART, FAULT_TARGET_RESTART, FAULT_HOLDER_RESTART,
    FAULT_STALLED_END, FAULT_RESET_BY_ENTRY, FAULT_RESET_BY_TARGET, FAULT_LATE_ANSWER,
    FAULT_OUTAGE,       /* no lane comes back before the graces are over */
    FAULT_IDS_END,      /* a link whose ids come to their end */
    FAULT_DEAF,         /* the target side answers no probe for a while */
    FAULT_REFUSED, FAULT_OLD_BOOT, FAULT_FORGED, FAULT_PRESSURE, FAULT_STUBBORN, FAULT_NO_MEMORY,
    FAULT_COUNT
};

struct message {
    struct list node;
    size_t len, taken;
    uint64_t due_ms;
    bool is_cut;                    /* its end will never come */
    unsigned char bytes[];
};

struct lane {
    struct mux_link *link[2];
    struct list in[2];              /* on the way to this end */
    uint64_t dies_ms[2];            /* this end hears of the cut then; 0: there is none */
    uint64_t stalled_until_ms, drain_until_ms;
    uint64_t next_tick_ms[2];
    bool is_left;                   /* its streams were told to go elsewhere */
    uint64_t heard_ms, unproved_ms; /* the entry's end: sim_proof_test.h */
    bool was_proved;
    bool is_silent, is_tricked;     /* tricked: a hostile frame ends the link */
    bool has_failed[2];
    char boot_id[8];                /* of the target side that dialled it */
    int index, group, acceptor;
    uint64_t delay_ms;
    struct seen {                   /* of what the holder at one of its ends has said, by id */
        uint32_t id;
        uint64_t data_end, strange, limit;
    } seen[64];
};

static struct sim {
    struct mux *mux[2];
    struct mux *twin;               /* the entry's second one, for every other lane; NULL: none */
    bool has_twin;
    struct mux_handlers on;
    struct mux_config config[2];
    struct lane lanes[LANES_MAX];
    unsigned lanes_wanted[GROUPS];
    uint64_t now_ms, rng, seed, dial_ms[GROUPS];
    uint64_t delay_ms, lanes_made;
    uint64_t deaf_until_ms;         /* until then the target side answers no probe */
    unsigned boots[NODES], entry_seen;  /* seen: by this start of the target side */
    char boot_id[NODES][8];
    unsigned holders;
    struct mux *switch_mux[HOLDERS_MAX];
    struct mux_holder *holder[HOLDERS_MAX];
    struct mux_handlers switch_on;
    void (*watch)(struct lane *lane, int from, unsigned char *bytes, size_t n);  /* what is said */
    struct mux_holder_config holder_config;
    bool is_harsh;                  /* what streams need not survive happens too */
    bool is_hostile, is_playing;    /* somebody puts frames in between; just now */
    bool is_starved;                /* allocations fail: whoever needs them may end, with a reason */
    bool is_stubborn;               /* who stands still when it is calm does so for longer */
    bool is_calm, has_moved;        /* something happened in this step */
} sim;

static uint64_t faults[FAULT_COUNT];
static struct mux_stats total[2];
static uint64_t steps[2][STREAM_STATE_COUNT][STREAM_EVENT_COUNT];

static inline uint64_t rnd(void)
{
    sim.rng ^= sim.rng << 13;
    sim.rng ^= sim.rng >> 7;
    sim.rng ^= sim.rng << 17;
    return sim.rng >> 16;
}

static inline unsigned below(unsigned n)
{
    return (unsigned)(rnd() % n);
}

static inline bool one_in(unsigned n)
{
    return below(n) == 0;
}

/* Stands for HMAC-SHA-256: only the key and the bytes decide. */
static inline void sim_mac(const unsigned char secret[MUX_SECRET_LEN], struct span message,
                           unsigned char ret_mac[32])
{
    unsigned char mem[256];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put(&b, secret, MUX_SECRET_LEN);
    buf_put_span(&b, message);
    for (int i = 0; i < 4; i++) {
        uint64_t h;

        buf_put_u8(&b, (uint8_t)i);
        h = hash_bytes(buf_span(&b));
        memcpy(ret_mac + i * 8, &h, 8);
    }
}

/* --- lanes ------------------------------------------------------------------------------ */
static inline void drop_messages(struct list *in)
{
    LIST_EACH(in, node) {
        list_remove(node);
        free(container_of(node, struct message, node));
    }
}

static inline bool lane_is_free(const struct lane *lane)
{
    return !lane->link[0] && !lane->link[1];
}

static inline void lane_leave(struct lane *lane, int end)
{
    struct mux_link *link = lane->link[end];

    lane->link[end] = NULL;
    drop_messages(&lane->in[end]);
    mux_link_free(link);
    sim.has_moved = true;
}

/* What is on the way to `end` arrives up to a random byte. */
static inline void cut_way(struct lane *lane, int end)
{
    unsigned keep = below(4);
    bool is_over = false;

    LIST_EACH(&lane->in[end], node) {
        struct message *m = container_of(node, struct message, node);

        if (keep) {
            keep--;
            continue;
        }
        if (!is_over && !m->is_cut && m->len - m->taken > 1 && one_in(2)) {
            m->len = m->taken + 1 + below((unsigned)(m->len - m->taken - 1));
            m->is_cut = true;
            faults[FAULT_MID_FRAME]++;
        } else {
            list_remove(node);
            free(m);
        }
        is_over = true;
    }
}

static inline bool lane_is_dying(const struct lane *lane)
{
    return lane->dies_ms[0] || lane->dies_ms[1];
}

static inline void lane_reset(struct lane *lane, bool is_late)
{
    if (lane_is_free(lane) || lane_is_dying(lane))
        return;
    for (int end = 0; end < 2; end++) {
        cut_way(lane, end);
        lane->dies_ms[end] = sim.now_ms + 1 + below(20);
    }
    if (is_late)
        lane->dies_ms[below(2)] += below(4000);
    faults[is_late ? FAULT_RESET_LATE : FAULT_RESET]++;
}

static inline bool lane_is_lower(const struct lane *lane)
{
    return lane->group && lane->group % 2 == 0;
}

static inline int node_of(const struct lane *lane, int end)
{
    return lane->group && end == (lane_is_lower(lane) ? 0 : 1) ? HOLDER + (lane->group - 1) / 2 : end;
}

/* Without memory there is no lane. */
static inline void lane_greet(struct lane *lane)
{
    bool is_whole = lane->link[ENTRY] && lane->link[TARGET];
    const char *boot_id = sim.boot_id[node_of(lane, lane->acceptor)];
    int r = is_whole ? mux_link_hello(lane->link[lane->acceptor], span_str(boot_id)) : -ENOMEM;

    if (r == 0)
        return;
    assert_true(sim.is_starved && r == -ENOMEM);
    for (int end = 0; end < 2; end++) {
        if (lane->link[end])
            mux_link_free(lane->link[end]);
        lane->link[end] = NULL;
    }
}

static inline struct mux *mux_of(const struct lane *lane, int end)
{
    if (node_of(lane, end) >= HOLDER)
        return sim.switch_mux[node_of(lane, end) - HOLDER];
    return end == ENTRY && sim.twin && lane->index % 2 ? sim.twin : sim.mux[end];
}

static inline void lane_dial(int group)
{
    for (int i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &sim.lanes[i];

        if (!lane_is_free(lane))
            continue;
        sim.lanes_made++;
        *lane = (struct lane){ .index = i, .group = group, .acceptor = group % 2 ? (int)below(2) : 0,
                               .delay_ms = group && one_in(2) ? below(60) : sim.delay_ms };
        memcpy(lane->boot_id, sim.boot_id[TARGET], sizeof(lane->boot_id));
        for (int end = 0; end < 2; end++) {
            list_init(&lane->in[end]);
            lane->link[end] = mux_link_new_as(mux_of(lane, end), end == lane->acceptor, lane,
                                              sim.now_ms);
            assert_true(lane->link[end] || sim.is_starved);
            if (lane->link[end] && (sim.seed + sim.lanes_made) % 2)
                mux_link_large_data(lane->link[end]);
            if (lane->link[end] && group % 2)
                mux_link_between_relays(lane->link[end]);
            if (lane->link[end] && group && one_in(3))
                mux_link_set_rate(lane->link[end], 100000 + below(1000000));
        }
        lane_greet(lane);
        if (lane->link[ENTRY] && one_in(8))
            lane->link[ENTRY]->next_id = 0xfffffffeu - 2 * (MUX_IDS_LEFT + below(4)) + (uint32_t)lane->acceptor;
        return;
    }
}

static inline unsigned lanes_dialled(int group)
{
    unsigned n = 0;

    for (int i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &sim.lanes[i];

        n += lane->group == group && lane->link[TARGET] && !lane->dies_ms[TARGET] && !lane->drain_until_ms &&
             mux_link_state(lane->link[TARGET]) != MUX_LINK_CLOSED;
    }
    return n;
}

static inline void lane_send(struct lane *lane, int from)
{
    static unsigned char bytes[MUX_MESSAGE_MAX];
    size_t cap = one_in(3) ? 16384 + below(MUX_MESSAGE_MAX - 16384) : MUX_MESSAGE_MAX;
    size_t n = mux_link_produce(lane->link[from], bytes, cap, sim.now_ms);
    struct message *m;

    if (n == 0)
        return;
    sim.has_moved = true;
    if (lane->group)
        sim.watch(lane, from, bytes, n);
    if (lane->is_silent || lane_is_dying(lane) || !lane->link[!from])
        return;
    m = check_alloc_own(sizeof(*m) + n);
    assert_non_null(m);
    *m = (struct message){ .len = n, .due_ms = sim.now_ms + lane->delay_ms };
    memcpy(m->bytes, bytes, n);
    list_append(&lane->in[!from], &m->node);
}

static inline bool lane_deliver(struct lane *lane, int to)
{
    struct list *node = list_first(&lane->in[to]);
    struct message *m = node ? container_of(node, struct message, node) : NULL;
    unsigned char *copy;
    size_t n;

    if (!m || m->due_ms > sim.now_ms || lane->stalled_until_ms > sim.now_ms)
        return false;
    n = m->len - m->taken;
    if (n > 1 && one_in(4))
        n = 1 + below((unsigned)n);
    copy = check_alloc_own(n);               /* of its own size, so that a sanitizer sees its end */
    assert_non_null(copy);
    memcpy(copy, m->bytes + m->taken, n);
    m->taken += n;
    if (to == ENTRY)
        lane->heard_ms = sim.now_ms;
    (void)!mux_link_take(lane->link[to], span_of(copy, n), m->taken == m->len && !m->is_cut,
                         sim.now_ms);
    free(copy);
    lane->next_tick_ms[to] = 0;
    if (m->taken == m->len) {
        list_remove(&m->node);
        free(m);
    }
    sim.has_moved = true;
    return true;
}

static inline void lane_end_step(struct lane *lane, int end)
{
    if (!lane->link[end])
        return;
    for (unsigned n = 1 + below(4); n && lane->link[end] && lane_deliver(lane, end); n--)
        ;
    if (lane->next_tick_ms[end] <= sim.now_ms)
        lane->next_tick_ms[end] = mux_link_tick(lane->link[end], sim.now_ms);
    if (mux_link_has_output(lane->link[end]) && !one_in(4))
        lane_send(lane, end);
    if (lane->has_failed[end]) {
        while (mux_link_has_output(lane->link[end]) && list_first(&lane->link[end]->items))
            lane_send(lane, end);
        lane_leave(lane, end);
        if (!lane->is_silent && !lane->dies_ms[!end])
            lane->dies_ms[!end] = sim.now_ms + lane->delay_ms + 1;
    } else if (lane->dies_ms[end] && lane->dies_ms[end] <= sim.now_ms) {
        lane_leave(lane, end);
    }
}

/* Its ids are used up: the target side dials another, then this one ends. */
static inline void lane_renew(struct lane *lane)
{
    bool is_worn = lane->link[ENTRY] && lane->link[ENTRY]->next_id > 0xffffffffu - 2 * MUX_IDS_LEFT;

    if (!is_worn || lane->drain_until_ms || mux_link_state(lane->link[ENTRY]) != MUX_LINK_DRAINING)
        return;
    faults[FAULT_IDS_END]++;
    sim.dial_ms[lane->group] = sim.now_ms;
    lane->drain_until_ms = sim.now_ms + 50 + below(500);
}

/* Its time is over: it ends, perhaps in order. */
static inline void lane_drained(struct lane *lane)
{
    struct mux_link *l = lane->link[below(2) && lane->link[TARGET] ? TARGET : ENTRY];

    if (lane->is_left || !l || mux_link_state(l) != MUX_LINK_DRAINING || one_in(3)) {
        lane_reset(lane, false);
        return;
    }
    mux_link_detach(l, REASON_RELAY_DRAINING);
    lane->is_left = true;
    lane->drain_until_ms = sim.now_ms + 1 + below(100);
    faults[FAULT_DETACHED]++;
}

static inline void lanes_dial(int group)
{
    if (lanes_dialled(group) >= sim.lanes_wanted[group] || sim.now_ms < sim.dial_ms[group])
        return;
    lane_dial(group);
    sim.dial_ms[group] = sim.now_ms + below(one_in(6) ? 8000 : 300);
    if (!sim.is_harsh || sim.is_calm || !one_in(20))
        return;
    for (int i = 0; i < GROUPS; i++)
        sim.dial_ms[i] = sim.now_ms + 70000;
    faults[FAULT_OUTAGE]++;
}

static inline void lanes_step(void)
{
    for (int i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &sim.lanes[i];

        lane_renew(lane);
        if (lane->drain_until_ms && lane->drain_until_ms <= sim.now_ms)
            lane_drained(lane);
        lane_end_step(lane, below(2));
        lane_end_step(lane, 0);
        lane_end_step(lane, 1);
    }
    for (int group = 0; group < GROUPS; group++)
        lanes_dial(group);
    for (unsigned i = 0; i < sim.holders; i++)
        (void)mux_tick(sim.switch_mux[i], sim.now_ms);
    (void)mux_tick(sim.mux[0], sim.now_ms);
    (void)mux_tick(sim.mux[1], sim.now_ms);
    if (sim.twin)
        (void)mux_tick(sim.twin, sim.now_ms);
}

static inline struct lane *lane_random(bool is_any)
{
    for (int i = 0, start = (int)below(LANES_MAX); i < LANES_MAX; i++) {
        struct lane *lane = &sim.lanes[(start + i) % LANES_MAX];

        if (lane->link[ENTRY] && mux_link_state(lane->link[ENTRY]) == MUX_LINK_OPEN &&
            (is_any || node_of(lane, ENTRY) == ENTRY))
            return lane;
    }
    return NULL;
}

static inline struct lane *lane_random_open(void)
{
    return lane_random(false);
}

/* Of the target side that is reached over it; NULL: nobody is, just now. */
static inline const char *lane_boot(const struct lane *lane)
{
    for (int i = 0; i < LANES_MAX && lane->group; i++) {
        const struct lane *lower = &sim.lanes[i];

        if (lower->group == lane->group + 1 && lower->link[ENTRY] &&
            mux_link_state(lower->link[ENTRY]) == MUX_LINK_OPEN)
            return lower->boot_id;
    }
    return lane->group ? NULL : lane->boot_id;
}

static inline void lane_fault(void)
{
    struct lane *lane = &sim.lanes[below(LANES_MAX)];

    if (lane_is_free(lane) || lane_is_dying(lane))
        return;
    switch (below(6)) {
    case 0:
        if (!lane->is_silent)
            faults[FAULT_SILENT]++;
        lane->is_silent = true;
        drop_messages(&lane->in[0]);
        drop_messages(&lane->in[1]);
        break;
    case 1:
        lane->stalled_until_ms = sim.now_ms + below(one_in(3) ? 5000 : 800);
        faults[FAULT_STALL]++;
        break;
    case 2:
        if (!lane->link[ENTRY] || mux_link_state(lane->link[ENTRY]) != MUX_LINK_OPEN)
            break;
        mux_link_goaway(lane->link[below(2) && lane->link[TARGET] ? TARGET : ENTRY],
                        &(struct mux_goaway){ .why = REASON_RELAY_DRAINING, .ms_left = 500 });
        lane->drain_until_ms = sim.now_ms + 1 + below(1000);
        faults[FAULT_DRAIN]++;
        break;
    case 3:
        lane_reset(lane, true);
        break;
    default:
        lane_reset(lane, false);
    }
}

/* --- ends --------------------------------------------------------------------------------- */
static inline void add_stats(const struct mux *m, int end)
{
    const struct mux_stats *stats = mux_stats(m);

    for (size_t t = 0; t < ARRAY_LEN(stats->frames_out); t++) {
        total[end].frames_out[t] += stats->frames_out[t];
        total[end].frames_in[t] += stats->frames_in[t];
    }
    for (size_t i = 0; i < STREAM_STATE_COUNT * STREAM_EVENT_COUNT; i++)
        steps[end][i / STREAM_EVENT_COUNT][i % STREAM_EVENT_COUNT] +=
            sim.mux[end]->steps[i / STREAM_EVENT_COUNT][i % STREAM_EVENT_COUNT];
    total[end].probes += stats->probes;
    total[end].probes_failed += stats->probes_failed;
    total[end].dropped_bytes += stats->dropped_bytes;
    total[end].overload_refusals += stats->overload_refusals;
    total[end].paths_lost += stats->paths_lost;
    total[end].paths_found += stats->paths_found;
    total[end].graces_over += stats->graces_over;
    total[end].replayed_bytes += stats->replayed_bytes;
    total[end].late_frames += stats->late_frames;
    total[end].protocol_errors += stats->protocol_errors;
}

static inline void end_start(int end)
{
    sim.boots[end]++;
    (void)snprintf(sim.boot_id[end], sizeof(sim.boot_id[end]), "%c%u", end ? 't' : 'e',
                   sim.boots[end]);
    sim.config[end].boot_id = sim.boot_id[end];
    check_alloc_fail(0);
    sim.mux[end] = mux_new(&sim.config[end], &sim.on);
    assert_non_null(sim.mux[end]);
    if (end == ENTRY && sim.has_twin)
        sim.twin = mux_new(&sim.config[end], &sim.on);
}

static inline void node_cut(int node)
{
    for (int i = 0; i < 2 * LANES_MAX; i++) {
        struct lane *lane = &sim.lanes[i / 2];
        int end = i % 2;

        if (!lane->link[end] || node_of(lane, end) != node)
            continue;
        cut_way(lane, !end);
        lane->link[end] = NULL;             /* mux_free() frees it */
        drop_messages(&lane->in[end]);
        if (!lane->is_silent && !lane->dies_ms[!end])
            lane->dies_ms[!end] = sim.now_ms + 1 + below(50);
    }
}

/* The process dies: its links are cut, its streams are nobody's. */
static inline void end_stop(int end)
{
    add_stats(sim.mux[end], end);
    if (end == ENTRY && sim.twin)
        add_stats(sim.twin, end);
    node_cut(end);
    mux_free(sim.mux[end]);
    sim.mux[end] = NULL;
    if (end == TARGET)
        sim.entry_seen = 0;
    if (end == ENTRY)
        mux_free(TAKE(sim.twin));
}

/* --- what programs say --------------------------------------------------------------------- */
#define PATTERN_PERIOD 65521
static unsigned char pattern_row[2 * PATTERN_PERIOD];

static inline void pattern_init(void)
{
    uint64_t x = 88172645463325252u;

    for (size_t i = 0; i < PATTERN_PERIOD; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        pattern_row[i] = pattern_row[i + PATTERN_PERIOD] = (unsigned char)(x >> 56);
    }
}

/* One of the next allocations fails; of what the test itself needs, none does. */
static inline void starve(void)
{
    if (!sim.is_starved || !one_in(6))
        return;
    faults[FAULT_NO_MEMORY] += check_alloc_has_failed();
    check_alloc_fail(1 + below(20));
}
