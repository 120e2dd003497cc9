#pragma once
#include "lib/config/option.h"
/*
 * option_internal.h - the texts that the sources gave, before they become values.
 *
 * A source puts texts; the strongest source of a row wins, and within one source the last.
 */
#define OPTION_FILE_MAX (1024 * 1024)
#define OPTION_VALUE_MAX (64 * 1024)
#define OPTION_NAME_MAX 64

enum option_source {
    OPTION_FROM_FLAG, OPTION_FROM_ENV, OPTION_FROM_FILE, OPTION_FROM_SHARED, OPTION_FROM_DEFAULT
};

struct option_text {
    char *text, *where;         /* where: "--drain-ms", "ADIT_RELAY_DRAIN_MS", "relay.yaml:3" */
    enum option_source source;
    bool is_path;               /* text is the path of the file that holds the secret */
    bool is_in_file;            /* the file has the key, whoever won */
};

struct option_origins {
    const struct option_table *table;
    char *config_path;          /* NULL: no file */
    bool allows_env_secrets;
    enum option_action action;
    struct option_text items[]; /* one for each row */
};

/* What a source says about one key. */
struct option_claim {
    enum option_source source;
    struct span name;           /* as in YAML: drain_ms */
    struct span text;
    const char *where;
};

/* Sources: each puts what it has.  0, -EINVAL with reterr, -ENOMEM. */
int option_read_flags(struct option_origins *o, int argc, char **argv, struct buf *reterr);
int option_read_env(struct option_origins *o, char **environment, struct buf *reterr);
int option_read_shared(struct option_origins *o, struct buf *reterr);
int option_read_file(struct option_origins *o, struct buf *reterr);
int option_read_yaml(struct option_origins *o, struct span text, const char *path,
                     struct buf *reterr);
int option_read_defaults(struct option_origins *o, struct buf *reterr);

/* Takes a claim to its row.  Unknown names and plain secrets are refused. */
int option_put(struct option_origins *o, const struct option_claim *claim, struct buf *reterr);
/* The row that `name` (as in YAML) means; `ret_is_path` for NAME_file of a secret. */
const struct option_row *option_find(const struct option_table *table, struct span name,
                                     bool *ret_is_path);
int option_refuse_unknown(const struct option_table *table, struct span name, const char *where,
                          struct buf *reterr);
/* Whether the text of the claim is "true" or "false". */
int option_bool(const struct option_claim *claim, bool *ret_value, struct buf *reterr);
/* Whole file into `out`; a line end at its end is dropped. */
int option_slurp(const char *path, struct buf *out, struct buf *reterr);

/* An OPTION_URL that holds user and password. */
bool option_has_userinfo(const struct option_row *row, struct span text);
/* Text to value, into the row's field of `config`; value to text (secrets: "(set)"). */
int option_value_parse(const struct option_row *row, const struct option_text *from, void *config,
                       struct buf *reterr);
void option_value_print(const struct option_row *row, const void *config, struct buf *out);
bool option_value_eq(const struct option_row *row, const void *a, const void *b);
void option_value_swap(const struct option_row *row, void *a, void *b);
size_t option_value_size(enum option_type type);
bool option_is_text(enum option_type type);
