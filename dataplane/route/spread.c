#include "dataplane/route/route_internal.h"
#include "lib/log/log.h"
/*
 * Living streams leave a good path: for one that carries much less, or because the agent is about
 * to close the link.  Once a second, and when a link is about to be closed.
 */
#define REST_MS 5000            /* of a stream, between two such moves */
#define LEAVING_MAX 512         /* streams that leave links which are closed, a second */

/* --- one stream -------------------------------------------------------------------------------- */

static bool is_of(const struct route *r, const struct held_agent *a)
{
    return r->stream && r->opened_ms && mux_stream_link(r->stream) && !loop_defer_is_on(&r->moving) &&
           span_eq(ulid_span(&r->live.standing.agent), ulid_span(&a->id));
}

static void leave_for(struct route *r, unsigned worker)
{
    metric_add(r->router->config.metrics, M_STREAMS_BALANCED, 1);
    r->balanced_ms = loop_now_ms(r->router->config.loop);
    r->leaves_path = true;
    route_move(r, worker);
}

/* --- load that is not even ---------------------------------------------------------------------- */

static bool is_worth_it(const struct route *r, uint64_t now_ms)
{
    return r->is_piped && !r->is_released && mux_stream_is_bulk(r->stream) &&
           (!r->balanced_ms || now_ms - r->balanced_ms >= REST_MS);
}

static void give(struct router *router, const struct held_agent *a, unsigned count, unsigned worker)
{
    uint64_t now_ms = loop_now_ms(router->config.loop);
    unsigned given = 0;

    LIST_EACH(&router->routes, node) {
        struct route *r = container_of(node, struct route, node);

        if (given == count)
            break;
        if (!is_of(r, a) || !is_worth_it(r, now_ms))
            continue;
        leave_for(r, worker);
        given++;
    }
    if (given)
        LOG(INFO, "agent.balanced", S("agent", a->id.text), U("streams", given), U("from", router->config.worker),
            U("to", worker));
}

/* --- links that are about to be closed ----------------------------------------------------------- */

/* It is good as long as it lasts: for one that is in doubt nobody leaves it before. */
static bool leave_link(struct route *r, struct held_agent *a, uint64_t now_ms)
{
    struct mux_link *link = holders_link(&r->router->holders, a, now_ms);
    int worker = link ? -1 : holders_elsewhere(&r->router->holders, a->seat, now_ms);

    if (worker >= 0) {
        leave_for(r, (unsigned)worker);
        return true;
    }
    if (!link || mux_stream_attach(r->stream, link, span_str(r->agent_boot), now_ms))
        return false;
    metric_add(r->router->config.metrics, M_STREAMS_BALANCED, 1);
    return true;
}

static unsigned leave_links(struct router *router, struct held_agent *a, unsigned most)
{
    uint64_t now_ms = loop_now_ms(router->config.loop);
    unsigned left = 0;

    LIST_EACH(&router->routes, node) {
        struct route *r = container_of(node, struct route, node);

        if (left == most)
            break;
        if (is_of(r, a) && holders_is_closing(a, mux_stream_link(r->stream)))
            left += leave_link(r, a, now_ms);
    }
    return left;
}

void router_link_closes(struct router *router, const struct ulid *agent)
{
    struct held_agent *a = holders_find(&router->holders, agent);

    if (a && !router->is_draining)
        (void)leave_links(router, a, LEAVING_MAX);
}

/* --- once a second ------------------------------------------------------------------------------- */

static unsigned look_after(struct router *router, struct held_agent *a, unsigned place, unsigned most)
{
    unsigned to = 0, count = holders_measure(&router->holders, a, loop_now_ms(router->config.loop), &to);
    bool is_closing = holders_has_closing(a);

    if (router->is_draining || (!is_closing && !count) ||
        !balance_turns_take(&router->turns, place, is_closing ? BALANCE_CLOSING : BALANCE_LOAD))
        return 0;
    if (is_closing)
        return leave_links(router, a, most);
    give(router, a, count, to);
    return 0;
}

void router_balance(struct router *router)
{
    unsigned leaving = 0, halves = router->turns.first ? 2 : 1;

    balance_turns_begin(&router->turns);
    for (unsigned half = 0; half < halves; half++) {
        struct map_cursor cursor = { 0 };
        struct map_node *node;

        for (unsigned place = 0; (node = map_next(&router->holders.agents, &cursor)); place++) {
            if (balance_turns_is_now(&router->turns, place, half == 1))
                leaving += look_after(router, container_of(node, struct held_agent, node), place,
                                      LEAVING_MAX - leaving);
        }
    }
    balance_turns_end(&router->turns);
}
