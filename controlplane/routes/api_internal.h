#pragma once
#include "controlplane/routes/api.h"
#include "controlplane/routes/hub.h"
#include "controlplane/routes/uses.h"
#include "controlplane/routes/wait.h"
/*
 * api_internal.h - the api's own parts; for this room alone.
 */
struct api {
    struct api_options options;
    struct route *routes;
    size_t route_count, own_count;      /* the first own_count rows are ours */
    struct waits waits;
    struct hub *hub;
    struct uses uses;
};

/* What a kept answer is bound to beside principal, key and operation: body and query. */
void api_request_hash(const struct request *req, char ret_hex[SHA256_HEX]);

/* Fills the table (table.c). */
MUST_CHECK int api_make_routes(struct api *api);
