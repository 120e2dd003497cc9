#pragma once
#include "dataplane/policy/breaker.h"
#include "dataplane/policy/quota.h"
#include "dataplane/sync/events.h"
#include "lib/obs/metrics.h"
/*
 * usage.h - tells the control plane what was used of quotas, and hears what others used.
 *
 * Every told_ms what changed goes as an event (schema/internal.md, quota.used): so a restart of
 * the relay loses at most what was carried since.
 *
 * Threads    the control loop's.
 */
struct usage;

struct usage_config {
    struct loop *loop;
    struct events *events;
    struct quotas *quotas;
    struct breakers *breakers;
    uint64_t told_ms;
    void (*on_breakers)(void *user);        /* some opened or closed: a report is due */
    void *user;
};

MUST_CHECK int usage_new(const struct usage_config *config, struct usage **ret_usage);
void usage_free(struct usage *u);
DEFINE_FREEP(usage, usage_free)
/* Tells now: the relay stops. */
void usage_tell(struct usage *u);
/* The answer to what this relay reported: {"quotas": [...]}, or nothing. */
void usage_hear(struct usage *u, struct span answer);
