#include "lib/crypto/password.h"
#include "lib/crypto/random.h"
#include <argon2.h>
#include <errno.h>

enum { SALT_LEN = 16, HASH_LEN = 32 };
#define COST_MEMORY_MAX_KIB ((uint32_t)1 << 20)
#define COST_PASSES_MAX 16
#define COST_LANES_MAX 16

static bool cost_is_sane(const struct password_cost *c)
{
    return c->lanes >= 1 && c->lanes <= COST_LANES_MAX && c->passes >= 1 &&
           c->passes <= COST_PASSES_MAX && c->memory_kib >= 8 * c->lanes &&
           c->memory_kib <= COST_MEMORY_MAX_KIB;
}

static bool cut_number(struct span *s, struct span prefix, char end, uint32_t *ret)
{
    struct span part;
    uint64_t v;

    if (!span_starts(*s, prefix))
        return false;
    *s = span_skip(*s, prefix.n);
    if (!span_cut(s, end, &part) || !span_to_u64(part, UINT32_MAX, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

static bool cost_parse(const char *phc, struct password_cost *ret)
{
    struct span s = span_str(phc);

    if (s.n >= PASSWORD_PHC_MAX || !span_starts(s, SPAN("$argon2id$v=19$")))
        return false;
    s = span_skip(s, sizeof("$argon2id$v=19$") - 1);
    return cut_number(&s, SPAN("m="), ',', &ret->memory_kib) &&
           cut_number(&s, SPAN("t="), ',', &ret->passes) &&
           cut_number(&s, SPAN("p="), '$', &ret->lanes) && cost_is_sane(ret);
}

int password_hash(struct span password, const struct password_cost *cost,
                  char ret_phc[PASSWORD_PHC_MAX])
{
    unsigned char salt[SALT_LEN];
    int r;

    if (password.n < 1 || password.n > PASSWORD_MAX || !cost_is_sane(cost))
        return -EINVAL;
    random_bytes(salt, sizeof(salt));
    r = argon2id_hash_encoded(cost->passes, cost->memory_kib, cost->lanes, password.p, password.n,
                              salt, sizeof(salt), HASH_LEN, ret_phc, PASSWORD_PHC_MAX);
    if (r == ARGON2_OK)
        return 0;
    return r == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EINVAL;
}

bool password_verify(struct span password, const char *phc)
{
    struct password_cost cost;

    if (password.n < 1 || password.n > PASSWORD_MAX || !phc || !cost_parse(phc, &cost))
        return false;
    return argon2id_verify(phc, password.p, password.n) == ARGON2_OK;
}

bool password_is_weaker(const char *phc, const struct password_cost *cost)
{
    struct password_cost was;

    return !cost_parse(phc, &was) || was.memory_kib < cost->memory_kib ||
           was.passes < cost->passes || was.lanes < cost->lanes;
}
