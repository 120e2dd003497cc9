#pragma once
#include "cli/api.h"
/*
 * login_provider.h - `adit login --provider NAME`: a browser on this machine logs in, and brings us a
 * code.
 *
 * Shape      listens on 127.0.0.1 and a free port, says which page to open, takes one code there, and
 *            redeems it with a verifier that never left this process (RFC 8252, RFC 7636).
 * Limits     PROVIDER_WAIT_MS in all, PROVIDER_VISITS_MAX connections.
 * Errors     said to stderr; false.
 */
#define PROVIDER_WAIT_MS (10 * 60 * 1000)
#define PROVIDER_VISITS_MAX 64

/* `answer`: the control plane's to the code, whatever it is. */
bool login_by_provider(struct api *api, const char *provider, struct api_answer *ret_answer);
