#pragma once
#include "dataplane/route/router.h"
/*
 * report.h - what is told of requests and streams: one log line and one event each.
 *
 * Threads    the worker's loop.
 */
struct report {                     /* as far as it is known */
    const struct ulid *id;
    const char *door;
    const struct principal *principal;
    const struct addr *source;
    const char *host;
    uint16_t port;
    const struct policy_standing *standing;     /* NULL: refused before it was decided */
    const char *agent_name;
    const struct mux_opened *opened;            /* what the agent dialled; NULL: it has not said */
    enum reason reason;
    const struct quota_refusal *refusal;        /* of a quota or a breaker; NULL: neither */
    struct span text;
    uint64_t sent_bytes, received_bytes;        /* to and from the target */
    uint64_t sent_datagrams, received_datagrams;
    bool is_udp;
    int64_t opened_ms;
};

void report_decision(struct events *e, const struct report *r);
void report_opened(struct events *e, const struct report *r);
void report_closed(struct events *e, const struct report *r);
