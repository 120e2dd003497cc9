#pragma once
#include "lib/base/attr.h"
#include <stdbool.h>
#include <stdint.h>
/*
 * supervisor.h - children that come back, each in a process group of its own.
 *
 * Whatever ends a child, it is started again after a pause that doubles from 100 ms to 2 s
 * and falls back once the child has lived 10 s.  A child dies with the supervisor (the
 * kernel sees to that), so nothing is left behind whatever happens to this process.
 *
 * Signals    INT, TERM and HUP are taken by supervisor_turn(): the first asks to stop, the
 *            second to stop at once.  TSTP is ignored.
 * Output     a child's stdout and stderr go to its log file, kept below SUPERVISOR_LOG_MAX
 *            (then it becomes NAME.1 and begins anew).
 * Environment  proxy variables are taken out: what the children talk to is on this machine.
 * Threads    one; one supervisor for each process.
 */
#define SUPERVISOR_CHILDREN_MAX 8
#define SUPERVISOR_LOG_MAX (16 * 1024 * 1024)

struct supervisor;
struct child_spec {
    const char *name;           /* "relay"; borrowed, as all here */
    char *const *argv;          /* argv[0] is the path */
    const char *log_path;
    int stop_rank;              /* at the end: 0 is asked first, 1 when those have gone */
};
/* Called when a child has ended by itself; `status` as from waitpid(2). */
typedef void (*supervisor_ended_fn)(const struct child_spec *spec, int status, unsigned again_ms);

MUST_CHECK int supervisor_new(supervisor_ended_fn on_ended, struct supervisor **ret_supervisor);
/* Kills what still runs. */
void supervisor_free(struct supervisor *s);
DEFINE_FREEP(supervisor, supervisor_free)
/* Starts the child and keeps it running.  -ENOSPC: too many. */
MUST_CHECK int supervisor_start(struct supervisor *s, const struct child_spec *spec);
/* Runs a program to its end.  Its status as from waitpid(2); -ETIMEDOUT: it was killed;
 * -EINTR: asked to stop meanwhile, it was killed. */
MUST_CHECK int supervisor_run(struct supervisor *s, const struct child_spec *spec,
                              unsigned timeout_ms, int *ret_status);
/* Waits at most timeout_ms (-1: for ever) for signals and for what is due, and does it. */
void supervisor_turn(struct supervisor *s, int timeout_ms);
/* 0: nobody asked; 1: asked to stop; 2: to stop at once. */
int supervisor_asked(const struct supervisor *s);
/* Asks the children to end and waits drain_ms; then kills.  Ends early when all have gone or
 * when asked again.  False: some had to be killed. */
bool supervisor_stop(struct supervisor *s, unsigned drain_ms);
