#pragma once
#include "controlplane/routes/call.h"
/*
 * config.h - what is declared as one document: which kinds, in which order.
 *
 * A document is {"users": [...], "groups": [...], …}; objects are named, references are names,
 * groups have `members`.  Kinds that are worth a secret (credentials, tokens) and those that come by
 * joining alone (relays, sessions) have no place in it.
 *
 * Threads    constants.
 */

/* In an order in which each finds what it refers to; NULL past the last. */
const struct kind *config_kind_at(size_t i);
/* NULL: no kind of the document. */
const struct kind *config_kind_by_plural(struct span plural);

/* ---- one object of the document, as if it were sent alone ---- */
struct config_step {
    struct call call;           /* with request, route and rights of its own */
    struct request req;
    struct response res;
    struct call *whole;
};

/* `operation` like "users.create"; `body` lives until config_step_deinit().  CALL_E_ANSWERED: the
 * caller may not, and the whole says so. */
MUST_CHECK int config_step_init(struct config_step *step, struct call *whole, const struct kind *kind,
                                const char *verb, struct span body);
/* Hands a refusal on to the whole, with the place in the document in front of its pointers. */
MUST_CHECK int config_step_end(struct config_step *step, int r, const char *pointer, struct span name);
void config_step_deinit(struct config_step *step);

/* ---- what was done, for the answer ---- */
enum config_action { CONFIG_CREATE, CONFIG_UPDATE, CONFIG_DELETE, CONFIG_MEMBER, CONFIG_SAME, CONFIG_ACTIONS };

struct config_changes {
    struct buf text;            /* the items of "changes" */
    struct json_writer w;
    uint64_t counts[CONFIG_ACTIONS], taken_over, left_out;
    size_t listed;
};
#define CONFIG_LISTED_MAX 1000

void config_changes_init(struct config_changes *changes);
void config_changes_deinit(struct config_changes *changes);
/* An object; `before` and `after` (may be NULL) give the fields of an update. */
MUST_CHECK int config_changes_add(struct config_changes *changes, struct store_tx *tx,
                                  enum config_action action, const struct kind *kind, struct span name,
                                  const struct json_value *before, const struct json_value *after);
/* A member: "add", "change", "remove". */
void config_changes_member(struct config_changes *changes, const char *what, const struct kind *kind,
                           struct span group, struct span member);
/* The same for what a removal noted (an array of kind, id, name); its length comes back. */
MUST_CHECK int config_changes_removed(struct config_changes *changes, struct span list,
                                      size_t *ret_count);
void config_changes_print(const struct config_changes *changes, struct json_writer *w);

/* ---- members (config_member.c) ---- */
MUST_CHECK int config_members_apply(struct call *whole, const struct kind *kind,
                                    const struct store_object *group, const struct json_value *members,
                                    const char *pointer, struct config_changes *changes);
