#pragma once
#include "controlplane/store/store.h"
#include "lib/base/addr.h"
#include <pthread.h>
/*
 * uses.h - when and from where API tokens were used last: gathered in memory, kept now and then.
 *
 * A write for each request would cost more than the request.  What was not kept is lost with the
 * process; a last use is told to the minute.
 *
 * Bounds     USES_MAX tokens between two times of keeping; of two in one place the later is kept.
 * Threads    any.
 */
#define USES_MAX 1024

struct uses {
    pthread_mutex_t lock;
    struct use {
        struct ulid token;              /* empty: nothing to keep */
        struct addr from;
    } rows[USES_MAX];
};

#define USES_PURPOSE "api-token.used"   /* among the token's secrets, so that it goes with it */

void uses_init(struct uses *u);
void uses_deinit(struct uses *u);
void uses_note(struct uses *u, const struct ulid *token, const struct addr *from);
/* In one transaction of its own. */
MUST_CHECK int uses_keep(struct uses *u, struct store *store);
