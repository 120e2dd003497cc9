#include "dataplane/worker/slowed.h"
#include "dataplane/policy/relay_metrics.h"
#include "lib/log/log.h"
#include "lib/net/loop.h"

uint32_t source_slowed_ms(struct flaps *flaps, const struct tls_proxies *proxies, const struct endpoint *peer,
                          struct metric_slot *metrics)
{
    char address[ADDR_UNIX_MAX + 8];
    uint32_t wait_ms;
    bool is_news;

    if (peer->kind != ENDPOINT_IP || tls_proxies_have(proxies, peer))
        return 0;
    wait_ms = flaps_source(flaps, &peer->addr, mono_ms(), &is_news);
    if (is_news)
        LOG(WARNING, "link.source_slowed", S("address", endpoint_format(peer, address, sizeof(address))),
            R("reason", REASON_RATE_LIMITED), U("retry_ms", wait_ms));
    if (wait_ms)
        metric_add(metrics, M_SLOWED_SOURCES, 1);
    return wait_ms;
}
