#pragma once
#include "controlplane/place.h"
/*
 * serve.h - the daemon: listeners, publisher, housekeeping, until a signal ends it.
 *
 * SIGTERM, SIGINT: /readyz turns false, running requests are answered (drain_ms), then the
 * end; a second signal ends at once.  SIGHUP: reads what is reloadable anew.
 *
 * Errors     -errno with a sentence in reterr: it could not start.
 */
struct serve_arguments {                /* for SIGHUP */
    int argc;
    char **argv;
};
MUST_CHECK int serve(struct controlplane_config *config, const struct serve_arguments *arguments,
                     struct place *place, struct buf *reterr);
