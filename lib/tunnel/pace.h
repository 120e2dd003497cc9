#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * pace.h - how much of a link may lie between us and the peer's kernel.
 *
 * What is beyond the need of the path only waits, and what waits cannot be overtaken: so
 * lowest round trip x highest recent rate, plus 20 ms of that rate, at least 8 KiB (65 ms of a
 * link of 1 Mbit/s), and at most what a near peer can want.  What was measured is what was asked
 * for, though: while round trips are as short as ever nothing waits, and it may be twice as much.
 *
 * Units      bytes, microseconds, bytes a second.     Threads  pure.
 */
#define PACE_MIN_BYTES 8192
#define PACE_UNKNOWN_BYTES 524288       /* while no rate is known */
#define PACE_MAX_BYTES (16u << 20)
#define PACE_EXTRA_US 20000
#define PACE_QUEUE_US 10000             /* round trips that much longer: something waits */
#define PACE_NEAR_RTT_US 1000
#define PACE_NEAR_INPUT_BYTES (512 * 1024)
#define PACE_NEAR_BUDGET_BYTES (1280 * 1024)

struct pace {
    uint32_t rtt_us;            /* lowest of the last windows; 0: unknown */
    uint32_t now_rtt_us;
    uint64_t rate;              /* highest of the last windows; 0: unknown */
    uint32_t next_rtt_us;       /* of the window under way */
    uint64_t next_rate;
    uint64_t window_ends_ms;
    size_t unsent;              /* in our kernel at the most: as it said last, and given since */
};

/* What the kernel says now. */
void pace_measure(struct pace *p, uint32_t lowest_rtt_us, uint32_t rtt_us, uint64_t bytes_per_s,
                  uint64_t now_ms);
/* How many bytes may be in flight. */
size_t pace_budget(const struct pace *p);
/* A peer so near needs no more than 512 KiB in our kernel (PACE_NEAR_INPUT_BYTES): left alone it
 * takes megabytes, and a queue there delays all that comes after it. */
bool pace_is_near(const struct pace *p);
/* True: there is room, whatever the kernel would say; else it is to be asked, and told. */
bool pace_has_room(const struct pace *p);
void pace_unsent(struct pace *p, size_t bytes);
void pace_sent(struct pace *p, size_t bytes);
/* When to look again, `over` bytes being too many: 1..20 ms. */
uint32_t pace_wait_ms(const struct pace *p, size_t over);
