#include "dataplane/route/staying.h"
#include "lib/crypto/cert.h"

void staying_init(struct staying *s, uint64_t away_ms, uint64_t wait_ms, uint64_t now_ms)
{
    *s = (struct staying){ .away_ms = away_ms, .wait_ms = wait_ms, .started_ms = now_ms };
}

void staying_look(struct staying *s, uint64_t silence_ms, uint64_t now_ms)
{
    bool is_silent = silence_ms > s->away_ms;

    s->is_away = is_silent && now_ms - s->started_ms > s->away_ms;
    if (is_silent)
        s->back_ms = 0;
    else if (!s->back_ms)
        s->back_ms = now_ms;
}

bool staying_has_ended(int64_t not_after_s, int64_t now_s)
{
    return now_s > not_after_s + CERT_LEEWAY_S;
}

enum staying_verdict staying_judge(const struct staying *s, bool is_held, uint64_t now_ms)
{
    if (!is_held)
        return s->is_away ? STAYING_HOLD : STAYING_AS_IT_IS;
    return s->back_ms && now_ms - s->back_ms > s->wait_ms ? STAYING_END : STAYING_AS_IT_IS;
}
