#pragma once
#include "lib/base/map.h"
#include "lib/policy/decide.h"
#include "lib/tunnel/tunnel.h"
/*
 * holders.h - which agents this worker holds, and over which tunnels.
 *
 * An agent is here while one of its tunnels is up; it counts for routing while that tunnel
 * is proved: bytes both ways or a PONG lately.  Of two processes with one identity the one
 * with the higher start counter wins, and the other is told `replaced`.
 *
 * Units      milliseconds of loop time.
 * Ownership  tunnels are their carrier's; a holder entry goes with its last tunnel.
 * Threads    one worker's.
 */
#define HOLDER_LANES_MAX 16
#define HOLDER_SESSIONS_MAX 4       /* kept, so that a lane or a return can be proved */
#define HOLDER_PROOF_REST_MS 25000

struct lane {
    struct tunnel *tunnel;
    uint64_t proved_ms;
    uint32_t rtt_us;
    bool is_draining;
};

struct held_agent {
    struct map_node node;
    struct ulid id;
    uint64_t serial;                /* another each time the agent comes */
    char boot_id[ULID_LEN + 1];
    char name[64];
    int64_t starts;
    uint32_t generation;
    int64_t not_after_s;            /* of the newest certificate it showed here; Unix time */
    uint32_t streams;
    size_t lane_count;
    struct lane lanes[HOLDER_LANES_MAX];
    size_t session_count;
    struct tunnel_session sessions[HOLDER_SESSIONS_MAX];
};

struct holders {
    struct map agents;
    uint64_t serials;
    uint64_t replaced;              /* how often one identity was seen twice */
};

void holders_init(struct holders *h, size_t agents_max);
void holders_deinit(struct holders *h);
struct held_agent *holders_find(const struct holders *h, const struct ulid *agent);
/* Adds a tunnel that was judged good.  REASON_NONE; REPLACED: an older process of the same
 * identity (refuse it); OVERLOAD.  *ret_was_replaced: an older process was there, its
 * tunnels have been closed. */
enum reason holders_add(struct holders *h, struct tunnel *t, const struct identity *who,
                        const struct tunnel_hello *hello, uint64_t now_ms, bool *ret_was_replaced,
                        struct held_agent **ret_agent);
/* `agent`: under whose id it was added, whatever certificate the tunnel showed. */
/* Forgets the tunnel; true when the agent left with it. */
bool holders_remove(struct holders *h, const struct ulid *agent, const struct tunnel *t);
/* It has a newer certificate. */
void holders_renew(struct held_agent *a, const struct identity *who);
void holders_prove(struct holders *h, const struct ulid *agent, const struct tunnel *t, uint32_t rtt_us,
                   uint64_t now_ms);
void holders_drain(struct holders *h, const struct ulid *agent, const struct tunnel *t);
/* The best link for a new stream of the agent; NULL: none that is proved. */
struct mux_link *holders_link(struct held_agent *a, uint64_t now_ms);
/* What decide.h asks about an agent. */
bool holders_live(const struct holders *h, const struct ulid *agent, uint64_t now_ms,
                  struct agent_live *ret_live);
