#pragma once
#include "controlplane/http/request.h"
#include "controlplane/store/store.h"
#include "lib/base/list.h"
#include <pthread.h>
/*
 * wait.h - answers that wait for the relays: `?wait=applied`.
 *
 * The write is done and its answer kept here, by the request's trace id, while the
 * connection is parked; the handler that is run again takes it out.
 *
 * Limits     WAITS_MAX answers; beyond, the answer goes out at once as 202.
 * Threads    any.
 */
#define WAITS_MAX 256
#define WAIT_MS 30000

struct wait_for {
    struct store_position position;
    int64_t deadline_ms;        /* Unix time */
};

struct waits {
    pthread_mutex_t lock;
    struct list kept;
    size_t count;
};

void waits_init(struct waits *w);
void waits_deinit(struct waits *w);
/* Keeps a copy of the response and what it waits for; false: full. */
bool waits_keep(struct waits *w, const struct request *req, const struct response *res,
                const struct wait_for *what);
/* Takes it out again: fills `res`; false: nothing is kept for this request. */
bool waits_take(struct waits *w, const struct request *req, struct response *res,
                struct wait_for *ret_what);
