#include "dataplane/route/balance.h"
#include "dataplane/route/holders.h"
#include <errno.h>
#include <string.h>

#define LIGHTER_LEAST 8         /* so few streams more are no reason to go elsewhere */

void holders_init(struct holders *h, struct roster *roster, unsigned worker, size_t agents_max)
{
    *h = (struct holders){ .roster = roster, .worker = worker };
    map_init(&h->agents, agents_max);
    roster_reader_init(&h->reader, roster);
}

static void agent_free(struct holders *h, struct held_agent *a)
{
    for (size_t i = 0; i < a->lane_count; i++)
        roster_leave(h->roster, h->worker, a->seat, false);
    map_remove(&h->agents, &a->node);
    seat_unref(a->seat);
    free(a);
}

void holders_deinit(struct holders *h)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&h->agents, &cursor)))
        agent_free(h, container_of(node, struct held_agent, node));
    map_deinit(&h->agents);
    roster_reader_deinit(&h->reader);
}

struct held_agent *holders_find(const struct holders *h, const struct ulid *agent)
{
    struct map_node *node = map_find(&h->agents, ulid_span(agent));

    return node ? container_of(node, struct held_agent, node) : NULL;
}

/* --- what the others see ------------------------------------------------------------------------ */

struct noted {                      /* of all lanes here, as in a berth */
    uint64_t proved_ms, usable_ms, doubted_ms;
    uint32_t rtt_us, draining, takers;
};

static void note_later(uint64_t *latest_ms, uint64_t ms)
{
    if (ms > *latest_ms)
        *latest_ms = ms;
}

static bool takes_streams(const struct lane *lane)
{
    return !lane->is_draining && tunnel_is_up(lane->tunnel) && mux_link_may_open(tunnel_link(lane->tunnel));
}

static void note_lane(const struct lane *lane, struct noted *n)
{
    if (lane->rtt_us && (!n->rtt_us || lane->rtt_us < n->rtt_us))
        n->rtt_us = lane->rtt_us;
    n->draining += lane->is_draining;
    if (!tunnel_is_up(lane->tunnel))
        return;
    n->takers += takes_streams(lane);
    if (lane->proof == MUX_DOUBTED)
        note_later(&n->doubted_ms, lane->doubted_ms);
    if (lane->proof == MUX_PROVED)
        note_later(&n->proved_ms, lane->proved_ms);
    /* Among the agent's own links a new one is as good as any: another's word may be older. */
    if (lane->proof != MUX_DOUBTED && takes_streams(lane))
        note_later(&n->usable_ms, lane->proved_ms);
}

static void publish(const struct holders *h, const struct held_agent *a)
{
    struct berth *b = &a->seat->berths[h->worker];
    struct noted n = { 0 };

    for (size_t i = 0; i < a->lane_count; i++)
        note_lane(&a->lanes[i], &n);
    atomic_store(&b->proved_ms, n.proved_ms);
    atomic_store(&b->usable_ms, n.usable_ms);
    atomic_store(&b->takers, n.takers);
    atomic_store(&b->doubted_ms, n.proved_ms ? 0 : n.doubted_ms);
    atomic_store(&b->rtt_us, n.rtt_us);
    atomic_store(&b->draining, n.draining);
}

void holders_up(struct holders *h, const struct ulid *agent)
{
    const struct held_agent *a = holders_find(h, agent);

    if (!a)
        return;
    publish(h, a);
    roster_ring(h->roster, h->worker);
}

/* --- lanes that come and go ---------------------------------------------------------------------- */

/* The older process' tunnels hear why and end; what they carried ends with them. */
static void evict(struct holders *h, struct held_agent *a)
{
    struct tunnel *old[HOLDER_LANES_MAX];
    size_t n = a->lane_count;

    for (size_t i = 0; i < n; i++)
        old[i] = a->lanes[i].tunnel;
    a->lane_count = 0;
    publish(h, a);
    for (size_t i = 0; i < n; i++) {
        roster_leave(h->roster, h->worker, a->seat, false);
        tunnel_close(old[i], REASON_REPLACED, "a newer process with this identity came");
    }
}

void holders_evict_replaced(struct holders *h)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&h->agents, &cursor))) {
        struct held_agent *a = container_of(node, struct held_agent, node);

        if (!seat_is_replaced(a->seat))
            continue;
        evict(h, a);
        agent_free(h, a);
    }
}

void holders_renew(struct held_agent *a, const struct identity *who)
{
    seat_renew(a->seat, who);
}

static int agent_new(struct holders *h, struct seat *seat, struct held_agent **ret_agent)
{
    struct held_agent *a = calloc(1, sizeof(*a));
    int r;

    if (!a)
        return -ENOMEM;
    a->id = seat->id;
    r = map_insert(&h->agents, &a->node, ulid_span(&a->id));
    if (r) {
        free(a);
        return r;
    }
    a->seat = seat_ref(seat);
    a->left_seen = seat->left_count;
    *ret_agent = a;
    return 0;
}

/* Who has this seat here: an older process makes room. */
static int agent_get(struct holders *h, struct seat *seat, struct held_agent **ret_agent)
{
    struct held_agent *a = holders_find(h, &seat->id);

    if (!a)
        return agent_new(h, seat, ret_agent);
    if (a->seat != seat) {
        evict(h, a);
        seat_unref(a->seat);
        a->seat = seat_ref(seat);
        a->left_seen = seat->left_count;
    }
    if (a->lane_count == HOLDER_LANES_MAX)
        return -ENOSPC;
    *ret_agent = a;
    return 0;
}

enum reason holders_add(struct holders *h, struct tunnel *t, const struct identity *who,
                        const struct tunnel_hello *hello, uint64_t now_ms, bool *ret_was_replaced,
                        struct held_agent **ret_agent)
{
    AUTO(seat_unrefp) struct seat *seat = NULL;
    struct held_agent *a;
    enum reason why = roster_enter(h->roster, h->worker, who, hello, tunnel_session(t), ret_was_replaced, &seat);

    if (why != REASON_NONE)
        return why;
    h->replaced += *ret_was_replaced;
    if (agent_get(h, seat, &a)) {
        roster_leave(h->roster, h->worker, seat, false);
        return REASON_OVERLOAD;
    }
    a->lanes[a->lane_count++] = (struct lane){ .tunnel = t, .proved_ms = now_ms, .doubted_ms = now_ms,
                                               .proof = mux_link_proof(tunnel_link(t)),
                                               .is_draining = atomic_load(&seat->is_going) };
    publish(h, a);
    *ret_agent = a;
    return REASON_NONE;
}

static struct lane *find_lane(struct held_agent *a, const struct tunnel *t)
{
    for (size_t i = 0; a && i < a->lane_count; i++) {
        if (a->lanes[i].tunnel == t)
            return &a->lanes[i];
    }
    return NULL;
}

static void drain_lanes(struct holders *h, struct held_agent *a)
{
    for (size_t i = 0; i < a->lane_count; i++)
        a->lanes[i].is_draining = true;
    publish(h, a);
}

void holders_drain_all(struct holders *h, const struct ulid *agent)
{
    struct held_agent *a = holders_find(h, agent);

    if (!a || atomic_exchange(&a->seat->is_going, true))
        return;
    drain_lanes(h, a);
    roster_ring(h->roster, h->worker);
}

static bool drop_lane(struct held_agent *a, struct span session, const struct tunnel *but)
{
    for (size_t i = 0; i < a->lane_count; i++) {
        struct tunnel *t = a->lanes[i].tunnel;

        if (t == but || !span_eq(ulid_span(&tunnel_own_hello(t)->session.id), session))
            continue;
        tunnel_drop(t, REASON_SESSION_LOST, "the agent has left it for a new one");
        return true;
    }
    return false;
}

bool holders_drop_left(struct holders *h, const struct ulid *agent, const char *session, const struct tunnel *by)
{
    struct held_agent *a = holders_find(h, agent);

    if (!a)
        return false;
    if (drop_lane(a, span_str(session), by))
        return true;
    roster_tell_left(h->roster, h->worker, a->seat, session);
    return false;
}

void holders_drop_told(struct holders *h)
{
    struct ulid sessions[ROSTER_LEFT_MAX];
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&h->agents, &cursor))) {
        struct held_agent *a = container_of(node, struct held_agent, node);
        uint32_t told = a->seat->left_count;
        size_t count = told == a->left_seen ? 0 : roster_left(h->roster, a->seat, sessions);

        a->left_seen = told;
        if (atomic_load(&a->seat->is_going))
            drain_lanes(h, a);
        for (size_t i = 0; i < count; i++)
            (void)drop_lane(a, ulid_span(&sessions[i]), NULL);
    }
}

bool holders_remove(struct holders *h, const struct ulid *agent, const struct tunnel *t, bool for_good)
{
    struct held_agent *a = holders_find(h, agent);
    struct lane *lane = find_lane(a, t);
    bool has_left;

    if (!lane)
        return false;
    *lane = a->lanes[--a->lane_count];
    publish(h, a);
    has_left = roster_leave(h->roster, h->worker, a->seat, for_good);
    if (a->lane_count == 0)
        agent_free(h, a);
    return has_left;
}

void holders_prove(struct holders *h, const struct ulid *agent, const struct tunnel *t, uint32_t rtt_us,
                   uint64_t now_ms)
{
    struct held_agent *a = holders_find(h, agent);
    struct lane *lane = find_lane(a, t);

    if (!lane)
        return;
    lane->proved_ms = now_ms;
    lane->rtt_us = rtt_us;
    publish(h, a);
}

void holders_proof(struct holders *h, const struct ulid *agent, const struct tunnel *t, enum mux_proof proof,
                   uint64_t now_ms)
{
    struct held_agent *a = holders_find(h, agent);
    struct lane *lane = find_lane(a, t);
    bool is_news = lane && (lane->proof == MUX_DOUBTED) != (proof == MUX_DOUBTED);

    if (!lane)
        return;
    if (proof == MUX_PROVED)
        lane->proved_ms = now_ms;
    if (is_news)
        lane->doubted_ms = now_ms;
    lane->proof = proof;
    publish(h, a);
    if (is_news)
        roster_tell_proof(h->roster);
}

bool holders_drain(struct holders *h, const struct ulid *agent, const struct tunnel *t, bool is_closing)
{
    struct held_agent *a = holders_find(h, agent);
    struct lane *lane = find_lane(a, t);
    bool is_news = lane && is_closing && !lane->is_closing;

    if (!lane)
        return false;
    lane->is_draining = true;
    lane->is_closing |= is_closing;
    publish(h, a);
    return is_news;
}

/* --- choosing ------------------------------------------------------------------------------------- */

static bool is_proved(const struct holders *h, const struct lane *lane, uint64_t now_ms)
{
    return lane->proof != MUX_DOUBTED && roster_is_recent(h->roster, lane->proved_ms, now_ms);
}

static struct mux_link *lighter_link(struct mux_link *best, struct mux_link *link)
{
    return !best || mux_link_stream_count(link) < mux_link_stream_count(best) ? link : best;
}

struct mux_link *holders_link(const struct holders *h, struct held_agent *a, uint64_t now_ms)
{
    struct mux_link *best = NULL;

    for (size_t i = 0; i < a->lane_count; i++) {
        if (takes_streams(&a->lanes[i]) && is_proved(h, &a->lanes[i], now_ms))
            best = lighter_link(best, tunnel_link(a->lanes[i].tunnel));
    }
    return best;
}

static struct mux_link *any_link(struct held_agent *a)
{
    struct mux_link *best = NULL;

    for (size_t i = 0; i < a->lane_count; i++) {
        if (takes_streams(&a->lanes[i]))
            best = lighter_link(best, tunnel_link(a->lanes[i].tunnel));
    }
    return best;
}

static int elsewhere(const struct holders *h, const struct seat *seat, uint64_t now_ms, bool is_proved_only)
{
    uint32_t least = UINT32_MAX;
    int best = -1;

    for (unsigned i = 0; i < seat->berth_count; i++) {
        const struct berth *b = &seat->berths[i];
        uint32_t streams = atomic_load(&b->streams);
        bool is_good = is_proved_only ? roster_is_recent(h->roster, atomic_load(&b->usable_ms), now_ms)
                                      : atomic_load(&b->takers) > 0;

        if (i == h->worker || streams >= least || !is_good)
            continue;
        least = streams;
        best = (int)i;
    }
    return best;
}

int holders_elsewhere(const struct holders *h, const struct seat *seat, uint64_t now_ms)
{
    return elsewhere(h, seat, now_ms, true);
}

struct mux_link *holders_way(const struct holders *h, struct held_agent *a, const struct seat *seat,
                             uint64_t now_ms, int *ret_worker)
{
    struct mux_link *link = a ? holders_link(h, a, now_ms) : NULL;

    *ret_worker = link || !seat ? -1 : elsewhere(h, seat, now_ms, true);
    if (link || *ret_worker >= 0)
        return link;
    link = a ? any_link(a) : NULL;
    *ret_worker = link || !seat ? -1 : elsewhere(h, seat, now_ms, false);
    return link;
}

/* Half as many, and some: what was opened lately is not bulk yet, so all count. */
int holders_lighter(const struct holders *h, const struct held_agent *a, uint64_t now_ms)
{
    int there = a->has_sisters ? holders_elsewhere(h, a->seat, now_ms) : -1;

    if (there < 0 || 2 * (uint64_t)atomic_load(&a->seat->berths[there].streams) + LIGHTER_LEAST >=
                         atomic_load(&a->seat->berths[h->worker].streams))
        return -1;
    return there;
}

/* --- load --------------------------------------------------------------------------------------------- */

bool holders_has_closing(const struct held_agent *a)
{
    bool has = false;

    for (size_t i = 0; i < a->lane_count; i++)
        has |= a->lanes[i].is_closing;
    return has;
}

bool holders_is_closing(const struct held_agent *a, const struct mux_link *link)
{
    for (size_t i = 0; i < a->lane_count; i++) {
        if (tunnel_link(a->lanes[i].tunnel) == link)
            return a->lanes[i].is_closing;
    }
    return false;
}

static uint32_t measure(struct held_agent *a)
{
    struct mux_load load;
    uint32_t bulk = 0;

    for (size_t i = 0; i < a->lane_count; i++) {
        if (!tunnel_is_up(a->lanes[i].tunnel))
            continue;
        mux_link_measure(tunnel_link(a->lanes[i].tunnel), &load);
        bulk += load.bulk;
    }
    return bulk;
}

unsigned holders_measure(struct holders *h, struct held_agent *a, uint64_t now_ms, unsigned *ret_to)
{
    struct balance_lane lanes[ROSTER_WORKERS_MAX];
    const struct seat *seat = a->seat;

    atomic_store(&a->seat->berths[h->worker].bulk, measure(a));
    a->has_sisters = false;
    for (unsigned i = 0; i < seat->berth_count; i++) {
        lanes[i].is_usable = roster_is_recent(h->roster, atomic_load(&seat->berths[i].usable_ms), now_ms);
        lanes[i].bulk = atomic_load(&seat->berths[i].bulk);
        a->has_sisters |= i != h->worker && lanes[i].is_usable;
    }
    return a->has_sisters ? balance_judge(lanes, seat->berth_count, h->worker, ret_to) : 0;
}

bool holders_live(struct holders *h, const struct ulid *agent, uint64_t now_ms, struct agent_live *ret_live)
{
    const struct seat *seat = roster_find(&h->reader, agent);
    uint32_t links = 0, draining = 0, streams = 0;

    if (!seat)
        return false;

    for (unsigned i = 0; i < seat->berth_count; i++) {
        const struct berth *b = &seat->berths[i];
        uint32_t rtt_us = atomic_load(&b->rtt_us);

        links += atomic_load(&b->links);
        draining += atomic_load(&b->draining);
        streams += atomic_load(&b->streams);
        ret_live->is_proved |= roster_is_recent(h->roster, atomic_load(&b->proved_ms), now_ms);
        if (rtt_us && (!ret_live->rtt_us || rtt_us < ret_live->rtt_us))
            ret_live->rtt_us = rtt_us;
    }
    ret_live->is_own = true;
    ret_live->streams = streams;
    ret_live->is_held = links > 0;
    ret_live->is_draining = links > 0 && draining >= links;
    return true;
}
