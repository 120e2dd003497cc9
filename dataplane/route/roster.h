#pragma once
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/base/pmap.h"
#include "lib/net/loop.h"
#include "lib/tunnel/tunnel.h"
#include <stdatomic.h>
/*
 * roster.h - which agents are here and which worker has their links: what all workers of the
 * relay have to agree on.
 *
 * It changes when a link comes or goes, under one short lock; then the workers' bells ring.
 * Who asks reads a version of its own, and looks whether there is a newer one (one load).
 * How a worker's links to an agent are (proved, draining, how many streams) stands in the
 * agent's seat, in atomics that this worker alone writes.
 *
 * Of two processes with one identity the one with the higher start counter wins: it gets a new
 * seat, and the links of the old one are for their workers to close (seat_is_replaced()).
 *
 * The sessions of a process whose last link is gone are kept for a while, so that it can prove
 * itself by one of them when it comes back; not when it said that it does not, nor after a newer
 * process came.
 *
 * Units      milliseconds, monotonic.
 * Ownership  seats are counted.
 * Threads    roster_new to the last roster_set_bell(): one, before the workers run.  The rest:
 *            any; a reader is one thread's.
 * Limits     agents_max, and as many that are gone (the oldest is forgotten first);
 *            ROSTER_LINKS_MAX for an agent, ROSTER_SESSIONS_MAX kept of it.
 */
#define ROSTER_WORKERS_MAX 64
#define ROSTER_LINKS_MAX 64         /* of one agent, over all workers */
#define ROSTER_SESSIONS_MAX 4       /* kept, so that a lane or a return can be proved */
#define ROSTER_LEFT_MAX 4           /* links of an agent that it has left, of those told last */
#define ROSTER_PROOF_REST_MS 25000
#define ROSTER_GONE_MS 600000       /* how long a session is known after its last link */

struct roster;
struct router;

struct berth {                      /* one worker's links to one agent */
    _Atomic uint32_t links, draining;
    _Atomic uint32_t streams;
    _Atomic uint32_t bulk;          /* of them, those that moved much in the last second */
    _Atomic uint32_t rtt_us;        /* 0: not known */
    _Atomic uint64_t proved_ms;     /* newest of those that are up; 0: none */
    _Atomic uint64_t usable_ms;     /* newest of those that are up and take streams; 0: none */
    _Atomic uint32_t takers;        /* those that are up and take streams, proved or not */
    _Atomic uint64_t doubted_ms;    /* since when none is proved, and one is doubted; 0: it is not so */
};

struct seat {
    atomic_uint refs;
    atomic_bool is_replaced;
    atomic_bool has_left;           /* it said so: it does not come back */
    atomic_bool is_going;           /* it said so: none of its links takes new streams */
    struct ulid id;                 /* these four never change */
    char boot_id[ULID_LEN + 1];
    char name[64];
    int64_t starts;
    _Atomic uint32_t generation;
    _Atomic int64_t not_after_s;    /* of the newest certificate it showed here; Unix time */
    struct map_node gone_node;      /* under the roster's lock, as the next five: its place among those */
    struct list gone;               /* whose last link is gone, in that order */
    uint64_t gone_ms;
    uint32_t link_count;
    size_t session_count;
    struct tunnel_session sessions[ROSTER_SESSIONS_MAX];
    struct ulid left[ROSTER_LEFT_MAX];      /* likewise: the sessions that those links were offered */
    _Atomic uint32_t left_count;    /* rises with each that is told */
    unsigned berth_count;
    struct berth berths[];          /* by worker */
};

MUST_CHECK int roster_new(unsigned workers, size_t agents_max, struct roster **ret_roster);
void roster_free(struct roster *r);
DEFINE_FREEP(roster, roster_free)
unsigned roster_workers(const struct roster *r);
size_t roster_count(struct roster *r);
size_t roster_gone_count(struct roster *r);
/* {"id", "rtt_us", "streams", "links"?, "unproved_ms"?} of each, for POST /internal/v1/applied. */
void roster_write_agents(struct roster *r, uint64_t now_ms, struct buf *out);
/* Those that are here and not proved (berth). */
size_t roster_unproved_count(struct roster *r, uint64_t now_ms);
/* How long a proof counts; ROSTER_PROOF_REST_MS, if it is not called before the workers run. */
void roster_set_proof_rest(struct roster *r, uint32_t ms);
/* Whether a link that was proved at that time is so still: another worker's clock may be a little ahead. */
bool roster_is_recent(const struct roster *r, uint64_t proved_ms, uint64_t now_ms);
/* Rises with each agent's link that comes into doubt, or out of it. */
void roster_tell_proof(struct roster *r);
uint64_t roster_proof_changes(const struct roster *r);

/* Who works there; `fn` is called on its loop after something changed; many changes may be one call.
 * A bell that cannot be rung (no memory) is not heard: look now and then all the same. */
void roster_set_bell(struct roster *r, unsigned worker, struct loop *loop, void (*fn)(void *arg), void *arg);
void roster_set_router(struct roster *r, unsigned worker, struct router *router);
struct router *roster_router(const struct roster *r, unsigned worker);
/* Others than `worker` are told that something changed. */
void roster_ring(struct roster *r, unsigned worker);

/* A link that was judged good comes to a worker.  REASON_NONE and a reference on its seat;
 * REPLACED: of an older process (refuse it); OVERLOAD.  *ret_was_replaced: an older process was
 * here. */
enum reason roster_enter(struct roster *r, unsigned worker, const struct identity *who,
                         const struct tunnel_hello *hello, const struct tunnel_session *session,
                         bool *ret_was_replaced, struct seat **ret_seat);
/* It goes, `for_good` if the agent said so; true when the agent has left with it. */
bool roster_leave(struct roster *r, unsigned worker, struct seat *seat, bool for_good);
/* The session of an agent that is here or has not been gone for long, and its seat; false: not known. */
bool roster_session(struct roster *r, const struct ulid *agent, const struct ulid *session,
                    struct tunnel_session *ret_session, struct seat **ret_seat);

/* Streams live here whose target side is that process of the agent. */
bool roster_has_streams(struct roster *r, const struct ulid *agent, const char *boot_id);

/* Those that have been gone for too long are forgotten. */
void roster_forget(struct roster *r, uint64_t now_ms);

/* The agent has left the link that was offered that session: the other workers are told. */
void roster_tell_left(struct roster *r, unsigned worker, struct seat *seat, const char *session);
/* What was told of it last; how many. */
size_t roster_left(struct roster *r, const struct seat *seat, struct ulid ret_sessions[ROSTER_LEFT_MAX]);

struct seat *seat_ref(struct seat *s);
void seat_unref(struct seat *s);
DEFINE_FREEP(seat, seat_unref)

/* It has a newer certificate. */
void seat_renew(struct seat *s, const struct identity *who);
static inline bool seat_is_replaced(const struct seat *s) { return atomic_load(&s->is_replaced); }

/* A thread's view of the roster. */
struct roster_reader {
    struct roster *roster;
    uint64_t version;
    struct pmap agents;
};

void roster_reader_init(struct roster_reader *reader, struct roster *r);
void roster_reader_deinit(struct roster_reader *reader);
/* As it is now; the seat is borrowed until the reader is asked again.  NULL: not here. */
struct seat *roster_find(struct roster_reader *reader, const struct ulid *agent);
