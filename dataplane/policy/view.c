#include "dataplane/policy/view.h"

struct view *view_new(struct policy *policy, const struct state_position *position,
                      const struct credential_keys *credential)
{
    struct view *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;

    atomic_init(&v->refs, 1);
    v->policy = policy_ref(policy);
    v->position = *position;
    v->credential = *credential;
    return v;
}

struct view *view_ref(struct view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void view_unref(struct view *v)
{
    if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    policy_unref(v->policy);
    secret_wipe(&v->credential, sizeof(v->credential));
    free(v);
}

uint64_t freshness_age_ms(const struct freshness *f, uint64_t now_ms)
{
    uint64_t heard_ms = atomic_load_explicit(&f->heard_ms, memory_order_relaxed);

    if (heard_ms == 0)
        return UINT64_MAX;
    return now_ms > heard_ms ? now_ms - heard_ms : 0;
}

bool freshness_is_stale(const struct freshness *f, uint64_t now_ms, uint64_t profile_max_ms)
{
    uint64_t max_ms = atomic_load_explicit(&f->max_ms, memory_order_relaxed);

    if (profile_max_ms && profile_max_ms < max_ms)
        max_ms = profile_max_ms;
    return freshness_age_ms(f, now_ms) > max_ms;
}

/* Every key is tried, and the best answer given: while keys rotate, a secret may be known
 * under the older one.  An unknown user or secret costs the same as a known one. */
enum reason view_authenticate(const struct view *v, struct span user_name, struct span secret,
                              const struct addr *source, int64_t now_ms,
                              const struct user_record **ret_user,
                              const struct credential_record **ret_credential)
{
    enum reason best = REASON_AUTH_FAILED;

    for (size_t i = 0; i < v->credential.count; i++) {
        char hash[SHA256_HEX];
        enum reason why;

        proxy_secret_hash(span_of(v->credential.keys[i], CREDENTIAL_KEY_LEN), secret, hash);
        why = policy_authenticate(v->policy, span_str(hash), user_name, source, now_ms, ret_user,
                                  ret_credential);
        if (why == REASON_NONE)
            return REASON_NONE;
        if (why != REASON_AUTH_FAILED)
            best = why;
    }
    return best;
}
