#include "dataplane/worker/lease.h"

size_t lease_wants(const struct lease *l, size_t need)
{
    size_t missing = l->memory < l->base ? l->base - l->memory : 0, more = 0;

    if (need > l->memory / 2)
        more = need > l->memory / 4 * 3 ? 4 * l->step : l->step;
    return more > missing ? more : missing;
}

size_t lease_spares(const struct lease *l, size_t need)
{
    return l->memory >= l->base + l->step && need < (l->memory - l->step) / 4 ? l->step : 0;
}
