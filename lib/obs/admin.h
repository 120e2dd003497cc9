#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
#include "lib/net/loop.h"
/*
 * admin.h - a small HTTP listener for those who watch: /healthz, /readyz, /metrics.
 *
 * /healthz   200 while the loop turns.
 * /readyz    200, or 503 with the reasons, as is_ready() says.
 * /metrics   what write_metrics() writes.
 *
 * One request for each connection, GET and HEAD only, no body.
 *
 * Limits     4 KiB of head, 64 connections (more are closed at once), 10 s for a connection
 *            from accept to its end, 4 MiB of an answer.
 * Threads    its loop's thread; both functions are called there and must not block.
 * Ownership  admin_free() drops its connections; the loop outlives it.
 * Errors     as listener_open().
 */
struct admin;

struct admin_config {
    struct endpoint at;
    /* Ready to serve?  If not, one line for each thing that is missing. */
    bool (*is_ready)(void *arg, struct buf *ret_why);
    void (*write_metrics)(void *arg, struct buf *out);
    void *arg;
    unsigned conns_max;         /* 0: 64 */
    uint32_t conn_ms;           /* 0: 10,000 */
};

MUST_CHECK int admin_open(struct loop *l, const struct admin_config *config,
                          struct admin **ret_admin, struct buf *reterr);
void admin_free(struct admin *a);
DEFINE_FREEP(admin, admin_free)
struct endpoint admin_endpoint(const struct admin *a);  /* the real port */
