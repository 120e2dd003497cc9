#pragma once
#include "lib/crypto/secret.h"
#include "lib/policy/decide.h"
#include "lib/state/state.h"
#include <stdatomic.h>
/*
 * view.h - what a worker decides by: one immutable version of the configuration.
 *
 * The control loop makes a view for each change and hands a reference to every worker,
 * which swaps at its own pace.  How old the configuration is changes with every beat, so it
 * is kept apart, in one atomic that all share.
 *
 * Units      milliseconds, monotonic.
 * Ownership  counted.
 * Threads    a view never changes: any number of threads may read, ref and unref it.
 */
#define VIEW_KEYS_MAX 4

struct credential_keys {            /* newest first; old ones overlap while they rotate */
    unsigned char keys[VIEW_KEYS_MAX][CREDENTIAL_KEY_LEN];
    size_t count;
};

struct view {
    atomic_uint refs;
    struct policy *policy;          /* never NULL */
    struct state_position position;
    struct credential_keys credential;
};

/* Takes a reference on the policy.  NULL: out of memory. */
struct view *view_new(struct policy *policy, const struct state_position *position,
                      const struct credential_keys *credential);
struct view *view_ref(struct view *v);
void view_unref(struct view *v);
DEFINE_FREEP(view, view_unref)

/* When the newest signed word of the control plane was heard. */
struct freshness {
    _Atomic uint64_t heard_ms;      /* 0: never */
    _Atomic uint64_t max_ms;        /* max-staleness */
};
bool freshness_is_stale(const struct freshness *f, uint64_t now_ms, uint64_t profile_max_ms);
uint64_t freshness_age_ms(const struct freshness *f, uint64_t now_ms);     /* UINT64_MAX: never heard */

/* Who shows this secret: REASON_NONE gives both records, which live as long as the view. */
enum reason view_authenticate(const struct view *v, struct span user_name, struct span secret,
                              const struct addr *source, int64_t now_ms,
                              const struct user_record **ret_user,
                              const struct credential_record **ret_credential);
