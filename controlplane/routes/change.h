#pragma once
#include "controlplane/domain/kind.h"
#include "controlplane/store/store.h"
/*
 * change.h - the one path of every write: object, references, secret, state records of all
 * that depends on it, and the audit event, in the caller's transaction.
 *
 * An update ends the log-in sessions that it takes the ground from: of a user with another password
 * (but the one that he gives it in), status or log-in of a provider; of a provider's users.
 *
 * The rules (rights, checks, conflicts) are the caller's and come before.
 *
 * Errors     the store's; -errno.
 * Threads    the transaction's.
 */
struct change {
    struct store_tx *tx;
    struct store_audit event;   /* who, action, trace: filled by the caller; the rest here */
};

struct change_ref {
    const char *field;
    struct ulid to;
};

struct change_secret {
    const char *purpose;        /* NULL: none */
    struct span value;          /* a hash, or sealed bytes */
    const char *fingerprint;
};

struct change_object {
    const struct kind *kind;
    struct ulid id;
    struct span name;           /* empty: the id in lower case */
    struct span doc;            /* canonical, ids as references */
    const struct change_ref *refs;      /* every reference of the object */
    size_t ref_count;
    struct change_secret secret;
    const char *created_by, *managed_by;
};

/* STORE_E_EXISTS, STORE_E_NO_REF. */
MUST_CHECK int change_insert(struct change *c, const struct change_object *object);
/* `version` 0: any.  STORE_E_NOT_FOUND, STORE_E_STALE. */
MUST_CHECK int change_update(struct change *c, const struct change_object *object, int64_t version,
                             int64_t *ret_version);
/* STORE_E_NOT_FOUND, STORE_E_STALE, STORE_E_IN_USE. */
MUST_CHECK int change_delete(struct change *c, const struct kind *kind, const struct ulid *id,
                             int64_t version);
/* STORE_E_NO_REF. */
MUST_CHECK int change_member_put(struct change *c, const struct kind *kind,
                                 const struct ulid *group, const struct ulid *member,
                                 struct span doc, bool *ret_is_new);
/* STORE_E_NOT_FOUND. */
MUST_CHECK int change_member_delete(struct change *c, const struct kind *kind,
                                    const struct ulid *group, const struct ulid *member);
