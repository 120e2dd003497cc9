#pragma once
#include "lib/base/buf.h"
#include <sys/types.h>
/*
 * file.h - files that are whole or not there.
 *
 * Errors     -errno; -EFBIG: longer than `max`.
 * Threads    any; two writers of one path: the later rename wins.
 */

/* Writes beside the path, syncs, renames over it, syncs the directory. */
MUST_CHECK int file_write_atomic(const char *path, struct span bytes, mode_t mode);
/* Appends to the end of the file (made when absent) and syncs. */
MUST_CHECK int file_append(const char *path, struct span bytes, mode_t mode);
/* The whole file behind what `out` holds. */
MUST_CHECK int file_read(const char *path, size_t max, struct buf *out);
/* Makes the directory and those above it; existing ones are left as they are. */
MUST_CHECK int dir_make(const char *path, mode_t mode);
