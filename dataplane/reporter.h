#pragma once
#include "dataplane/policy/breaker.h"
#include "dataplane/sync/source.h"
#include "dataplane/route/roster.h"
/*
 * reporter.h - tells the control plane, every 10 s, after each change, and when an
 * agent's link comes into doubt or out of it, what this relay
 * runs and holds, and renews the relay's own certificate.
 *
 * Threads    the control loop's.
 */
struct reporter;

struct reporter_config {
    struct loop *loop;
    struct control *control;
    struct source *source;
    struct roster *roster;
    struct member *member;
    struct metrics *metrics;
    struct breakers *breakers;
    struct ulid boot_id;
    void (*on_answer)(void *user, struct span answer);  /* to a report */
    void (*on_renewed)(void *user);         /* the member has a new certificate */
    void *user;
};

MUST_CHECK int reporter_new(const struct reporter_config *config, struct reporter **ret_reporter);
void reporter_free(struct reporter *r);
DEFINE_FREEP(reporter, reporter_free)
/* A new state is in force. */
void reporter_state_changed(struct reporter *r);
