#include "lib/policy/window.h"

#define DAY_S ((int64_t)86400)

/* The offset at `now_s`, and when the next one begins. */
static int64_t offset_at(const struct zone_offset *offsets, size_t count, int64_t now_s, int64_t *ret_next_s)
{
    int64_t offset = count ? offsets[0].offset_s : 0;

    *ret_next_s = WINDOW_NEVER;
    for (size_t i = 0; i < count; i++) {
        if (offsets[i].from_s > now_s) {
            if (i > 0)
                *ret_next_s = offsets[i].from_s;
            else if (count > 1)                 /* the first holds before its begin, too */
                *ret_next_s = offsets[1].from_s;
            break;
        }
        offset = offsets[i].offset_s;
    }
    return offset;
}

static int64_t day_of(int64_t local_s)
{
    return local_s / DAY_S - (local_s % DAY_S < 0);
}

/* 1970-01-01 was a Thursday; bit 0 is Monday. */
static bool has_day(const struct grant_window *w, int64_t day)
{
    return w->days >> ((day % 7 + 10) % 7) & 1;
}

/* The window that begins on `day`: [begin, end) in local seconds. */
static void span_of_day(const struct grant_window *w, int64_t day, int64_t *ret_begin,
                        int64_t *ret_end)
{
    *ret_begin = day * DAY_S + w->from_min * 60;
    *ret_end = (w->to_min <= w->from_min ? day + 1 : day) * DAY_S + w->to_min * 60;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* From yesterday, whose window may still be open, to a week from now. */
static bool scan(const struct grant_window *w, int64_t local_s, int64_t *again_s)
{
    int64_t today = day_of(local_s), begin, end;
    bool holds = false;

    for (int64_t day = today - 1; day <= today + 7; day++) {
        if (!has_day(w, day))
            continue;
        span_of_day(w, day, &begin, &end);
        if (begin > local_s)
            *again_s = earlier(*again_s, begin);
        else if (end > local_s) {
            *again_s = earlier(*again_s, end);
            holds = true;
        }
    }
    return holds;
}

bool window_holds(const struct grant_record *g, int64_t now_ms, int64_t *ret_again_ms)
{
    int64_t now_s = now_ms / 1000, next_offset_s, again_local_s = WINDOW_NEVER, again_s;
    int64_t offset_s = offset_at(g->offsets, g->offset_count, now_s, &next_offset_s);
    bool holds = g->window_count == 0;

    for (size_t i = 0; i < g->window_count; i++)
        holds |= scan(&g->windows[i], now_s + offset_s, &again_local_s);
    again_s = again_local_s == WINDOW_NEVER ? WINDOW_NEVER : again_local_s - offset_s;
    if (g->window_count > 0)
        again_s = earlier(again_s, next_offset_s);
    *ret_again_ms = again_s == WINDOW_NEVER ? WINDOW_NEVER : again_s * 1000;
    return holds;
}

/* The moment at which a clock in the zone shows `local_s`: with the offset that holds there. */
static int64_t moment_of(const struct zone_offset *offsets, size_t count, int64_t local_s)
{
    int64_t next_s, before = local_s - offset_at(offsets, count, local_s, &next_s);

    return local_s - offset_at(offsets, count, before, &next_s);
}

struct window_day window_day(const struct zone_offset *offsets, size_t count, int64_t now_ms)
{
    int64_t now_s = now_ms / 1000, next_s;
    int64_t day = day_of(now_s + offset_at(offsets, count, now_s, &next_s));
    struct window_day found = { moment_of(offsets, count, day * DAY_S) * 1000,
                                moment_of(offsets, count, (day + 1) * DAY_S) * 1000 };

    if (found.begin_ms > now_ms)            /* an offset changed between: the hour is there twice */
        found.begin_ms = now_ms;
    if (found.end_ms <= now_ms)
        found.end_ms = now_ms + 1000;
    return found;
}
