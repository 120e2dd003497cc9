#pragma once
#include "lib/base/map.h"
#include "lib/policy/compare.h"
/*
 * compare_internal.h - the pieces of one user's targets (compare_pieces.c), and who is asked about
 * them (compare.c).  For these two files.
 *
 * Ownership  spots borrow what they point to from the policies.
 */
#define SPOTS_MAX 4096                  /* of a user */
#define BOUNDS_MAX 1024
#define PIECES_MAX 16384
#define SOURCES_MAX 16

/* Hosts and ports somewhere in a policy. */
struct spot {
    struct host_pattern host;
    const struct port_range *ports;     /* none: all */
    size_t port_count;
};
struct spots {
    struct spot *items;
    size_t count, room;
};

struct piece {
    const struct host_pattern *host;
    struct port_range ports;
    int verdict;                        /* from anywhere: below zero lost, above gained */
};

struct side_grant {
    const struct grant_record *grant;
    bool is_touched;
};
struct side {
    const struct policy *policy;
    struct side_grant *grants;          /* by subject */
    size_t count;
};

struct comparing {
    const struct compare_question *q;
    struct compare_summary *summary;
    struct side sides[2];               /* before, after */
    struct map touched;                 /* ids that changed, or that a changed lock is on */
    struct map subjects;                /* of the grants that are touched */
    bool is_all_touched, has_agents;
    struct spots wide;                  /* touched, whoever asks */
    struct spots common;                /* where decisions may differ, whoever asks */
    size_t decisions;
    bool is_spent;                      /* no decisions are left */
    struct addr lock_sources[SOURCES_MAX];
    size_t lock_source_count;

    /* Of the user that is looked at; the memory is kept for the next. */
    const struct user_record *users[2];
    struct spots known, areas;
    bool has_anywhere;                  /* some grant is not bound to hosts */
    uint32_t bounds[BOUNDS_MAX];
    size_t bound_count;
    struct piece *pieces;
    size_t piece_count;
    struct addr sources[SOURCES_MAX];
    size_t source_count;
};

/* More than fits is left out and makes the summary truncated. */
MUST_CHECK int spots_add(struct comparing *c, struct spots *s, const struct host_pattern *host,
                         const struct port_range *ports, size_t port_count);
void sources_add(struct comparing *c, struct addr *sources, size_t *count, const struct addr *source);
/* Cuts the user's areas into pieces and asks both sides about each. */
MUST_CHECK int pieces_compare(struct comparing *c);
