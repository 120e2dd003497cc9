#pragma once
#include "controlplane/config.h"
#include "controlplane/oidc/oidc.h"
/*
 * providers.h - what the options say of log-ins by identity providers.
 *
 * Threads    the owner's.
 */
MUST_CHECK int providers_start(const struct controlplane_config *config, void (*done)(void *ctx), void *ctx,
                               struct oidc **ret_oidc);
/* The origin at which browsers find the API, written to `dst`. */
const char *providers_public_url(const struct controlplane_config *config, char *dst, size_t size);
