#pragma once
#include "controlplane/publish/publish.h"
#include "controlplane/publish/reach_compile.h"
#include "lib/base/list.h"
#include "lib/state/state.h"

#include <pthread.h>
/*
 * publish_internal.h - this room's own: the chain of deltas, and one step of publication.
 */
struct delta {
    struct list node;
    uint64_t epoch, revision, after;
    size_t len;
    char document[];
};

/* Oldest first; each follows the one before.  The lock is the owner's. */
struct chain_of_deltas {
    struct list deltas;
    size_t count, bytes;
};

void deltas_init(struct chain_of_deltas *c);
void deltas_clear(struct chain_of_deltas *c);
MUST_CHECK int deltas_append(struct chain_of_deltas *c, uint64_t epoch, uint64_t revision,
                             uint64_t after, struct span document);
/* Before the oldest. */
MUST_CHECK int deltas_prepend(struct chain_of_deltas *c, uint64_t epoch, uint64_t revision,
                              uint64_t after, struct span document);
/* The deltas that lead on from `revision`, at most `max` bytes (at least one); false: the
 * chain does not reach back to it. */
bool deltas_from(const struct chain_of_deltas *c, uint64_t epoch, uint64_t revision, size_t max,
                 struct buf *out);

struct publisher {
    struct publisher_options options;
    pthread_t thread;
    pthread_mutex_t lock;       /* all below */
    pthread_cond_t has_work;
    bool has_thread, is_stopping, is_rung;
    int trouble;                /* of the last step: 0 or -errno */
    char trouble_text[256];
    struct chain_of_deltas deltas;
    struct buf snapshot;        /* signed */
    struct state_position snapshot_at, at;
    struct buf head;            /* signed */
    uint64_t beat;
    struct policy *policy;      /* at `at` */
    uint64_t snapshot_ms, published_ms;
    struct reach_cache reach;   /* of `policy`, when has_reach; the publisher's thread only */
    bool has_reach;
    int64_t expired_ms;         /* when grants that ended were last looked for */
};

/* step.c: the publisher's thread only; 0 with `ret_is_news`, or -errno with a text in
 * trouble_text. */
MUST_CHECK int publish_step(struct publisher *p, bool *ret_is_news);
MUST_CHECK int publish_load(struct publisher *p);
MUST_CHECK int publish_head(struct publisher *p);
