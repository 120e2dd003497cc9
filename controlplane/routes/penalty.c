#include "controlplane/routes/penalty.h"

int penalty_left(struct call *c, const char *key, int64_t now_ms, int64_t *left_ms)
{
    struct store_penalty penalty = { 0 };
    int r = store_penalty_get(c->tx, span_str(key), &penalty);

    if (!r && penalty.until_ms - now_ms > *left_ms)
        *left_ms = penalty.until_ms - now_ms;
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

int penalty_add(struct call *c, const char *key, int64_t max_ms, int64_t now_ms, int64_t *ret_failures)
{
    struct store_penalty penalty = { 0 };
    int64_t delay_ms = 0, over;
    int r = store_penalty_get(c->tx, span_str(key), &penalty);

    if (r && r != STORE_E_NOT_FOUND)
        return r;
    over = ++penalty.failures - PENALTY_FREE_FAILURES;
    if (over > 0)
        delay_ms = over > 8 ? max_ms : 500LL << over;
    penalty.until_ms = now_ms + (delay_ms > max_ms ? max_ms : delay_ms);
    *ret_failures = penalty.failures;
    return store_penalty_put(c->tx, span_str(key), penalty);
}

int penalty_forget(struct call *c, const char *key)
{
    return store_penalty_put(c->tx, span_str(key), (struct store_penalty){ 0 });
}

int penalty_trim(struct call *c, int64_t now_ms)
{
    return store_penalties_trim(c->tx, now_ms - PENALTY_LIFE_MS, PENALTIES_KEPT);
}

int penalty_refuse(struct call *c, int64_t left_ms)
{
    c->res->problem.retry_after_s = (unsigned)((left_ms + 999) / 1000);
    return call_refuse(c, REASON_RATE_LIMITED, "Too many failures; try again in a while.");
}
