#pragma once
#include "controlplane/routes/call.h"
/*
 * penalty.h - who failed waits: rows in the store, by key, so that they survive a restart and every
 * control plane of a database sees the same.
 *
 * Units      milliseconds.
 * Bounds     PENALTIES_KEPT rows; each is forgotten PENALTY_LIFE_MS after it ended.
 * Errors     the store's.
 */
#define PENALTY_FREE_FAILURES 3
#define PENALTIES_KEPT 100000
#define PENALTY_LIFE_MS (3600 * 1000LL)

/* Raises `*left_ms` to what is left of the key's time. */
MUST_CHECK int penalty_left(struct call *c, const char *key, int64_t now_ms, int64_t *left_ms);
/* One more failure: after the free ones each waits twice as long as the one before, up to max_ms. */
MUST_CHECK int penalty_add(struct call *c, const char *key, int64_t max_ms, int64_t now_ms,
                           int64_t *ret_failures);
MUST_CHECK int penalty_forget(struct call *c, const char *key);
MUST_CHECK int penalty_trim(struct call *c, int64_t now_ms);
/* rate-limited, with how long to wait. */
MUST_CHECK int penalty_refuse(struct call *c, int64_t left_ms);
