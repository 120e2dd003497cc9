#pragma once
#include "dataplane/route/gate.h"
#include "dataplane/route/tls_proxies.h"
#include "lib/net/listener.h"
#include "lib/tunnel/server/tunnel_server.h"
/*
 * plain.h - the entrance for tunnels whose TLS a listed proxy has ended.
 *
 * WebSocket without TLS.  Whoever is not listed is closed before a byte is read, counted as a
 * refused link and logged at most once a second.
 *
 * Ownership  as tunnel_server: plain_free() ends its tunnels.
 * Threads    the worker's loop.
 */
struct plain;

struct plain_config {
    struct endpoint at;
    const struct tls_proxies *proxies;      /* outlives it */
    const struct tunnel_server_config *server;      /* copied; tls NULL */
    struct metric_slot *metrics;
};

MUST_CHECK int plain_open(const struct plain_config *config, struct plain **ret_plain, struct buf *reterr);
/* No new ones; those that are here have ms_left. */
void plain_drain(struct plain *p, const struct mux_goaway *goaway);
/* Adds its own to what the other entrance counted. */
void plain_add_stats(const struct plain *p, struct tunnel_server_stats *sum);
void plain_free(struct plain *p);
DEFINE_FREEP(plain, plain_free)
