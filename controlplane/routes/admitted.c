#include "controlplane/routes/admitted.h"
#include "lib/policy/decide.h"

enum reason admitted_now(const struct api *api, const struct ulid *user)
{
    const struct api_options *o = &api->options;
    const struct store_position any = { 0 };
    AUTO(policy_unrefp) struct policy *policy = o->policy ? o->policy(o->policy_ctx, &any) : NULL;

    return policy ? policy_user_admitted(policy, user, (int64_t)store_now_ms(o->store)) : REASON_NONE;
}
