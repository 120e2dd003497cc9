#pragma once
#include "dataplane/route/gate.h"
#include "dataplane/route/staying.h"
#include "dataplane/route/window.h"
/*
 * gate_internal.h - what gate.c (who is let in, and what changes for those who are) and
 * gate_ask.c (joins and renewals: the control plane is asked) share.
 *
 * Threads    the worker's loop.
 */

/* A tunnel's user is the gate itself until its credential came, and its guest afterwards. */
enum user_kind { USER_GATE = 0x67617465, USER_GUEST = 0x67756573 };

struct gate {
    enum user_kind kind;            /* first, as in struct guest */
    struct gate_config config;
    struct list guests;
    struct staying staying;
    uint32_t asks;
    char *keyset;
    size_t keyset_n;
    uint64_t keyset_serial;
    uint64_t alarmed_ms;            /* 0: never */
};

/* One tunnel, from its credential on; outlives it while the control plane is being asked. */
struct guest {
    enum user_kind kind;
    struct list node;
    struct gate *gate;
    struct tunnel *tunnel;          /* NULL: gone */
    struct identity who;            /* id "": a newcomer */
    bool is_held, is_asking, is_joining;
    bool is_counted;                /* in M_LINKS */
    bool is_leaving;                /* it said that it stops */
    bool was_doubted;               /* its link is, as was told last */
    bool is_put_off;                /* its links come and go: its end is no news */
    int64_t told_window_ms;
    struct record *sent_policy;     /* a reference; the agent has this one */
};

static inline int64_t gate_now_s(void)
{
    return (int64_t)(wall_ms() / 1000);
}

/* --- gate.c -------------------------------------------------------------------------------- */
void guest_free(struct guest *v);
void guest_refuse(struct guest *v, enum reason why, const char *text);
/* The audit hears of a refusal that the control plane has no part in. */
void guest_audit(const struct guest *v, enum reason why);
/* As guest_refuse(), for what the control plane has refused, and audited, itself. */
void guest_turn_away(struct guest *v, enum reason why, const char *text);

/* --- gate_ask.c ---------------------------------------------------------------------------- */
/* The newcomer's token goes to the control plane; the answer comes back by NOTICE. */
void guest_join(struct guest *v, const struct tunnel_hello *hello);
/* A RENEW notice: likewise, if whoever asks holds the key of the certificate that he shows. */
void guest_renew(struct guest *v, struct span notice);
