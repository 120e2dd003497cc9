#pragma once
#include "controlplane/place.h"
/*
 * bootstrap.h - the first administrator, with a random password and an API token.
 *
 * May be repeated: nothing happens while the credentials file is there.  Without it the
 * administrator named admin gets a new password and token (whoever may write the data
 * directory may do that: it is also the way back in).
 *
 * Errors     -errno with a sentence in reterr.
 */
MUST_CHECK int bootstrap(const struct controlplane_config *config, struct place *place,
                         struct buf *reterr);
