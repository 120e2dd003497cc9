#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
/*
 * proxy.h - the HTTP proxy that stands between here and the outside, and whom it is not for.
 *
 * Shape      "http://user:password@host:port": user and password are percent-encoded, port 80
 *            when none is named.  Loopback is always dialled directly.
 * Bypass     NO_PROXY's list: items behind commas, line ends or blanks: "*"; a name, which
 *            stands for all below it too (a leading "*." or "." says no more); an address; a
 *            CIDR; each with ":port" or without.
 * Secrets    credentials are never printed; proxy_wipe() clears them.
 * Errors     -EINVAL with a sentence for a person, which does not repeat the URL.
 * Threads    no state.
 */
#define PROXY_HOST_MAX 254
#define PROXY_CREDENTIALS_MAX 512

struct proxy {
    char host[PROXY_HOST_MAX];
    uint16_t port;
    char credentials[PROXY_CREDENTIALS_MAX];    /* "user:password" as Basic takes it; "": none */
    const char *bypass;                         /* borrowed; NULL: nobody */
};

MUST_CHECK int proxy_parse(struct span url, struct proxy *ret_proxy, struct buf *reterr);
/* "user:password" from elsewhere (a file), in place of what the URL said. */
MUST_CHECK int proxy_set_credentials(struct proxy *p, struct span text, struct buf *reterr);
/* NO_PROXY's list: false when an item is none of those above; *ret_item is that one. */
bool proxy_bypass_is_valid(struct span list, struct span *ret_item);
void proxy_wipe(struct proxy *p);
/* Whether a connection to host (a name, or an address without brackets) goes through it. */
bool proxy_is_for(const struct proxy *p, struct span host, uint16_t port);
