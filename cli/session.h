#pragma once
#include "cli/api.h"
#include "cli/command.h"
#include "cli/place.h"
/*
 * session.h - what every command that asks the control plane has: where it is, who asks.
 *
 * Without options it is the Adit that `adit up` runs (or last ran) on --var.  Elsewhere:
 * --api, --ca-file and --token-file, or ADIT_CLI_API and so on.
 *
 * Errors     said to stderr; false.
 * Threads    one.
 */
#define SESSION_OPTIONS(X)                                                                     \
    X(PATH, var, "var", 0, 0, 0, "state directory of adit up")                                 \
    X(STR, api, "", 0, 0, 0, "https://host:port of the control plane; empty: that of --var")   \
    X(PATH, ca_file, "", 0, 0, 0, "what its certificate is checked against; empty: VAR/ca.pem") \
    X(PATH, token_file, "", 0, 0, 0, "file with an API token; empty: VAR/credentials")         \
    X(STR, output, "text", 0, 0, 0, "text or json")

struct session_options {
    const char *var, *api, *ca_file, *token_file;
};
#define SESSION_OF(config) \
    (&(struct session_options){ (config)->var, (config)->api, (config)->ca_file, (config)->token_file })

struct session {
    struct api *api;
    struct place place;
    bool has_place;             /* a state directory is there */
    bool is_running;            /* adit up runs on it */
    int pid;
};

/* Finds the place: never fails. */
void session_locate(struct session *s, const struct session_options *options);
bool session_open(struct session *s, const struct session_options *options);
/* Without a token: to log in. */
bool session_open_anonymous(struct session *s, const struct session_options *options);
/* A GET whose answer is 2xx with JSON. */
bool session_get(struct session *s, const char *path, struct api_answer *ret_answer);
void session_close(struct session *s);
void session_print_json(const struct json_value *value);
