#include "agent/metrics/agent_metrics.h"

METRIC_LABEL(metric_by_outcome, "outcome", RESOLVE_OUTCOMES);

static const struct metric_row rows[] = { AGENT_METRICS(METRIC_ROW) };

int agent_metrics_new(struct metrics **ret_metrics)
{
    return metrics_new(rows, AGENT_METRIC_COUNT, 1, ret_metrics);
}

static void take_resolve(struct metric_slot *slot, const struct resolve_stats *s)
{
    metric_set(slot, M_NAMES, (int64_t)s->names);
    metric_set(slot, M_NAMES_WAITING, (int64_t)s->waiting);
#define RESOLVE_OUTCOME(name) metric_set_at(slot, M_LOOKUPS, OUTCOME_##name, 0, (int64_t)s->name);
    RESOLVE_OUTCOMES(RESOLVE_OUTCOME)
#undef RESOLVE_OUTCOME
    metric_set(slot, M_DNS_QUERIES, (int64_t)s->queries);
    metric_set(slot, M_DNS_AHEAD, (int64_t)s->ahead);
    metric_set(slot, M_DNS_FAILURES, (int64_t)s->failures);
    metric_set(slot, M_NAMES_EVICTED, (int64_t)s->evicted);
    metric_set(slot, M_NAMES_REFUSED, (int64_t)s->refused);
}

static void take_uplink(struct metric_slot *slot, const struct uplink *uplink)
{
    const struct uplink_stats *s = uplink_stats(uplink);

    metric_set(slot, M_LINKS, uplink_links_up(uplink));
    metric_set(slot, M_LINK_DIALS, (int64_t)s->dials);
    metric_set(slot, M_LINKS_MOVED, (int64_t)s->moved);
    metric_set(slot, M_SENT_AWAY, (int64_t)s->sent_away);
    metric_set(slot, M_ELSEWHERE, (int64_t)s->elsewhere);
    metric_set(slot, M_ELSEWHERE_UNKNOWN, (int64_t)s->elsewhere_unknown);
    metric_set(slot, M_LANES, uplink_lanes_up(uplink));
    metric_set(slot, M_LANES_OPENED, (int64_t)s->lanes_opened);
    metric_set(slot, M_LANES_CLOSED, (int64_t)s->lanes_closed);
    metric_set(slot, M_LANE_DIALS, (int64_t)s->lane_dials);
    metric_set(slot, M_LANE_MISSES, (int64_t)s->lane_misses);
    for (unsigned i = 0; i < REASON_COUNT; i++)
        metric_set_at(slot, M_LINKS_LOST, i, 0, (int64_t)s->lost[i]);
}

void agent_metrics_take(struct metrics *m, const struct resolve_stats *resolve, const struct dialer_stats *dial,
                        const struct uplink *uplink)
{
    struct metric_slot *slot = metrics_slot(m, 0);

    take_resolve(slot, resolve);
    take_uplink(slot, uplink);
    metric_set(slot, M_STREAMS, dial->live);
    metric_set(slot, M_OPENED, (int64_t)dial->opened);
    metric_set(slot, M_DIAGNOSING, dial->diagnosing);
    metric_set(slot, M_DIAGNOSED, (int64_t)dial->diagnosed);
    metric_set(slot, M_DATAGRAMS_SENT, (int64_t)dial->udp.sent);
    metric_set(slot, M_DATAGRAMS_RECEIVED, (int64_t)dial->udp.received);
    metric_set(slot, M_DATAGRAMS_DROPPED,
               (int64_t)(dial->udp.dropped + uplink_mux_stats(uplink)->datagrams_dropped));
    for (unsigned i = 0; i < REASON_COUNT; i++)
        metric_set_at(slot, M_REFUSED, i, 0, (int64_t)dial->refused[i]);
}
