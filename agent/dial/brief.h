#pragma once
#include "lib/base/addr.h"
/*
 * brief.h - an endpoint without the room that each has for a Unix socket's path: sessions keep
 * several, and there are many.
 *
 * Ownership  brief_set() copies; brief_deinit() frees.  Zeroed it is ENDPOINT_NONE.
 * Errors     without memory for a path it is the empty path, which nothing permits.
 */
struct brief {
    enum endpoint_kind kind;
    uint16_t port;
    struct addr addr;
    char *path;                 /* ENDPOINT_UNIX */
};

void brief_set(struct brief *b, const struct endpoint *e);
struct endpoint brief_endpoint(const struct brief *b);
void brief_deinit(struct brief *b);
