#include "controlplane/providers.h"

#include <stdio.h>

int providers_start(const struct controlplane_config *config, void (*done)(void *ctx), void *ctx,
                    struct oidc **ret_oidc)
{
    const struct oidc_options options = {
        .asks_max = (unsigned)config->oidc_asks_max,
        .timeout_ms = (unsigned)config->oidc_timeout_ms,
        .pause_ms = (unsigned)config->oidc_pause_ms,
        .done = done,
        .ctx = ctx,
    };

    return oidc_new(&options, ret_oidc);
}

const char *providers_public_url(const struct controlplane_config *config, char *dst, size_t size)
{
    if (config->public_url[0])
        snprintf(dst, size, "%.290s", config->public_url);
    else
        snprintf(dst, size, "https://%.280s", config->api_listen);
    return dst;
}
