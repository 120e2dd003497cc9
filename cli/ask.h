#pragma once
#include "cli/flag.h"
#include "cli/session.h"
/*
 * ask.h - `adit RESOURCE VERB …`, read and ready to be done.
 *
 * Ownership  ask_deinit(); words and values point into argv.
 * Errors     said to stderr; false.
 * Threads    one.
 */
enum ask_output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_ID, OUTPUT_ETAG };

#define ASK_SESSION(X)                                                                         \
    X(PATH, var, "var", 0, 0, 0, "state directory of adit up")                                 \
    X(STR, api, "", 0, 0, 0, "https://host:port of the control plane; empty: that of --var")   \
    X(PATH, ca_file, "", 0, 0, 0, "what its certificate is checked against; empty: VAR/ca.pem") \
    X(PATH, token_file, "", 0, 0, 0, "file with an API token; empty: VAR/credentials")

struct ask_config { ASK_SESSION(OPTION_FIELD) };

#define ASK_GIVEN_MAX 128
struct given {
    const struct flag *flag;
    const char *value;          /* NULL: a switch */
};

struct ask {
    const struct resource *resource;
    enum verb_id verb;
    struct flags flags;
    const char *words[ASK_WORDS_MAX];
    size_t word_count;
    struct given given[ASK_GIVEN_MAX];
    size_t given_count;
    enum ask_output output;
    bool wants_help;
    struct ask_config config;
    struct session session;
};

/* argv[0] is the verb. */
bool ask_read(const struct resource *resource, enum verb_id verb, int argc, char **argv,
              struct ask *ret_ask);
void ask_deinit(struct ask *ask);
/* The last value that the flag was given; NULL: none, or a switch that is not set ("" when it is). */
const char *ask_value(const struct ask *ask, enum flag_id id);
static inline bool ask_has(const struct ask *ask, enum flag_id id)
{
    return ask_value(ask, id) != NULL;
}
/* "+8h", "-1d" from now as RFC 3339; anything else as it is. */
const char *ask_time(const char *text, int64_t now_s, char *mem, size_t size);
