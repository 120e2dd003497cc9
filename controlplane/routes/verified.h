#pragma once
#include "lib/crypto/cert.h"
#include "lib/crypto/digest.h"
#include <pthread.h>
/*
 * verified.h - relays' certificate chains that were verified a moment ago.
 *
 * A relay sends many requests over one connection, each of which shows its chain: verifying it
 * costs more than most of them.  What an identity may do now is not remembered here.
 *
 * Bounds     VERIFIED_MAX chains, the oldest goes; each for VERIFIED_S seconds.
 * Threads    any.
 */
#define VERIFIED_MAX 16
#define VERIFIED_S 60

struct verified {
    pthread_mutex_t lock;
    struct verified_row {
        unsigned char digest[SHA256_LEN];
        struct identity identity;
        int64_t from_s;                 /* 0: empty */
    } rows[VERIFIED_MAX];
    unsigned next;
};

#define VERIFIED_INIT { .lock = PTHREAD_MUTEX_INITIALIZER }

/* Of the whole chain as it was shown, DER by DER. */
bool verified_find(struct verified *v, const struct span *chain, size_t count, int64_t now_s,
                   struct identity *ret_identity);
void verified_add(struct verified *v, const struct span *chain, size_t count, int64_t now_s,
                  const struct identity *identity);
