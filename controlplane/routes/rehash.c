#include "controlplane/routes/rehash.h"
#include <stdio.h>

void rehash_make(struct span password, const char *phc, char ret_fresh[PASSWORD_PHC_MAX])
{
    const struct password_cost cost = PASSWORD_COST_DEFAULT;

    ret_fresh[0] = 0;
    if (password_is_weaker(phc, &cost) && password_hash(password, &cost, ret_fresh))
        ret_fresh[0] = 0;
}

const char *rehash_which(const struct store_secret *password, char dst[REHASH_WHICH_MAX])
{
    if (password->fingerprint[0])
        snprintf(dst, REHASH_WHICH_MAX, "%s", password->fingerprint);
    else
        snprintf(dst, REHASH_WHICH_MAX, "%lld", (long long)password->set_ms);
    return dst;
}

int rehash_keep(struct store_tx *tx, const struct ulid *user, const char *phc, const char *fresh)
{
    struct store_secret secret;
    char which[REHASH_WHICH_MAX];
    int r;

    if (!fresh[0])
        return 0;
    r = store_secret_get(tx, user, "password", &secret);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    if (!span_eq_secret(span_of(secret.value, secret.value_len), span_str(phc)))
        return 0;
    return store_secret_put(tx, user, "password", span_str(fresh), rehash_which(&secret, which));
}
