#pragma once
#include "controlplane/audit/checkpoint.h"
/*
 * outside.h - where checkpoints go besides the database: a file, and syslog.
 *
 * At least once each: what could not be given away is given the next time, in order.  A file goes on
 * where it ends; to syslog the last few are said again after a start.  Syslog is RFC 5424 in datagrams:
 * to the machine's own daemon ("unix:/dev/log"), which forwards by TLS as it is told, or by UDP.
 *
 * Threads    one at a time.
 * Errors     -errno; -EINVAL with a sentence.
 */
#define OUTSIDE_BATCH 1000              /* checkpoints that are given away at a time */

struct outside;
struct outside_options {
    const char *file;                   /* empty: none */
    const char *syslog;                 /* "unix:/path", "udp:address:port"; empty: none */
};

MUST_CHECK int outside_new(const struct outside_options *options, struct outside **ret_outside, struct buf *reterr);
void outside_free(struct outside *outside);
DEFINE_FREEP(outside, outside_free)
/* Gives away all up to number `last` that has not gone yet. */
MUST_CHECK int outside_send(struct outside *outside, struct store *store, int64_t last);
/* How many wait, of the place that is furthest behind. */
uint64_t outside_waiting(const struct outside *outside);
/* Whether `text` is a syslog that outside_new() takes. */
bool outside_is_syslog(const char *text);
