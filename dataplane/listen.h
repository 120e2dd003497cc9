#pragma once
#include "dataplane/config.h"
#include "dataplane/doors/door.h"
/*
 * listen.h - where the relay listens: its doors, one row each, and what the option table
 * cannot check.
 *
 * Threads    before the workers run.
 * Errors     -EINVAL with a text for a person.
 */
#define LISTEN_DOORS 4

struct listen_row {
    const char *option;
    size_t listen;              /* offset in struct relay_config */
    const struct door_protocol *protocol;
    bool is_tls;
};
extern const struct listen_row listen_rows[LISTEN_DOORS];

/* The option's text; "": no such door. */
const char *listen_text(const struct relay_config *c, const struct listen_row *row);
MUST_CHECK int listen_parse(const char *option, const char *text, struct endpoint *ret_at, struct buf *reterr);
/* proxy_protocol_from. */
MUST_CHECK int listen_proxies(const struct relay_config *c, struct door_config *door, struct buf *reterr);
/* tls_proxies, and plain_listen (*ret_at is left alone without one), which needs them. */
MUST_CHECK int listen_tls_proxies(const struct relay_config *c, struct tls_proxies *proxies, struct endpoint *ret_at,
                                  struct buf *reterr);
/* No door takes secrets in the clear beyond loopback unless that is wanted. */
MUST_CHECK int listen_check_door(const struct relay_config *c, const struct listen_row *row, struct buf *reterr);
