#pragma once
#include "controlplane/routes/call.h"
/*
 * query.h - what a list was asked for: limit, cursor, sort, q, count, filters.
 *
 * Ownership  spans point into the request and into `struct asked`.
 * Errors     CALL_E_ANSWERED; the store's (a filter may name an object).
 */
struct asked {
    struct store_query query;
    struct span fields;
    bool has_count;
    struct ulid refs[STORE_FILTERS_MAX];        /* what filters by reference resolved to */
};

struct asked_filter {           /* one query parameter */
    const char *name, *field;   /* "actor_id", "actor.id" */
    enum kind_id ref;           /* KIND_COUNT: not a reference */
    const char *words;          /* not NULL: one of these */
};

/* Objects of the call's kind: its filter fields, each also as NAME.ne. */
MUST_CHECK int asked_read(struct call *c, struct asked *ret_asked);
/* Rows of relays' reports and the audit: newest first. */
MUST_CHECK int asked_read_records(struct call *c, enum store_source source,
                                  const struct asked_filter *filters, size_t count,
                                  struct asked *ret_asked);
/* Adds a filter for what is the caller's own, when he may see no more. */
MUST_CHECK int asked_own(struct call *c, const char *field, struct asked *asked);
/* NAME=, checked as a filter by text; absent leaves *ret_text. */
MUST_CHECK int asked_plain(struct call *c, const char *name, struct span *ret_text);
/* limit=, checked. */
MUST_CHECK int asked_limit(struct call *c, size_t *ret_limit);
