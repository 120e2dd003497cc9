#pragma once
#include "lib/member/member.h"
#include "lib/net/proxy.h"
#include "lib/net/tls.h"
/*
 * way.h - what stands between this agent and its relays.
 *
 * Ownership  borrowed; outlives whoever dials.
 */
struct way {
    const struct proxy *proxy;      /* HTTP proxy that TLS goes through; NULL: none */
    const char *tls_proxy_ca;       /* a proxy that ends TLS shows a certificate below these CAs (PEM
                                     * file, "system"), for its name; NULL: TLS ends at the relay */
};

/* The TLS towards relays.  chain and key are shown where the relay itself sees them; NULL: not
 * joined yet.  -EINVAL with a sentence: the file is none of CAs. */
MUST_CHECK int way_tls(const struct way *way, const struct trust *trust, struct chain *chain, struct key *key,
                       struct tls_ctx **ret_tls, struct buf *reterr);
