#pragma once
#include "lib/base/buf.h"
/*
 * check.h - the rules for single values of the API, each with its canonical form.
 *
 * The contract (api/openapi.yaml) says the same as patterns: what these refuse as invalid
 * no schema of it allows, and what a schema allows is at most a conflict.
 *
 * Errors     CHECK_INVALID: not of the form (422).  CHECK_CONFLICT: of the form, but it
 *            cannot mean anything (409).  The message is for people.
 * Threads    pure.
 */
enum leaf {
    LEAF_TEXT,          /* printable UTF-8; limits count characters */
    LEAF_NAME,          /* [a-z0-9-]{1,63} */
    LEAF_REF,           /* ULID or name of another object */
    LEAF_ENUM,          /* one of the field's words */
    LEAF_TIME,          /* RFC 3339; canonical in UTC to the second */
    LEAF_NETWORK,       /* address or prefix; host bits are cleared */
    LEAF_ADDRESS,
    LEAF_HOST,          /* name or *.suffix */
    LEAF_HOST_PATTERN,  /* name, *.suffix, address or prefix */
    LEAF_PORTS,         /* "80", "8000-8100" */
    LEAF_ACL_RULE,
    LEAF_SCOPE,         /* "users:read", "*:*" */
    LEAF_URL,           /* https:// without user info, query and fragment */
    LEAF_WORD,          /* printable ASCII without spaces, quotes, backslashes */
    LEAF_PEM,           /* certificates; lines end with a line feed */
    LEAF_UNIX_PATH,
    LEAF_HOUR,          /* "08:00" */
    LEAF_HOUR_END,      /* "24:00" too */
    LEAF_ZONE,          /* IANA name, by form only */
    LEAF_INT,
    LEAF_BOOL,
    LEAF_COUNT
};

enum check_result { CHECK_OK, CHECK_INVALID, CHECK_CONFLICT };

struct check_limits {
    int64_t min, max;           /* of characters, or of the number */
    const char *words;          /* LEAF_ENUM: separated by spaces */
};

/* Checks a text leaf and appends its canonical form to `out`.  `ret_message` is static. */
enum check_result check_text(enum leaf leaf, const struct check_limits *limits, struct span text,
                             struct buf *out, const char **ret_message);
bool check_label_key(struct span key);
bool check_word(struct span word, const char *words);
/* A host name in the form of the contract: lower case, no address. */
bool check_host_name(struct span name);
/* "users:read" is covered by "users:read", "users:*", "*:read", "*:*". */
bool scope_covers(struct span wide, struct span narrow);
