#pragma once
#include <stdbool.h>
#include <stdint.h>
/*
 * staying.h - what an agent may do whose certificate has ended: renew, and carry streams only
 * while the control plane is known to be away.
 *
 * Known to be away: nothing was heard of it for away_ms, and for as long somebody here has
 * listened - right after a start nobody knows yet.  Once it is back, who was let in meanwhile
 * has wait_ms to renew.
 *
 * Pure: times come in; *_ms are monotonic milliseconds, *_s Unix seconds.
 */
struct staying {
    uint64_t away_ms, wait_ms;
    uint64_t started_ms;
    uint64_t back_ms;               /* the control plane has been there since; 0: it is not */
    bool is_away;
};

enum staying_verdict {
    STAYING_AS_IT_IS,
    STAYING_HOLD,                   /* let in to renew, and nobody there who could: carry streams */
    STAYING_END,                    /* held, and could have renewed */
};

void staying_init(struct staying *s, uint64_t away_ms, uint64_t wait_ms, uint64_t now_ms);
/* Nothing was heard of the control plane for `silence_ms`. */
void staying_look(struct staying *s, uint64_t silence_ms, uint64_t now_ms);
/* The certificate's end is past, clocks that differ a little allowed for. */
bool staying_has_ended(int64_t not_after_s, int64_t now_s);
/* Of an agent whose certificate has ended. */
enum staying_verdict staying_judge(const struct staying *s, bool is_held, uint64_t now_ms);
