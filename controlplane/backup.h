#pragma once
#include "controlplane/place.h"
/*
 * backup.h - `adit-controlplane backup` and `restore`: all that is kept, in one file.
 *
 * The file has what the database has: hashes, sealed keys, no key that opens them.  Keep the
 * sealing key (key_file, or kek in the data directory) elsewhere.
 *
 * Errors     -errno or a store's condition, with a sentence in reterr.
 */
/* While others serve.  The file is whole or not there. */
MUST_CHECK int backup(const struct controlplane_config *config, struct buf *reterr);
/* Into an empty database; nobody may serve from the data directory meanwhile. */
MUST_CHECK int restore(const struct controlplane_config *config, struct buf *reterr);
