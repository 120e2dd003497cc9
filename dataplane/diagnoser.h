#pragma once
#include "dataplane/route/roster.h"
#include "dataplane/sync/control.h"
/*
 * diagnoser.h - takes the control plane's orders to diagnose, passes them on to agents, and answers.
 *
 * One long poll at a time (GET /internal/v1/commands); each order becomes a stream of kind diagnose
 * at the worker that has the agent, and one answer (POST /internal/v1/answers).  What is lost with
 * this relay or its agent is not asked again: the control plane knows when time is over.
 *
 * Bounds     DIAGNOSER_JOBS_MAX at a time; beyond: overload.
 * Threads    all but diagnoser_get_stats() (any): the control loop's.  diagnoser_stop() before the
 *            workers stop, diagnoser_free() after they were freed.
 */
#define DIAGNOSER_JOBS_MAX 64

struct diagnoser;

struct diagnoser_config {
    struct loop *loop;
    struct control *control;
    struct roster *roster;
};

struct diagnoser_stats {
    uint64_t orders, failed;        /* failed: without an answer of the agent */
    uint64_t running;
};

MUST_CHECK int diagnoser_new(const struct diagnoser_config *config, struct diagnoser **ret_diagnoser);
void diagnoser_stop(struct diagnoser *d);
void diagnoser_free(struct diagnoser *d);
DEFINE_FREEP(diagnoser, diagnoser_free)
void diagnoser_get_stats(struct diagnoser *d, struct diagnoser_stats *ret_stats);
