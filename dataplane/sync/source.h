#pragma once
#include "dataplane/policy/view.h"
#include "dataplane/sync/control.h"
#include "lib/state/last_good.h"
/*
 * source.h - where the relay's configuration comes from: disk at first, then the control plane.
 *
 * A long poll that is asked again at once; while nobody answers, with jittered back-off.
 * Every document is verified before it counts, applied, kept on disk, and made a view that
 * on_view hands to the workers.  What is refused leaves the last good state in force.
 *
 * Threads    the control loop's.  Calls block on the disk, which carries no traffic here.
 */
struct source;

struct source_config {
    struct control *control;
    struct member *member;
    struct freshness *freshness;    /* written here, read by workers */
    const char *dir;                /* of the last good state; copied */
    size_t compact_bytes;           /* of deltas on disk, then a snapshot is asked for; 0: 64 MiB */
    void (*on_view)(void *user, struct view *v);    /* takes the reference */
    /* The key set as signed, whenever it is new: agents want it too. */
    void (*on_keyset)(void *user, struct span text, uint64_t serial);
    void *user;
};

struct source_status {
    struct state_position position;
    uint64_t age_ms;                /* UINT64_MAX: never heard */
    bool is_reachable, has_keys, is_from_disk;
    bool is_too_old;                /* what is published is refused: only a newer program knows it */
    uint64_t applied, refused;      /* documents */
    char last_error[256];
};

/* Loads what is on disk (on_view at once if there is something), then asks. */
MUST_CHECK int source_new(const struct source_config *config, struct source **ret_source, struct buf *reterr);
void source_free(struct source *s);
DEFINE_FREEP(source, source_free)
void source_status(const struct source *s, struct source_status *ret_status);
