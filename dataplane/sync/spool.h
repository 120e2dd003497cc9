#pragma once
#include "lib/base/buf.h"
/*
 * spool.h - lines that wait on disk until they are delivered: in at the end, out in order.
 *
 * Shape      a directory (0700) of segments (0600) with rising numbers for names; a segment
 *            is lines, each one JSON object.  A segment goes when it is delivered.  How far
 *            one was delivered is not kept: after a restart its lines are given again.
 * Bound      bytes_max; beyond it the oldest segment goes, counted.
 * Crash      what was appended survives the process, and after spool_sync() the machine's
 *            power.  A line that a crash cut, or that is no JSON object, is passed over.
 * Threads    one at a time; calls block on the disk.
 */
struct spool;

struct spool_mark {                 /* how far a read went */
    uint64_t segment;
    size_t end;
    size_t lines;                   /* given */
    size_t bad;                     /* passed over */
};

MUST_CHECK int spool_open(const char *dir, size_t bytes_max, struct spool **ret_spool);
void spool_free(struct spool *s);
DEFINE_FREEP(spool, spool_free)
/* `count` lines, each with its newline: all, or on an error none. */
MUST_CHECK int spool_append(struct spool *s, struct span lines, size_t count);
/* The oldest lines, behind what `out` holds; nothing is forgotten yet.  A line longer than
 * bytes_max is passed over.  mark->lines 0: there are none. */
MUST_CHECK int spool_read(struct spool *s, size_t lines_max, size_t bytes_max, struct buf *out,
                          struct spool_mark *ret_mark);
/* They are delivered.  An older mark does nothing. */
void spool_forget(struct spool *s, const struct spool_mark *mark);
MUST_CHECK int spool_sync(struct spool *s);
size_t spool_lines(const struct spool *s);
size_t spool_bytes(const struct spool *s);
uint64_t spool_dropped(const struct spool *s);      /* lines, since it was opened */
