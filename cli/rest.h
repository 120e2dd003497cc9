#pragma once
#include "cli/ask.h"
/*
 * rest.h - calls of the API in the name of one command.
 *
 * Errors     said to stderr.
 * Threads    one.
 */
#define REST_PATH_MAX 4000

struct rest_path {
    struct buf text;
    char mem[REST_PATH_MAX + 1];
    bool has_query;
};

/* "/api/v1/users", then segments and query as they are added, escaped. */
void rest_path_init(struct rest_path *path, const char *plural);
void rest_path_add(struct rest_path *path, const char *segment);
void rest_path_query(struct rest_path *path, const char *key, const char *value);
/* dry_run and wait, as the flags say. */
void rest_path_modes(struct rest_path *path, const struct ask *ask);

/* False: there was no answer, and it was said. */
bool rest_send(struct ask *ask, const struct api_request *request, struct api_answer *ret_answer);
/* Said when a write is done, but not everywhere: EXIT_PENDING; otherwise EXIT_OK. */
int rest_done(const struct api_answer *answer);
