#pragma once
#include "lib/base/addr.h"
/*
 * tls_proxies.h - the addresses of proxies that end TLS before this relay.
 *
 * What comes from there shows no certificate of the agent: its HELLO is signed instead.
 *
 * Threads    written before the start, read by any.
 */
#define TLS_PROXIES_MAX 64

struct tls_proxies {
    struct cidr items[TLS_PROXIES_MAX];
    size_t count;
};

static inline bool tls_proxies_have(const struct tls_proxies *p, const struct endpoint *peer)
{
    for (size_t i = 0; i < p->count; i++) {
        if (peer->kind == ENDPOINT_IP && cidr_has(&p->items[i], &peer->addr))
            return true;
    }
    return false;
}
