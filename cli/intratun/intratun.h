#pragma once
#include "lib/json/json.h"
/*
 * intratun.h - an intratun installation as a plan of what to make here.
 *
 * Trust      the files are anybody's: nothing of them is run, followed or believed to be in range.
 * Limits     YAML of INTRATUN_YAML_MAX, a database of INTRATUN_DATABASE_MAX, INTRATUN_ROWS_MAX rows of a
 *            table and INTRATUN_TEXT_MAX bytes of a value; what does not fit is an error.
 * Secrets    of users: their bcrypt hashes; of agents' log-ins: passwords as they stood in clear in the
 *            YAML.  Both stand in `secrets` alone, which is wiped.
 * Errors     -errno and a sentence in reterr.
 * Threads    one.
 */
#define INTRATUN_YAML_MAX ((size_t)16 << 20)
#define INTRATUN_DATABASE_MAX ((int64_t)1 << 30)
#define INTRATUN_ROWS_MAX 200000
#define INTRATUN_TEXT_MAX 65536
#define INTRATUN_NOTES_MAX 1000

/* What was read; each a JSON value, or NULL: it was not given. */
struct intratun_source {
    struct json_value *agents;          /* an array of objects */
    struct json_value *overrides;       /* likewise */
    struct json_value *tables;          /* {"users": [row, …], "agent_groups": …}, columns as members */
    int64_t audit_events;               /* that stay behind */
};
void intratun_source_deinit(struct intratun_source *s);
/* `list`: "agents", "overrides": the member that holds it, if the document is not the list itself. */
MUST_CHECK int intratun_read_yaml(const char *path, const char *list, struct json_value **ret_value,
                                  struct buf *reterr);
MUST_CHECK int intratun_read_database(const char *path, struct intratun_source *s, struct buf *reterr);

struct intratun_options {
    struct span acl_allow;              /* the relay's own, as it was configured; for agents without one */
    bool agent_logins;                  /* agents' log-ins at the proxy become users */
};

struct intratun_plan {
    struct buf document;                /* for PUT /config */
    struct buf secrets;                 /* [{"user", "password_hash"} or {"user", "password"}, …] */
    struct buf notes;                   /* what cannot be carried over, and why: one to a line */
    size_t note_count;
};
/* -ENOBUFS: more than a document may hold; -ENOMEM. */
MUST_CHECK int intratun_plan_make(const struct intratun_source *s, const struct intratun_options *options,
                                  struct intratun_plan *ret_plan, struct buf *reterr);
void intratun_plan_deinit(struct intratun_plan *p);

/* ---- pattern.c ---- */
/* A regular expression on "host:port", unanchored, as an access rule.  False: no rule says that, and
 * `*ret_why` is why. */
bool intratun_rule(struct span pattern, struct buf *ret_rule, const char **ret_why);

/* ---- names.c ---- */
#define INTRATUN_NAME_MAX 63
struct intratun_names;
MUST_CHECK int intratun_names_new(struct intratun_names **ret_names);
void intratun_names_free(struct intratun_names *n);
DEFINE_FREEP(intratun_names, intratun_names_free)
/* A name of [a-z0-9-] that nobody has, as near as can be to `wish`; `key` finds it again, with the row that it
 * is of.  -EEXIST: the key is there already; -ENOSPC. */
struct intratun_named {
    const char *name;
    size_t row;
};
MUST_CHECK int intratun_names_add(struct intratun_names *n, struct span key, struct span wish, size_t row,
                                  const char **ret_name);
bool intratun_names_find(const struct intratun_names *n, struct span key, struct intratun_named *ret);
