#pragma once
#include <stdbool.h>
#include <stdint.h>
/*
 * lane_rule.h - whether a relay is worth one more link, or one less.
 *
 * One more: each link carries `rate` bytes a second or more, and there are two bulk streams for
 * each link that there would be, in two measures in a row.  One less: for rest_ms the rest would
 * not carry half of that rate each, or there is no bulk stream for each link.
 *
 * Units      bytes, milliseconds.     Pure.
 */
#define LANE_BUSY_TIMES 2

enum lane_wish { LANE_KEEP, LANE_OPEN, LANE_CLOSE };

struct lane_rule {
    uint64_t rate;              /* bytes a second of a link */
    uint64_t rest_ms;
    unsigned busy;              /* measures in a row */
    uint64_t calm_since_ms;     /* 0: it is not */
};

struct lane_load {              /* of all links to a relay, since the last measure */
    unsigned links, links_max;
    uint64_t bytes, ms;
    uint32_t bulk;
};

enum lane_wish lane_rule_judge(struct lane_rule *r, const struct lane_load *now, uint64_t now_ms);
