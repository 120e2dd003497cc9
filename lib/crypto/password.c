#include "lib/crypto/password.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/random.h"
#include <argon2.h>
#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- bcrypt ---- */
enum { BCRYPT_LEN = 60, BCRYPT_HEAD = 7, BCRYPT_COST_MIN = 4, BCRYPT_COST_MAX = 14 };

bool password_is_bcrypt(struct span text)
{
    static const char alphabet[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    struct span rest = span_skip(text, BCRYPT_HEAD);
    uint64_t cost;

    if (text.n != BCRYPT_LEN || text.p[BCRYPT_HEAD - 1] != '$' ||
        (!span_starts(text, SPAN("$2a$")) && !span_starts(text, SPAN("$2b$")) && !span_starts(text, SPAN("$2y$"))) ||
        !span_to_u64(span_of(text.p + 4, 2), BCRYPT_COST_MAX, &cost) || cost < BCRYPT_COST_MIN)
        return false;
    for (size_t i = 0; i < rest.n; i++) {
        if (!rest.p[i] || !strchr(alphabet, rest.p[i]))
            return false;
    }
    return true;
}

static bool bcrypt_verify(struct span password, const char *hash)
{
    struct crypt_data *data = calloc(1, sizeof(*data));
    char text[PASSWORD_MAX + 1];
    const char *again = NULL;
    bool is_same;

    if (data && span_copy(password, text, sizeof(text)))
        again = crypt_r(text, hash, data);
    is_same = again && span_eq_secret(span_str(again), span_str(hash));
    secret_wipe(text, sizeof(text));
    if (data)
        secret_wipe(data, sizeof(*data));
    free(data);
    return is_same;
}

bool password_verify(struct span password, const char *phc)
{
    struct password_cost cost;

    if (password.n < 1 || password.n > PASSWORD_MAX || !phc)
        return false;
    if (password_is_bcrypt(span_str(phc)))
        return bcrypt_verify(password, phc);
    if (!cost_parse(phc, &cost))
        return false;
    return argon2id_verify(phc, password.p, password.n) == ARGON2_OK;
}

bool password_is_weaker(const char *phc, const struct password_cost *cost)
{
    struct password_cost was;

    return !cost_parse(phc, &was) || was.memory_kib < cost->memory_kib ||
           was.passes < cost->passes || was.lanes < cost->lanes;
}
