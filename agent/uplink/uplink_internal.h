#pragma once
#include "agent/uplink/lane_rule.h"
#include "agent/uplink/lane_tries.h"
#include "agent/uplink/uplink.h"
/*
 * uplink_internal.h - what the files of an uplink share; nobody else includes it.
 *
 * uplink.c        links: dialled, kept, renewed, brought back
 * uplink_network.c  this machine's addresses change
 * lanes.c         further links to a relay, under load
 * uplink_goaway.c  a relay sends this agent away
 * uplink_drain.c  the end
 */
struct lane {                       /* a further link to the same relay, at another of its workers */
    struct tunnel *tunnel;          /* NULL: none */
    int64_t worker;                 /* who has it there */
    struct ulid left;               /* the session that was offered on it; "": it is not up yet */
    uint64_t up_at_ms;
    uint64_t close_at_ms;           /* at the latest; 0: it is not being closed */
    bool is_missed;                 /* it came to a worker that has a link of ours */
};

struct path {                       /* to one address */
    struct uplink *uplink;
    char host[RELAY_HOST_MAX];
    uint16_t port;
    const char *addr;
    struct tunnel *tunnel;          /* NULL: waiting for `retry` */
    struct tunnel *worn;            /* its ids are used up: it goes when `tunnel` is up */
    struct loop_timer retry;
    uint64_t retry_at_ms;           /* when it is due */
    bool is_put_off;                /* not sooner: the relay asked for it */
    uint64_t gone_at_ms;            /* all links to the relay end then, it has said; 0: it has not */
    uint32_t failures;
    int64_t first_retry_ms;         /* the relay's window, as it said last */
    uint64_t up_at_ms;              /* 0: it is not */
    uint64_t proved_at_ms;
    uint32_t rtt_us;
    enum reason last_reason;
    char relay_id[ULID_LEN + 1];    /* who answered last, and which start of it */
    int64_t relay_starts;
    struct ulid left;               /* the session that was offered on the newest link; "": none was */
    bool is_moving;                 /* our address changed: not its failure */
    int64_t workers, worker;        /* threads of the relay, and whose this link is */
    struct lane lanes[LANES_MAX];
    struct lane_rule rule;
    uint64_t measured_ms;
    struct lane_tries tries;        /* to add a lane */
    struct ulid lane_left;          /* as `left`, of the link that was lost last while others were up */
    bool is_session_over;           /* the relay knows it no longer */
    bool is_replacing;              /* a link was lost and is not there again */
};

struct uplink {
    struct uplink_config config;
    struct mux *mux;
    struct tls_ctx *tls;
    struct tunnel_self self;
    struct path paths[MEMBER_ADDRS_MAX];
    size_t path_count;
    struct loop_timer renew, drained, tick;
    struct key *renewing;           /* the key that a renewal under way is for */
    struct buf request;             /* and what was asked */
    uint64_t drain_until_ms;        /* 0: not draining */
    struct uplink_stats stats;
};

/* --- uplink.c ------------------------------------------------------------------------------ */
/* What this agent shows where no session is known. */
struct tunnel_login path_login(const struct path *p);
/* Dials after a while, not before what the relay asked for; how long that is. */
uint64_t path_retry(struct path *p, uint32_t after_ms);
void path_dial(void *arg);
/* Who has the first link now, as its HELLO said: behind a balancer not who had the one before. */
void path_meet(struct path *p, const struct tunnel_hello *hello);
MUST_CHECK int tunnel_connect(struct path *p, const struct tunnel_login *login, struct tunnel **ret_tunnel);

/* --- uplink_goaway.c ----------------------------------------------------------------------- */
/* A GOAWAY for the whole session. */
void path_sent_away(struct path *p, const struct mux_goaway *goaway);
/* Now and then: its time is over. */
void path_leave_in_time(struct path *p);

/* --- lanes.c ------------------------------------------------------------------------------- */
struct lane *lane_of(struct path *p, const struct tunnel *t);           /* NULL: it is none */
unsigned lanes_up(const struct path *p);
/* The relay has said who has the link. */
bool lane_is_wanted(struct path *p, const struct tunnel_hello *hello);
void lane_up(struct path *p, struct lane *lane);
void lane_down(struct path *p, struct lane *lane, enum reason why, const char *text);
/* The first link is gone: one of the others is it from now on.  False: there is none. */
bool lanes_take_place(struct path *p);
void lane_close(struct path *p, struct lane *lane);
void lanes_close_at(struct path *p, int64_t worker);
/* Now and then: measures, opens and closes. */
void lanes_look(struct path *p, uint64_t now_ms);
void lanes_each(struct path *p, void (*fn)(struct tunnel *t, void *arg), void *arg);
