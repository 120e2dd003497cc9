#include "dataplane/route/holders.h"
#include <errno.h>
#include <string.h>

void holders_init(struct holders *h, size_t agents_max)
{
    *h = (struct holders){ 0 };
    map_init(&h->agents, agents_max);
}

static void agent_free(struct holders *h, struct held_agent *a)
{
    map_remove(&h->agents, &a->node);
    secret_wipe(a->sessions, sizeof(a->sessions));
    free(a);
}

void holders_deinit(struct holders *h)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&h->agents, &cursor)))
        agent_free(h, container_of(node, struct held_agent, node));
    map_deinit(&h->agents);
}

struct held_agent *holders_find(const struct holders *h, const struct ulid *agent)
{
    struct map_node *node = map_find(&h->agents, ulid_span(agent));

    return node ? container_of(node, struct held_agent, node) : NULL;
}

static int agent_new(struct holders *h, const struct ulid *id, struct held_agent **ret_agent)
{
    struct held_agent *a = calloc(1, sizeof(*a));
    int r;

    if (!a)
        return -ENOMEM;
    a->id = *id;
    a->serial = ++h->serials;
    r = map_insert(&h->agents, &a->node, ulid_span(&a->id));
    if (r) {
        free(a);
        return r;
    }
    *ret_agent = a;
    return 0;
}

/* The older process' tunnels hear why and end; what they carried ends with them. */
static void evict(struct held_agent *a)
{
    struct tunnel *old[HOLDER_LANES_MAX];
    size_t n = a->lane_count;

    for (size_t i = 0; i < n; i++)
        old[i] = a->lanes[i].tunnel;
    a->lane_count = 0;
    a->session_count = 0;
    for (size_t i = 0; i < n; i++)
        tunnel_close(old[i], REASON_REPLACED, "a newer process with this identity came");
}

static void remember_session(struct held_agent *a, const struct tunnel_session *session)
{
    for (size_t i = 0; i < a->session_count; i++) {
        if (span_eq(ulid_span(&a->sessions[i].id), ulid_span(&session->id)))
            return;
    }
    if (a->session_count == HOLDER_SESSIONS_MAX) {
        memmove(&a->sessions[0], &a->sessions[1], sizeof(a->sessions) - sizeof(a->sessions[0]));
        a->session_count--;
    }
    a->sessions[a->session_count++] = *session;
}

void holders_renew(struct held_agent *a, const struct identity *who)
{
    a->generation = who->generation;
    if (who->not_after_s > a->not_after_s)
        a->not_after_s = who->not_after_s;
}

static void introduce(struct held_agent *a, const struct identity *who, const struct tunnel_hello *hello)
{
    memcpy(a->boot_id, hello->boot_id, sizeof(a->boot_id));
    memcpy(a->name, hello->name, sizeof(a->name));
    a->starts = hello->starts;
    if (!a->lane_count)
        a->not_after_s = 0;         /* nobody's yet, or an older process' */
    holders_renew(a, who);
}

enum reason holders_add(struct holders *h, struct tunnel *t, const struct identity *who,
                        const struct tunnel_hello *hello, uint64_t now_ms, bool *ret_was_replaced,
                        struct held_agent **ret_agent)
{
    struct held_agent *a = holders_find(h, &who->id);

    *ret_was_replaced = false;
    if (!a && agent_new(h, &who->id, &a))
        return REASON_OVERLOAD;

    if (a->lane_count) {
        switch (hello_order(span_str(a->boot_id), a->starts, span_str(hello->boot_id), hello->starts)) {
        case HELLO_SAME:
            break;
        case HELLO_OLDER:
            return REASON_REPLACED;
        case HELLO_NEWER:
            *ret_was_replaced = true;
            h->replaced++;
            evict(a);
        }
    }
    if (a->lane_count == HOLDER_LANES_MAX)
        return REASON_OVERLOAD;

    introduce(a, who, hello);
    a->lanes[a->lane_count++] = (struct lane){ .tunnel = t, .proved_ms = now_ms };
    remember_session(a, tunnel_session(t));
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

bool holders_remove(struct holders *h, const struct ulid *agent, const struct tunnel *t)
{
    struct held_agent *a = holders_find(h, agent);
    struct lane *lane = find_lane(a, t);

    if (!lane)
        return false;
    *lane = a->lanes[--a->lane_count];
    if (a->lane_count)
        return false;
    agent_free(h, a);
    return true;
}

void holders_prove(struct holders *h, const struct ulid *agent, const struct tunnel *t, uint32_t rtt_us,
                   uint64_t now_ms)
{
    struct lane *lane = find_lane(holders_find(h, agent), t);

    if (!lane)
        return;
    lane->proved_ms = now_ms;
    lane->rtt_us = rtt_us;
}

void holders_drain(struct holders *h, const struct ulid *agent, const struct tunnel *t)
{
    struct lane *lane = find_lane(holders_find(h, agent), t);

    if (lane)
        lane->is_draining = true;
}

static bool is_proved(const struct lane *lane, uint64_t now_ms)
{
    return now_ms - lane->proved_ms < HOLDER_PROOF_REST_MS && tunnel_is_up(lane->tunnel);
}

struct mux_link *holders_link(struct held_agent *a, uint64_t now_ms)
{
    struct mux_link *best = NULL;

    for (size_t i = 0; i < a->lane_count; i++) {
        struct mux_link *link = tunnel_link(a->lanes[i].tunnel);

        if (a->lanes[i].is_draining || !is_proved(&a->lanes[i], now_ms))
            continue;
        if (!best || mux_link_stream_count(link) < mux_link_stream_count(best))
            best = link;
    }
    return best;
}

bool holders_live(const struct holders *h, const struct ulid *agent, uint64_t now_ms,
                  struct agent_live *ret_live)
{
    const struct held_agent *a = holders_find(h, agent);

    if (!a)
        return false;

    ret_live->is_own = true;
    ret_live->is_held = a->lane_count > 0;
    ret_live->is_draining = a->lane_count > 0;
    ret_live->streams = a->streams;
    for (size_t i = 0; i < a->lane_count; i++) {
        const struct lane *lane = &a->lanes[i];

        ret_live->is_proved |= is_proved(lane, now_ms);
        ret_live->is_draining &= lane->is_draining;
        if (lane->rtt_us && (!ret_live->rtt_us || lane->rtt_us < ret_live->rtt_us))
            ret_live->rtt_us = lane->rtt_us;
    }
    return true;
}
