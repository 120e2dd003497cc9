#pragma once
#include "lib/policy/decide.h"
/*
 * compare.h - what a change gives and takes: who reaches what before it and after it.
 *
 * Every agent counts as live and every quota as free: compared is what is declared, as of one
 * moment.  The targets that the change can touch are cut into pieces (a host pattern without what
 * is more specific in it, a range of ports) on which the decision is the same throughout, and
 * both policies are asked once for each piece of each user that it concerns.
 *
 * Sources    from 127.0.0.1, and from each network that a grant of the user, or a lock that
 *            changed, names.
 * Rough      globs in agents' lists cannot be cut into pieces: a piece may then be said to change
 *            as a whole where only some of it does, or the other way round.
 * Cost       a walk over users and grants when the change touches access at all, and two
 *            decisions for each piece, at most `decisions_max`.
 * Ownership  an item lives for the call; what it points to, as long as the policies.
 * Threads    pure but for memory.
 * Errors     -ENOMEM.
 */
#define COMPARE_DECISIONS_MAX 200000

struct compare_changed {
    enum record_kind kind;
    struct ulid id;
};

struct compare_item {
    bool is_gain;
    const struct user_record *user;
    char host[320];                     /* a host pattern; "*": any name */
    struct port_range ports;
    bool has_source;                    /* only from there: */
    struct addr source;
    struct target witness;              /* one target of it */
    const struct policy_decision *allowed, *refused;    /* one is before, one after; of the witness */
};

struct compare_question {
    const struct policy *before, *after;
    const struct compare_changed *changed;      /* all that may differ between the two */
    size_t changed_count;
    int64_t now_ms;
    size_t decisions_max;               /* 0: COMPARE_DECISIONS_MAX */
    void (*item)(void *ctx, const struct compare_item *item);
    void *ctx;
};

struct compare_summary {
    uint64_t gains, losses;
    bool is_truncated;                  /* not all was looked at: there may be more */
    bool is_rough;
};

MUST_CHECK int policy_compare(const struct compare_question *q, struct compare_summary *ret_summary);
