#pragma once
#include "controlplane/routes/call.h"
/*
 * second.h - the second factor of log-ins: a TOTP secret, sealed, and recovery codes, hashed.
 *
 * A code is good once: the step that was taken last is kept in the transaction that lets in, and a
 * database has one writer at a time, so that no two control planes take the same code.
 *
 * Kept       among the user's secrets, so that all of it goes with him.
 * Errors     the store's; -EBADMSG: sealed under another key.
 * Threads    the transaction's.
 */
#define SECOND_RECOVERY_CODES 10
#define SECOND_RECOVERY_LEN 19          /* "abcd-efgh-ijkl-mnop": 80 random bits */

struct second {
    bool is_active;
    int64_t set_ms;                     /* 0: not active */
    unsigned recovery_left;
};

/* The key of the penalty for wrong codes (penalty.h): the user's, wherever they are tried and at
 * whichever control plane.  Only who has shown the password, or a session, raises it. */
#define SECOND_DELAY_MAX_MS 60000
#define SECOND_KEY_MAX 40
void second_penalty_key(const struct ulid *user, char ret_key[SECOND_KEY_MAX]);

MUST_CHECK int second_get(struct store_tx *tx, const struct ulid *user, struct second *ret_second);
/* A new secret, which counts from second_confirm() on; `ret_text`: as apps take it. */
MUST_CHECK int second_begin(struct call *c, const struct ulid *user, struct buf *ret_text);
/* `ret_is_right` false: the code is not of the new secret, or there is none.  The recovery codes come
 * one to a line; those before are no good any more. */
MUST_CHECK int second_confirm(struct call *c, const struct ulid *user, struct span code, bool *ret_is_right,
                              struct buf *ret_codes);
/* Uses up a code, or a recovery code. */
MUST_CHECK int second_use(struct call *c, const struct ulid *user, struct span code, bool *ret_is_right);
/* STORE_E_NOT_FOUND: there was none. */
MUST_CHECK int second_forget(struct store_tx *tx, const struct ulid *user);
