#include "agent/uplink/way.h"
#include <errno.h>

int way_tls(const struct way *way, const struct trust *trust, struct chain *chain, struct key *key,
            struct tls_ctx **ret_tls, struct buf *reterr)
{
    const struct tls_config to_relay = {
        .chain = chain,
        .key = key,
        .verify = TLS_VERIFY_REQUIRED,
        .trust = *trust,
        .kinds = TLS_KIND(CERT_RELAY),
    };
    const struct tls_config to_proxy = {
        .is_public = true,
        .verify = TLS_VERIFY_REQUIRED,
        .ca_file = way->tls_proxy_ca,
    };
    int r = tls_ctx_new(way->tls_proxy_ca ? &to_proxy : &to_relay, ret_tls);

    if (r == -EINVAL && way->tls_proxy_ca)
        buf_printf(reterr, "tls_proxy_ca: %s: no certificates in PEM can be read there", way->tls_proxy_ca);
    return r;
}
