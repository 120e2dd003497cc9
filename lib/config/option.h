#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
/*
 * option.h - one row per option makes the flag, the variable, the YAML key, the range
 * check, the help and the reference page.
 *
 *     #define RELAY_OPTIONS(X)                                                             \
 *         X(STR,  tunnel_listen, "127.0.0.1:7443", 0, 0, 0, "address:port agents dial")    \
 *         X(MSEC, drain_ms,      "30s", 0, 3600000, OPTION_RELOAD, "streams may finish so long")
 *     struct relay_config { RELAY_OPTIONS(OPTION_FIELD) };
 *     #define RELAY_ROW(...) OPTION_ROW_OF(struct relay_config, __VA_ARGS__)
 *     static const struct option_row rows[] = { RELAY_OPTIONS(RELAY_ROW) };
 *
 * Precedence: flag, environment, file, default.  An unknown key is an error that names
 * the nearest known one.  Names: field drain_ms is --drain-ms, ADIT_RELAY_DRAIN_MS,
 * drain_ms: in YAML.  A LIST holds its items joined by '\n' (commas in flag and
 * environment, a sequence in YAML).  Variables that Kubernetes makes for services
 * (…_SERVICE_…, …_PORT, …_PORT_…) are no keys.
 *
 * Variables that other programs know too (HTTPS_PROXY) may stand in for a default: the
 * table's `shared` rows, of which the last that is set and not empty counts.
 *
 * Units      MSEC "1500", "1500ms", "30s", "5m", "2h", "7d"; SIZE "65536", "64K", "16M", "1G"
 *            (also KiB, MiB, GiB).  BOOL true or false; a flag alone is true.
 *
 * Shape      values land in the caller's struct: STR, LIST, PATH as char * (heap, never
 *            NULL), INT, MSEC, SIZE as int64_t (milliseconds, bytes), BOOL as bool.
 * Secrets    OPTION_SECRET options take their value from NAME_file only: a path, or the name
 *            of a systemd credential (no '/' in it); as a plain flag or key never; as a plain
 *            variable only when allow-env-secrets is set.  A line end at the end is dropped.
 *            Printed as "(set)".
 *            OPTION_URL options may hold user:password@: never in a flag, where others on the
 *            machine see it, and never printed.
 * Limits     1 MiB of YAML, 64 KiB of one value.
 * Ownership  option_free() frees the strings in the struct.
 * Errors     a message for a person in `reterr` (what, where, cure), 0 or -EINVAL.
 * Threads    start-up and reload only.
 */
enum option_type {
    OPTION_STR, OPTION_PATH, OPTION_LIST, OPTION_INT, OPTION_MSEC, OPTION_SIZE, OPTION_BOOL
};
enum { OPTION_SECRET = 1, OPTION_RELOAD = 2, OPTION_REQUIRED = 4, OPTION_URL = 8 };

typedef char *option_c_STR;
typedef char *option_c_PATH;
typedef char *option_c_LIST;
typedef int64_t option_c_INT;
typedef int64_t option_c_MSEC;
typedef int64_t option_c_SIZE;
typedef bool option_c_BOOL;

struct option_row {
    const char *name;           /* the field's name */
    enum option_type type;
    size_t offset;
    const char *fallback;       /* default, as text */
    int64_t min, max;           /* numbers; both 0: any non-negative */
    unsigned flags;
    const char *help;
};

#define OPTION_FIELD(type, name, fallback, min, max, flags, help) option_c_##type name;
#define OPTION_ROW_OF(owner, type, name, fallback, min, max, flags, help) \
    { #name, OPTION_##type, offsetof(owner, name), fallback, min, max, flags, help },

struct option_shared {
    const char *variable, *name;        /* "HTTPS_PROXY", "proxy" */
};

struct option_table {
    const char *program;        /* "adit-relay": for messages and help */
    const char *env_prefix;     /* "ADIT_RELAY_" */
    const char *summary;        /* first paragraph of --help */
    const struct option_row *rows;
    size_t count;
    const struct option_shared *shared; /* NULL: none */
    size_t shared_count;
};

enum option_action {            /* what the command line asks for */
    OPTION_RUN,
    OPTION_PRINT_CONFIG,        /* --print-config: each value and its origin */
    OPTION_CHECK_CONFIG,        /* --check-config: exit 0 or say what is wrong */
    OPTION_HELP,                /* --help */
    OPTION_VERSION,             /* --version */
    OPTION_REFERENCE,           /* --print-reference: the reference page, as Markdown */
};

struct option_origins;          /* where each value came from; for --print-config */

/* Reads flags (argv[1..]), the environment and the file that --config or ADIT_…_CONFIG
 * names into `config` (zeroed by the caller).  Positional arguments are refused.  For HELP,
 * VERSION and REFERENCE nothing is read, and `config` and `*ret_origins` stay empty. */
MUST_CHECK int option_load(const struct option_table *table, int argc, char **argv, void *config,
                           enum option_action *ret_action, struct option_origins **ret_origins,
                           struct buf *reterr);
/* Prints help, version, configuration or reference to stdout, as `action` says. */
void option_print(const struct option_table *table, const void *config,
                  const struct option_origins *origins, enum option_action action);
/* After SIGHUP: reads file and environment anew, takes what is OPTION_RELOAD over into
 * `config`, and names in `ret_report` what changed and what needs a restart. */
MUST_CHECK int option_reload(const struct option_table *table, int argc, char **argv, void *config,
                             struct buf *ret_report, struct buf *reterr);
void option_free(const struct option_table *table, void *config);
void option_origins_free(struct option_origins *origins);
DEFINE_FREEP(option_origins, option_origins_free)
/* The known word nearest to `word` (edit distance <= 3), or NULL. */
const char *option_nearest(struct span word, const char *const *known, size_t count);
/* Cuts the next item off a LIST value; start with *rest = span_str(value). */
bool option_list_next(struct span *rest, struct span *ret_item);
