#pragma once
#include "controlplane/routes/call.h"
/*
 * body.h - a request's JSON into an object's canonical document, by the kind's descriptor.
 *
 * What the contract's schema does not allow is 422 with errors[]; what it allows but cannot
 * be, 409.  References become ids.
 *
 * Ownership  body_deinit(); spans point into the parsed request.
 * Errors     CALL_E_ANSWERED; the store's; -ENOMEM.
 */
#define BODY_REFS_MAX 8

struct body {
    struct json_value *input;           /* as it was sent */
    struct json_value *doc;             /* canonical */
    struct buf text;                    /* the same as text */
    struct span name;                   /* creation; empty: none */
    bool has_secret;                    /* the kind's secret field was sent; empty `secret`: to be taken away */
    struct span secret;
    struct change_ref refs[BODY_REFS_MAX];
    size_t ref_count;
};

void body_deinit(struct body *b);
/* A new object. */
MUST_CHECK int body_create(struct call *c, struct body *ret_body);
/* A merge patch upon what is there. */
MUST_CHECK int body_update(struct call *c, const struct store_object *object,
                           struct body *ret_body);
/* The document of a membership: an empty body is one without members. */
MUST_CHECK int body_member(struct call *c, struct body *ret_body);
/* How long a secret or key is good beside the one that takes its place: {"overlap_s"} or no body at
 * all; *ret_overlap_s is what it is then. */
MUST_CHECK int body_overlap(struct call *c, int64_t overlap_max_s, int64_t *ret_overlap_s);
/* Parses the request's body as an object. */
MUST_CHECK int body_parse(struct call *c, struct json_value **ret_value);
