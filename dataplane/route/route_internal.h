#pragma once
#include "dataplane/route/balance.h"
#include "dataplane/route/meter.h"
#include "dataplane/route/passwords.h"
#include "dataplane/route/report.h"
/*
 * route_internal.h - what router.c (logging in, access that ends, life), route.c (one request
 * and its stream), path.c (its way to another link or worker), spread.c (when it leaves a good
 * one) and choose.c (which agent, and waiting for one) share.
 *
 * Threads    the worker's loop.
 */
struct router {
    struct router_config config;
    struct mux *mux;
    struct holders holders;
    struct balance_turns turns;
    struct live live;
    struct view *view;
    struct list routes;             /* all of them */
    struct list waiting;            /* those that wait for an agent */
    uint32_t waiting_count;
    struct meters meters;
    struct asks asks;
    struct quota_refusal refusal;   /* of the decision made last, where a quota or a breaker refused */
    uint64_t over_seen;             /* quotas_over_count() */
    struct loop_timer tick, sweep;
    bool is_draining, is_over;      /* over: what is left has been cut */
};

struct route {
    struct list node, waiting;
    struct router *router;
    struct ulid id;
    const struct route_handlers *handlers;      /* NULL: abandoned */
    void *user;
    const char *door;
    struct principal principal;
    struct addr source;
    char *trace;                    /* NULL: none came with the request */
    char agent_name[64];
    char agent_boot[ULID_LEN + 1];  /* the process that serves the stream */
    struct loop_timer deadline;     /* of waiting for an agent, then for its answer; of the end
                                     * after route_release() */
    struct live_entry live;         /* the target asked for is the one it stands on, decided or not */
    struct seat *seat;              /* of its agent, whose load it counts in; NULL: in nobody's */
    struct loop_task moving;        /* to another worker, at the turn's end */
    uint64_t random;                /* for the choice, at each worker the same */
    unsigned move_to;
    unsigned moves;                 /* so many times it went to another worker */
    struct mux_stream *stream;      /* NULL: not opened yet */
    struct pipe pipe;
    struct meter *meter;            /* NULL: it is under no quota */
    const struct mux_opened *tried; /* what the agent dialled in vain, while it is told; else NULL */
    int64_t opened_ms;              /* 0: not connected */
    uint64_t lost_at_ms;            /* its path, before the answer; 0: it has one */
    uint64_t balanced_ms;           /* when it last left a good path; 0: never */
    enum reason cut;                /* why we ended it, if we did */
    bool is_waiting, is_released;
    bool is_watched;                /* by the breaker of its target, which waits for an outcome */
    bool is_try;                    /* it is the one that an open breaker let through */
    bool is_udp;
    bool is_look;                   /* look.h: nobody's stream */
    bool is_piped;                  /* the connection is ours, not the door's */
    bool leaves_path;               /* it moves though its path is good */
    uint32_t left_ms;               /* of the deadline, while it moves */
    bool is_told;                   /* the decision was logged, counted and reported */
    bool is_retried;                /* its link was lost before the answer: tried once more */
};

static inline int64_t wall_now(void)
{
    return (int64_t)wall_ms();
}

/* --- route.c ------------------------------------------------------------------------------- */
/* Logs, counts and reports what was decided. */
void route_tell_decision(struct route *r, enum reason why, struct span text);
/* The door hears that it is over: refused, or ended if it was open.  Once; no call follows. */
void route_tell_door(struct route *r, enum reason why, struct span text);
/* Ends it at once from here, for the door too; the stream is settled with the agent later. */
void route_end(struct route *r, enum reason why, struct span text);
/* The stream was asked for: the agent has to answer in time. */
void route_await_answer(struct route *r);
/* In the load of its agent, as it is here now; or not any more. */
void route_count(struct route *r, struct seat *seat);
void route_uncount(struct route *r);
/* Stands on its grant no longer. */
void route_leave_grant(struct route *r);
void route_free(struct route *r);
/* The stream's handlers. */
void route_fill_handlers(struct mux_handlers *handlers);

/* --- path.c -------------------------------------------------------------------------------- */
void route_fill_path_handlers(struct mux_handlers *handlers);
/* Goes to another worker at the turn's end, with its stream where it has one. */
void route_move(struct route *r, unsigned worker);

/* Of QUOTA_* and BREAKER_OPEN, in the turn that they were decided in; NULL: of another reason. */
const struct quota_refusal *router_refusal(const struct router *router, enum reason why);

/* --- places.c ------------------------------------------------------------------------------- */
/* A place in all that it falls under: the relay, its grant, its quotas. */
enum reason route_take_places(struct route *r);
/* What became of it is told to the breaker of its target; once. */
void route_tell_breaker(struct route *r, enum breaker_outcome outcome, enum reason why);
/* Its quotas may be others by now.  REASON_NONE, or why it is cut. */
enum reason route_look_at_quotas(struct route *r);
/* Gives back what it holds of its quotas. */
void route_leave_quotas(struct route *r);

/* --- choose.c ------------------------------------------------------------------------------ */
/* REASON_NONE: a stream is being opened, or the route waits for an agent. */
enum reason route_choose(struct route *r);
void route_stop_waiting(struct route *r);
