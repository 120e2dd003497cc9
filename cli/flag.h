#pragma once
#include "cli/resource.h"
/*
 * flag.h - the flags of `adit RESOURCE VERB`, made from the resource's fields.
 *
 * A field of one value is --field VALUE; a list is --field A,B (or the flag again), and on edit
 * also --add-field and --remove-field; labels are --labels KEY=VALUE and --remove-labels KEY; a
 * filter of a list is --field VALUE or --field-not VALUE.
 *
 * Threads    pure.
 */
enum flag_id {
    FLAG_FIELD,                 /* of the object, or of a membership */
    FLAG_FIELD_ADD, FLAG_FIELD_REMOVE,
    FLAG_FILTER, FLAG_FILTER_NOT,
    FLAG_QUERY,                 /* goes into the query as it is: limit, sort, q, … */
    FLAG_SESSION,               /* who asks whom; of the option table */
    FLAG_PASSWORD, FLAG_PASSWORD_FILE, FLAG_SECRET_FILE,
    FLAG_NAME, FLAG_BODY, FLAG_UNSET, FLAG_ALL, FLAG_OUTPUT, FLAG_DRY_RUN, FLAG_WAIT, FLAG_IF_MATCH,
    FLAG_CASCADE, FLAG_COLUMNS, FLAG_EXPECT, FLAG_OVERLAP,
};

struct flag {
    char name[72];              /* "add-source-networks": without its dashes */
    enum flag_id id;
    const struct field *field;  /* FIELD, FIELD_ADD, FIELD_REMOVE */
    char key[48];               /* QUERY, FILTER: the parameter */
    bool is_switch;             /* no value */
    bool may_repeat;
    const char *metavar;        /* "NAME" */
    const char *help;
    const char *words;          /* values it can have, separated by spaces; NULL: any */
    const char *refers;         /* the word of the resource whose names it takes; NULL */
};

#define FLAGS_MAX 80
struct flags {
    struct flag items[FLAGS_MAX];
    size_t count;
};

void flags_of(const struct resource *resource, enum verb_id verb, struct flags *ret_flags);
/* By its name without dashes; NULL. */
const struct flag *flags_find(const struct flags *flags, struct span name);
/* The nearest one to what was mistyped, or NULL. */
const char *flags_nearest(const struct flags *flags, struct span name);
