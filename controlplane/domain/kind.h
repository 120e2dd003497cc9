#pragma once
#include "controlplane/domain/check.h"
/*
 * kind.h - every kind of object of the REST API, described once.
 *
 * The routes read, check, list and write all kinds by these rows; the contract says the
 * same to clients (a test compares the two).
 *
 * Threads    constants.
 */
enum kind_id {
    KIND_IDENTITY_PROVIDER,
    KIND_USER, KIND_SERVICE_ACCOUNT, KIND_GROUP, KIND_CREDENTIAL, KIND_AGENT, KIND_AGENT_GROUP, KIND_JOIN_TOKEN,
    KIND_PROFILE, KIND_GRANT, KIND_OVERRIDE, KIND_LOCK, KIND_QUOTA, KIND_API_TOKEN, KIND_SESSION, KIND_RELAY,
    KIND_PAC_LINK, KIND_EXPECTATION,
    KIND_COUNT
};

enum shape {
    SHAPE_ONE,          /* a single value */
    SHAPE_LIST,         /* an array of them */
    SHAPE_MAP,          /* labels: key to text */
    SHAPE_ROWS,         /* an array of objects: `rows` */
};

enum {
    FIELD_REQUIRED = 1,
    FIELD_IMMUTABLE = 2,        /* at creation only */
    FIELD_SECRET = 4,           /* never kept in the document */
    FIELD_FILTER = 8,           /* lists can be filtered by it */
    FIELD_SERVER = 16,          /* set by us; clients may not */
    FIELD_DISTINCT = 32,        /* no item twice */
};

struct field {
    const char *name;
    enum shape shape;
    enum leaf leaf;
    unsigned flags;
    struct check_limits limits;
    size_t items_min, items_max;        /* LIST, MAP, ROWS */
    enum kind_id ref;                   /* LEAF_REF: what it refers to; KIND_USER: a user or service account */
    const char *initial;                /* JSON, when it is not given; NULL: stays absent */
    const struct field *rows;           /* ROWS */
    size_t row_count;
};

enum {
    KIND_CREATE = 1,
    KIND_UPDATE = 2,
    KIND_DELETE = 4, /* what the API offers beside get and list */
    KIND_NAME_OPTIONAL = 8, /* without a name it gets its id in lower case */
    KIND_IN_STATE = 16, /* relays have a record of it */
};

#define KIND_CHOICES_MAX 2
#define KIND_MEMBERS_MAX 3

struct kind {
    enum kind_id id;
    const char *name, *plural;          /* "user", "users": in the store and in paths */
    unsigned flags;
    const struct field *fields;
    size_t field_count;
    const char *owner;                  /* the field with its user; "id": it is the user; NULL */
    const char *exactly_one[KIND_CHOICES_MAX];  /* "user group": one of these fields */
    const char *at_most_one;
    const char *secret, *purpose;       /* shown once as this member; in the store under this */
    const char *relation;               /* it has members, in the store under this; or NULL */
    enum kind_id member_kinds[KIND_MEMBERS_MAX];
    size_t member_kind_count;
    const struct field *member_fields;
    size_t member_field_count;
};

const struct kind *kind_at(enum kind_id id);
const struct kind *kind_by_name(struct span name);      /* NULL */
const struct kind *kind_by_plural(struct span plural);  /* NULL */
/* Description and labels too, which every kind has; NULL. */
const struct field *kind_field(const struct kind *kind, struct span name);
/* All fields: the common ones first; NULL past the last. */
const struct field *kind_field_at(const struct kind *kind, size_t i);
