#pragma once
#include "controlplane/routes/call.h"
#include "controlplane/routes/live.h"
/*
 * view.h - objects as the API shows them: the document, who made it and when, and what is
 * worked out for its kind (fingerprints, uses, who is connected).
 *
 * Ownership  view_deinit().
 * Errors     the store's; -ENOMEM.
 */
struct view {
    struct call *c;
    struct span fields;         /* "id,name": only these; empty: all */
    struct live live;
    bool has_live;
    bool has_names;             /* "user_name" beside "user" */
};

void view_init(struct view *v, struct call *c, struct span fields);
void view_deinit(struct view *v);
bool view_wants(const struct view *v, const char *name);
/* `key` as for the writer.  `secret`: shown as the kind's secret member; may be empty. */
MUST_CHECK int view_object(struct view *v, const struct store_object *object, const char *key,
                           struct span secret, struct json_writer *w);
/* The query parameter names=. */
MUST_CHECK int view_names(struct call *c, struct view *v);
/* The whole body: one object. */
MUST_CHECK int view_answer(struct call *c, const struct store_object *object, struct span fields,
                           struct span secret);
/* Rows of relays' reports and of the audit: members as they were kept, some renamed. */
MUST_CHECK int view_record(struct view *v, const struct store_object *row, struct json_writer *w);
void view_time(struct json_writer *w, const char *key, int64_t ms);
/* The query parameter fields=, checked. */
MUST_CHECK int view_fields(struct call *c, struct span *ret_fields);
