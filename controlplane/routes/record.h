#pragma once
#include "controlplane/routes/query.h"
/*
 * record.h - the lists that are not objects: streams, route decisions, audit events.
 *
 * Threads    constants.
 */
struct record_source {
    const char *plural;         /* in paths and operations */
    enum store_source source;
    const struct asked_filter *filters;
    size_t filter_count;
    const char *owner;          /* the member with the user; NULL: nobody's own */
    bool has_own_get;           /* listed here, shown elsewhere */
};

/* The row of the path, when the caller may see it. */
MUST_CHECK int record_find(struct call *c, struct store_object **ret_row, struct json_value **ret_doc);
const struct record_source *record_source_at(size_t i);        /* NULL past the last */
