#pragma once
#include "agent/dial/dial.h"
#include "agent/uplink/kept_policy.h"
#include "agent/uplink/way.h"
#include "lib/tunnel/client/tunnel_client.h"
/*
 * uplink.h - the agent's links to relays: dialled, kept, renewed, and brought back.
 *
 * One link to each address that the configuration or the join gave (at most
 * MEMBER_ADDRS_MAX).  A lost link is dialled again: first within the window that the relay
 * named, then with full jitter up to RETRY_MAX_MS, sooner while streams wait for it (retry.h); at
 * once when it was lost because this machine's addresses changed.  The relay is told which link
 * the new one replaces.
 * A relay that goes away as a whole (GOAWAY for the session) is left when the time that it named is
 * over, with all links; of the relays that it names in its place those are dialled sooner that are
 * among the agent's own addresses, and no other.
 * Under load a relay of several workers gets further links ("lanes"), one at each worker at most;
 * they go when the load is over (lane_rule.h).  When the first link is lost a lane takes its place.
 * Signed documents that come over a link are verified, kept, and put in force; the certificate
 * is renewed over it.
 *
 * Ownership  the uplink owns its mux and tunnels; the rest is borrowed.
 * Threads    the loop's thread.
 */
#define LANES_MAX 15                /* besides the first link to a relay */

struct uplink;

struct uplink_config {
    struct loop *loop;
    struct resolver *resolver;
    struct member *member;
    struct way way;
    struct kept_policy *policy;
    struct dialer *dialer;
    struct ulid boot_id;
    const char *name, *zone;
    const char *addrs[MEMBER_ADDRS_MAX];      /* "host:port", "wss://host:port" */
    size_t addr_count;
    size_t memory_limit;
    uint32_t streams_max;
    unsigned lanes_max;                         /* links to a relay; 1: never more than one */
    uint64_t lane_rate;                         /* bytes a second of each link that make it worth one more */
    uint64_t lane_rest_ms;                      /* without load, before one goes */
    void (*on_idle)(void *user);                /* after uplink_drain(): no streams, or time is up */
    void *user;
};

struct uplink_status {
    const char *addr;
    bool is_up;
    uint64_t proved_at_ms;          /* loop time; 0: never */
    uint32_t rtt_us, failures;
    enum reason last_reason;
};

struct uplink_stats {
    uint64_t dials, lost[REASON_COUNT];     /* tries and links that ended, by reason */
    uint64_t moved;                         /* of them, those left because addresses changed */
    uint64_t sent_away;                     /* times that a relay asked to leave it */
    uint64_t elsewhere, elsewhere_unknown;  /* relays that were named then; unknown: not of ours, not dialled */
    uint64_t lane_dials, lane_misses;       /* misses: they came to a worker that has a link of ours */
    uint64_t lanes_opened, lanes_closed;    /* closed: because the load was over */
};

MUST_CHECK int uplink_new(const struct uplink_config *config, struct uplink **ret_uplink, struct buf *reterr);
void uplink_free(struct uplink *u);
DEFINE_FREEP(uplink, uplink_free)
/* Addresses or routes may have changed (lib/net/netwatch.h): links that would now be dialled from another address are
 * left and made anew.  is_other: addresses have: what waits or is being dialled begins anew too. */
void uplink_network_changed(struct uplink *u, bool is_other);
/* No new streams; living ones have drain_ms, then the links end and on_idle is called. */
void uplink_drain(struct uplink *u, uint32_t drain_ms);
/* Ends at once what a drain still waits for. */
void uplink_hurry(struct uplink *u);
size_t uplink_status(const struct uplink *u, struct uplink_status *ret_status, size_t max);
const struct mux_stats *uplink_mux_stats(const struct uplink *u);
uint32_t uplink_streams(const struct uplink *u);
const struct uplink_stats *uplink_stats(const struct uplink *u);
unsigned uplink_links_up(const struct uplink *u);      /* lanes too */
unsigned uplink_lanes_up(const struct uplink *u);
