#pragma once
#include "controlplane/domain/kind.h"
#include "controlplane/domain/right.h"
#include "controlplane/routes/api_internal.h"
#include "controlplane/routes/change.h"
#include "lib/crypto/password.h"
#include "lib/json/json.h"
/*
 * call.h - one request on its way through a handler, with its transaction.
 *
 * Errors     0: go on.  CALL_E_ANSWERED: the response holds the answer, stop.  < 0 and the
 *            store's conditions become problems in call_run() alone.
 * Threads    the handler's.
 */
enum { CALL_E_ANSWERED = 1000 };

struct effect;

struct call {
    struct api *api;
    const struct kind *kind;            /* NULL: not about objects */
    const struct right *right;
    struct request *req;
    struct response *res;
    struct store_tx *tx;
    struct store_position position;     /* after call_commit() */
    bool is_dry, may_break;             /* may_break: expectations */
    struct effect *effect;              /* NULL: nobody asked for it */
    char address[ADDR_TEXT_MAX];        /* the peer's, for the audit event */
    char password[PASSWORD_PHC_MAX];    /* hash of the body's password; "": none */
};

typedef int (*call_fn)(struct call *c);

/* Begins the transaction, runs `fn`, rolls back what was not committed. */
void call_run(const struct route *route, struct request *req, struct response *res,
              enum store_mode mode, call_fn fn);

/* Makes the response a problem and answers CALL_E_ANSWERED. */
MUST_CHECK int call_refuse(struct call *c, enum reason reason, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The same with a pointer to what was wrong. */
MUST_CHECK int call_refuse_at(struct call *c, enum reason reason, const char *pointer,
                              const char *message);
MUST_CHECK int call_not_found(struct call *c);

/* Whether the caller's roles cover everybody's objects, not just his own. */
bool call_sees_all(const struct call *c);
bool call_is_own(const struct call *c, struct span owner);
/* For change.h: who does what, in this request. */
struct change call_change(struct call *c);

/* An object by id or name.  `ret_id` is not touched unless 0; STORE_E_NOT_FOUND. */
MUST_CHECK int call_find(struct call *c, enum kind_id kind, struct span ref,
                         struct store_object **ret_object);
/* What a reference to that kind names: a user is a user or a service account. */
MUST_CHECK int call_find_ref(struct call *c, enum kind_id kind, struct span ref,
                             struct store_object **ret_object);
/* Query parameters: absent is false; anything but true and false is refused. */
MUST_CHECK int call_flag(struct call *c, const char *name, bool *ret_is_set);
MUST_CHECK int call_path_object(struct call *c, size_t param, struct store_object **ret_object);

/* After the last write: whether relays can enforce it, and its effect; for who shows that before
 * call_commit(), which does the same. */
MUST_CHECK int call_settle(struct call *c);
/* Commits (or, when dry, forgets) and sets Adit-Revision; refuses what a relay could not enforce. */
MUST_CHECK int call_commit(struct call *c);
/* After the answer is written: with wait=applied, parks it until relays run it, or 202. */
void call_wait(struct call *c);
/* True when this run only brings such an answer to its end. */
bool call_resume(struct call *c);
