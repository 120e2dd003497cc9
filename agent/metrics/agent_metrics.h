#pragma once
#include "agent/dial/dial.h"
#include "agent/uplink/uplink.h"
#include "lib/obs/metrics.h"
/*
 * agent_metrics.h - the agent's metrics: rows, and where their values come from.
 *
 * The agent counts in plain structs on its one thread; they are copied when somebody asks.
 *
 * Threads    the loop's thread.
 */
#define AGENT_METRICS(X)                                                                          \
    X(LINKS, "adit_agent_links", GAUGE, NULL, NULL, "Links to relays that are up.")               \
    X(LINK_DIALS, "adit_agent_link_dials_total", COUNTER, NULL, NULL, "Times that a relay was dialled.") \
    X(LINKS_LOST, "adit_agent_links_lost_total", COUNTER, &metric_by_reason, NULL,                \
      "Links that ended, and tries that brought none.")                                           \
    X(LINKS_MOVED, "adit_agent_links_moved_total", COUNTER, NULL, NULL,                           \
      "Links that were left for new ones because this machine's addresses changed.")              \
    X(SENT_AWAY, "adit_agent_sent_away_total", COUNTER, NULL, NULL, "Times that a relay asked this agent to leave it.") \
    X(ELSEWHERE, "adit_agent_elsewhere_total", COUNTER, NULL, NULL, "Other relays that were named then.") \
    X(ELSEWHERE_UNKNOWN, "adit_agent_elsewhere_unknown_total", COUNTER, NULL, NULL,                \
      "Of them, those that are none of this agent's addresses; they are not dialled.")            \
    X(LANES, "adit_agent_lanes", GAUGE, NULL, NULL, "Of the links, those beyond the first to a relay, under load.") \
    X(LANES_OPENED, "adit_agent_lanes_opened_total", COUNTER, NULL, NULL, "Further links to a relay that came up.") \
    X(LANES_CLOSED, "adit_agent_lanes_closed_total", COUNTER, NULL, NULL,                         \
      "Of them, those that were closed because the load was over.")                               \
    X(LANE_DIALS, "adit_agent_lane_dials_total", COUNTER, NULL, NULL, "Times that one was dialled.") \
    X(LANE_MISSES, "adit_agent_lane_misses_total", COUNTER, NULL, NULL,                           \
      "Of them, those that came to a worker of the relay which has a link already.")              \
    X(STREAMS, "adit_agent_streams", GAUGE, NULL, NULL, "Streams that are open or being opened.") \
    X(OPENED, "adit_agent_streams_opened_total", COUNTER, NULL, NULL, "Targets that were connected to.") \
    X(REFUSED, "adit_agent_refused_total", COUNTER, &metric_by_reason, NULL, "Streams that were refused here.") \
    X(DIAGNOSING, "adit_agent_diagnoses", GAUGE, NULL, NULL, "Diagnoses that are under way.")     \
    X(DIAGNOSED, "adit_agent_diagnoses_total", COUNTER, NULL, NULL, "Diagnoses that were begun.") \
    X(DATAGRAMS_SENT, "adit_agent_datagrams_sent_total", COUNTER, NULL, NULL, "Datagrams that went to targets.") \
    X(DATAGRAMS_RECEIVED, "adit_agent_datagrams_received_total", COUNTER, NULL, NULL,             \
      "Datagrams that came from targets.")                                                        \
    X(DATAGRAMS_DROPPED, "adit_agent_datagrams_dropped_total", COUNTER, NULL, NULL,               \
      "Datagrams that neither the target's network nor the tunnel could take.")                   \
    X(NAMES, "adit_agent_names", GAUGE, NULL, NULL, "Names in the resolver's cache.")             \
    X(NAMES_WAITING, "adit_agent_names_waiting", GAUGE, NULL, NULL, "Requests that wait for the DNS.") \
    X(LOOKUPS, "adit_agent_lookups_total", COUNTER, &metric_by_outcome, NULL,                     \
      "Names that were asked for, by what the cache had: a fresh, stale or negative answer, or none.") \
    X(DNS_QUERIES, "adit_agent_dns_queries_total", COUNTER, NULL, NULL, "Names that the DNS was asked for.") \
    X(DNS_AHEAD, "adit_agent_dns_ahead_total", COUNTER, NULL, NULL,                               \
      "Of them, those that nobody had to wait for: refreshed while in use.")                      \
    X(DNS_FAILURES, "adit_agent_dns_failures_total", COUNTER, NULL, NULL, "Of them, those without an address.") \
    X(NAMES_EVICTED, "adit_agent_names_evicted_total", COUNTER, NULL, NULL,                       \
      "Names that were dropped from the cache to make room.")                                     \
    X(NAMES_REFUSED, "adit_agent_names_refused_total", COUNTER, NULL, NULL,                       \
      "Requests refused because too many wait for the DNS.")

enum {
#define RESOLVE_OUTCOME(name) OUTCOME_##name,
    RESOLVE_OUTCOMES(RESOLVE_OUTCOME)
#undef RESOLVE_OUTCOME
    OUTCOME_COUNT
};
extern const struct metric_label metric_by_outcome;

enum { AGENT_METRICS(METRIC_ENUM) AGENT_METRIC_COUNT };

MUST_CHECK int agent_metrics_new(struct metrics **ret_metrics);
/* Copies what was counted. */
void agent_metrics_take(struct metrics *m, const struct resolve_stats *resolve, const struct dialer_stats *dial,
                        const struct uplink *uplink);
