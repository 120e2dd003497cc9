#pragma once
#include "controlplane/publish/keyring.h"
#include "controlplane/store/store.h"
#include "lib/policy/policy.h"
/*
 * publish.h - from committed changes to signed state: deltas, snapshots, heads, agent policies.
 *
 * One thread follows the store.  After a commit it gathers what changed since the last
 * publication, compiles the policies of the agents that it touches, signs one delta, keeps
 * it in the store (a relay must find the same chain after a restart), puts it in force here
 * too, and rings.  A head with a new beat is signed every beat_ms.
 *
 * Cost       a change costs its own size, and the rules of the agents whose reach it changes;
 *            a walk over the grants once a minute at most.  A snapshot, as often at most, is made
 *            on a thread of its own: no change waits for it.
 * Limits     PUBLISH_DELTAS_MAX deltas and PUBLISH_BYTES_MAX bytes of them are kept; who is
 *            further behind gets the snapshot first.
 * Threads    publisher_start, publisher_free: the owner's; the rest any.
 */
#define PUBLISH_DELTAS_MAX 4096
#define PUBLISH_BYTES_MAX ((size_t)64 << 20)
#define PUBLISH_ANSWER_MAX ((size_t)16 << 20)   /* of deltas in one answer */
#define PUBLISH_SNAPSHOT_MS 60000
#define PUBLISH_EXPIRY_MS 60000                 /* grants that ended leave the agents' policies */
#define PUBLISH_POLL_MS 100                     /* of a database that others write too */
#define PUBLISH_IDLE_BEATS 4                    /* without a head: who leads is put off */
#define PUBLISH_GATHER_MS 20                    /* commits that come closer share a delta */

struct publisher_options {
    struct store *store;
    struct keyring *keys;                       /* refreshed here when they are rotated */
    void (*ring)(void *ctx);                    /* something new; on the publisher's thread */
    void *ring_ctx;
    unsigned beat_ms;                           /* 0: 5000 */
};

struct publisher;
/* Publishes what was committed but not yet published, then follows. */
MUST_CHECK int publisher_start(const struct publisher_options *options,
                               struct publisher **ret_publisher, struct buf *reterr);
/* To be called after the last commit that shall be published. */
void publisher_free(struct publisher *publisher);
DEFINE_FREEP(publisher, publisher_free)
/* There is committed work; what store_on_commit() is to call. */
void publisher_wake(void *publisher);

/* The policy in force, with a reference for the caller. */
struct policy *publisher_policy(struct publisher *publisher);
/* The same, and which revision it is; without waiting. */
struct policy *publisher_policy_now(void *publisher, struct store_position *ret_at);
/* The same, once it holds all up to `at`; after `wait_ms` what there is. */
struct policy *publisher_policy_at(struct publisher *publisher, const struct store_position *at,
                                   unsigned wait_ms);
struct store_position publisher_position(struct publisher *publisher);
/* The head, and what leads from `at` to it.  `ret_is_news`: there is more than the head. */
MUST_CHECK int publisher_answer(struct publisher *publisher, struct store_position at,
                                struct buf *out, bool *ret_is_news);
/* Whether publication works; a line for a person otherwise. */
bool publisher_leads(struct publisher *publisher);
bool publisher_is_well(struct publisher *publisher, struct buf *ret_why);
