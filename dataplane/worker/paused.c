#include "dataplane/worker/paused.h"

#include "dataplane/policy/relay_metrics.h"
#include "lib/log/log.h"

void tell_paused(struct metric_slot *metrics, const struct endpoint *at, int error, bool is_new)
{
    char address[ADDR_UNIX_MAX + 8];

    metric_add(metrics, M_ACCEPT_PAUSES, 1);
    if (is_new)
        LOG(WARNING, "listener.paused", R("reason", REASON_OVERLOAD), E(error),
            S("address", endpoint_format(at, address, sizeof(address))));
}
