#pragma once
#include "controlplane/store/store.h"
/*
 * live.h - who is connected and runs what, out of the relays' latest reports.
 *
 * Relays report every LIVE_REPORT_MS (schema/internal.md, "applied"); one that has not for
 * LIVE_FRESH_MS counts as gone, with the agents that it holds.  Between reports the events
 * agent.up and agent.down count.
 *
 * Ownership  the table owns its rows: live_deinit().
 * Threads    one at a time.
 */
#define LIVE_REPORT_MS 10000
#define LIVE_FRESH_MS 15000
#define LIVE_RELAYS_MAX 1024
#define LIVE_AGENTS_MAX 100000

struct live_relay {
    struct ulid id;
    uint64_t epoch, revision;
    int64_t at_ms, streams, agents;
    char version[64];
    uint32_t features;                  /* what it knows of the state (lib/state/feature.h) */
    char refuses[256];                  /* the state, and why: it is too old; "": it does not */
    bool is_connected;
    bool is_admitted;                   /* neither deleted nor disabled */
    bool takes_orders;                  /* to diagnose */
};

struct live_agent {                     /* one row for each relay that holds it */
    struct ulid agent, relay;
    int64_t at_ms, rtt_us, streams, proved_ms;
    int64_t links;                      /* to that relay */
    int64_t unproved_since_ms;          /* 0: it answers there, as far as is known */
    bool is_connected;                  /* its relay is */
};

struct live {
    struct live_relay *relays;
    struct live_agent *agents;
    size_t relay_count, agent_count, agent_room;
    int64_t now_ms;
};

MUST_CHECK int live_read(struct store_tx *tx, struct live *ret_live);
void live_deinit(struct live *live);
const struct live_relay *live_relay_find(const struct live *live,
                                         const struct ulid *relay); /* NULL */
/* The first row of the agent, connected ones before others; NULL. */
const struct live_agent *live_agent_find(const struct live *live, const struct ulid *agent);
/* Since when no relay that is connected has it proved; 0: one has, or none holds it. */
int64_t live_agent_unproved_since(const struct live *live, const struct ulid *agent);
/* Whether every connected relay runs the position, or a later one.  While none is connected,
 * every one that ever reported: what nobody runs is not in force. */
bool live_has_applied(const struct live *live, const struct store_position *position);
