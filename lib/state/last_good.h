#pragma once
#include "lib/state/state.h"
/*
 * last_good.h - the last good state on disk: what a relay serves from when all else is down.
 *
 * Shape      in one directory (0700), files of 0600:
 *              keyset     the signed key set
 *              head       the newest verified head
 *              state      a snapshot, and the deltas applied after it, as signed
 *            A delta is appended; a snapshot replaces the file.  An append that was cut by a
 *            crash is dropped at load; everything else is verified again like new input.
 * Cost       a change costs its own size, not the state's.
 * Errors     -errno; STATE_E_REJECTED: what is on disk is not ours or was changed.
 * Threads    one at a time; calls block on the disk, so never on a loop.
 */
struct last_good {
    struct keyset *keys;                /* NULL: none */
    struct policy *policy;              /* NULL: none */
    struct state_position position;
    struct state_head head;             /* zero: none */
    size_t state_bytes;                 /* length of the file "state", for compaction */
};

MUST_CHECK int last_good_save_keyset(const char *dir, struct span signed_keyset);
MUST_CHECK int last_good_save_head(const char *dir, struct span signed_head);
MUST_CHECK int last_good_save_snapshot(const char *dir, struct span signed_snapshot);
MUST_CHECK int last_good_append_delta(const char *dir, struct span signed_delta);
/* A missing directory or file gives an empty part, 0. */
MUST_CHECK int last_good_load(const char *dir, const char *cluster, const struct key *root,
                              struct last_good *ret_state, struct state_error *reterr);
void last_good_deinit(struct last_good *s);
