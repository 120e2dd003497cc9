#pragma once
#include "dataplane/route/router.h"
#include "lib/crypto/digest.h"
#include <pthread.h>
/*
 * passwords.h - chosen passwords at the doors: which the control plane has said are right.
 *
 * What it said is remembered for PASSWORDS_KEPT_MS under an HMAC of user, password and which password
 * is the user's now (so that another one, or a credential, ends it at once), by a key that is made
 * at the start and is nowhere else.  What was wrong is not remembered.
 *
 * Bounds     PASSWORDS_SETS * PASSWORDS_WAYS remembered, the oldest of a set goes; PASSWORDS_ASKS_MAX
 *            questions under way, each once however many wait for it.
 * Threads    all workers share what is remembered: any thread.  Each worker has its own questions.
 */
#define PASSWORDS_SETS 256
#define PASSWORDS_WAYS 4
#define PASSWORDS_KEPT_MS (12 * 3600 * 1000ULL)
#define PASSWORDS_ASKS_MAX 64

struct passwords {
    pthread_mutex_t lock;
    unsigned char key[32];
    struct password_row {
        unsigned char digest[SHA256_LEN];
        uint64_t until_ms;              /* monotonic; 0: empty */
    } rows[PASSWORDS_SETS][PASSWORDS_WAYS];
};

MUST_CHECK int passwords_new(struct passwords **ret_passwords);
void passwords_free(struct passwords *p);
DEFINE_FREEP(passwords, passwords_free)
bool passwords_know(struct passwords *p, const struct ulid *user, struct span which, struct span secret,
                    uint64_t now_ms);
/* That it is right. */
void passwords_learn(struct passwords *p, const struct ulid *user, struct span which, struct span secret,
                     uint64_t now_ms);

struct asks {                           /* a worker's */
    struct list list;
    unsigned count;
};
void asks_deinit(struct asks *a);
