#pragma once
#include "dataplane/route/roster.h"
#include "lib/base/map.h"
#include "lib/policy/decide.h"
/*
 * holders.h - which agents this worker holds, and over which tunnels.
 *
 * An agent is here while one of its tunnels is up; it counts for routing while that tunnel
 * is proved: bytes both ways or a PONG lately, and its probes are answered (enum mux_proof); and
 * while no other agent is.  Whom the other workers hold, and which of two
 * processes with one identity counts, says the roster; what changes here is told there.
 *
 * Units      milliseconds of loop time.
 * Ownership  tunnels are their carrier's; a holder entry goes with its last tunnel.
 * Threads    one worker's.
 */
#define HOLDER_LANES_MAX 16         /* of an agent, at one worker */

struct lane {
    struct tunnel *tunnel;
    uint64_t proved_ms;             /* by a PONG, or as it came */
    enum mux_proof proof;
    uint64_t doubted_ms;            /* since when it is */
    uint32_t rtt_us;
    bool is_draining;
    bool is_closing;                /* draining, and its streams are to go elsewhere */
};

struct held_agent {
    struct map_node node;
    struct ulid id;
    struct seat *seat;              /* a reference */
    uint32_t left_seen;             /* how many of the links that it left are known here */
    bool has_sisters;               /* other workers have links to it, too */
    size_t lane_count;
    struct lane lanes[HOLDER_LANES_MAX];
};

struct holders {
    struct map agents;
    struct roster *roster;
    struct roster_reader reader;
    unsigned worker;
    uint64_t replaced;              /* how often one identity was seen twice */
};

void holders_init(struct holders *h, struct roster *roster, unsigned worker, size_t agents_max);
void holders_deinit(struct holders *h);
struct held_agent *holders_find(const struct holders *h, const struct ulid *agent);
/* Adds a tunnel that was judged good.  REASON_NONE; REPLACED: an older process of the same
 * identity (refuse it); OVERLOAD.  *ret_was_replaced: an older process was there, its
 * tunnels have been closed. */
enum reason holders_add(struct holders *h, struct tunnel *t, const struct identity *who,
                        const struct tunnel_hello *hello, uint64_t now_ms, bool *ret_was_replaced,
                        struct held_agent **ret_agent);
/* The agent has left the link on which it was offered that session, and dialled `by`: it ends.  True:
 * it was here; else the other workers look for it. */
bool holders_drop_left(struct holders *h, const struct ulid *agent, const char *session, const struct tunnel *by);
/* Its tunnel is up: streams may be opened over it, and the other workers know. */
void holders_up(struct holders *h, const struct ulid *agent);
/* Ends the links of which another worker was told that they were left; those of an agent that told
 * another worker that it goes take no new streams. */
void holders_drop_told(struct holders *h);
/* Closes the tunnels of processes that another worker saw replaced. */
void holders_evict_replaced(struct holders *h);
/* `agent`: under whose id it was added, whatever certificate the tunnel showed. */
/* Forgets the tunnel; true when the agent left with it, `for_good` if it said that it stops. */
bool holders_remove(struct holders *h, const struct ulid *agent, const struct tunnel *t, bool for_good);
/* It has a newer certificate. */
void holders_renew(struct held_agent *a, const struct identity *who);
void holders_prove(struct holders *h, const struct ulid *agent, const struct tunnel *t, uint32_t rtt_us,
                   uint64_t now_ms);
/* What its mux believes of it has changed. */
void holders_proof(struct holders *h, const struct ulid *agent, const struct tunnel *t, enum mux_proof proof,
                   uint64_t now_ms);
/* It takes no new streams.  is_closing: those that it has are to go elsewhere.  True: that is news. */
bool holders_drain(struct holders *h, const struct ulid *agent, const struct tunnel *t, bool is_closing);
/* The agent goes as a whole: none of its links takes new streams, those at the other workers neither. */
void holders_drain_all(struct holders *h, const struct ulid *agent);
/* The best link for a new stream of the agent; NULL: none that is proved. */
struct mux_link *holders_link(const struct holders *h, struct held_agent *a, uint64_t now_ms);
/* The worker of the best link elsewhere; -1: none that is proved. */
int holders_elsewhere(const struct holders *h, const struct seat *seat, uint64_t now_ms);
/* Where a stream of the agent goes: a link here, else *ret_worker (-1: nowhere).  Those that are proved
 * come first, ours before others'; then those that are not.  `a`: NULL, not held here. */
struct mux_link *holders_way(const struct holders *h, struct held_agent *a, const struct seat *seat,
                             uint64_t now_ms, int *ret_worker);
/* A worker with much fewer streams of the agent, for a new one; -1: there is none. */
int holders_lighter(const struct holders *h, const struct held_agent *a, uint64_t now_ms);
bool holders_has_closing(const struct held_agent *a);
bool holders_is_closing(const struct held_agent *a, const struct mux_link *link);
/* Once a second: tells how many bulk streams are here; how many of them should go, and where. */
unsigned holders_measure(struct holders *h, struct held_agent *a, uint64_t now_ms, unsigned *ret_to);
/* What decide.h asks about an agent, over all workers. */
bool holders_live(struct holders *h, const struct ulid *agent, uint64_t now_ms,
                  struct agent_live *ret_live);
