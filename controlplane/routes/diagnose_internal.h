#pragma once
#include "controlplane/routes/diagnose.h"
#include "controlplane/routes/call.h"
#include "controlplane/routes/live.h"
#include "lib/diagnosis/order.h"
#include "lib/policy/look.h"
/*
 * diagnose_internal.h - one diagnosis while it is asked for: diagnose.c decides, diagnose_keep.c keeps
 * it and orders its tries.
 *
 * Ownership  diagnosing_deinit() frees what it holds.
 * Errors     CALL_E_ANSWERED; the store's; -errno.
 * Threads    the handler's.
 */
#define REF_MAX 63

struct asked_diagnosis {
    char agent[REF_MAX + 1], agent_group[REF_MAX + 1], destination_profile[REF_MAX + 1], user[REF_MAX + 1];
    char host[ORDER_HOST_MAX + 1], server_name[ORDER_HOST_MAX + 1];
    int64_t port, timeout_ms;
    bool has_tls;
};

struct try {                            /* by one agent */
    struct ulid id, agent, agentgroup;
    char agent_name[RECORD_NAME_MAX + 1];
    struct ulid relay;                  /* "": none that can */
    enum reason why;                    /* not REASON_NONE: it is over before it began */
    struct policy_decision *decision;
};

struct diagnosing {
    struct call *c;
    struct asked_diagnosis asked;
    struct store_object *subject;       /* agent, agent group, profile or user */
    enum kind_id kind;                  /* of it */
    struct ulid profile;                /* "": none */
    struct policy *policy;
    struct live live;
    struct target target;
    struct ulid id;
    int64_t now_ms;
    struct try tries[DIAGNOSE_TRIES_MAX];
    size_t try_count, left_out;
};


/* The diagnosis as a record, its tries for their relays, and the audit event. */
MUST_CHECK int diagnosing_keep(const struct diagnosing *d);
