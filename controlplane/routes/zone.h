#pragma once
#include "lib/policy/record.h"
/*
 * zone.h - the offsets of an IANA time zone over a span of time, from the machine's files.
 *
 * Source     RFC 8536 (TZif); /usr/share/zoneinfo, or $TZDIR.
 * Limits     reads the table of changes (Debian's reach to 2037), not the rule behind it.
 * Errors     -ENOENT: no such zone; -EBADMSG: not a zone file; -errno.
 * Threads    any.
 */
#define ZONE_OFFSETS_MAX 64

/* `ret_offsets` is heap: the offset at from_s first, then every change before to_s. */
MUST_CHECK int zone_offsets(struct span zone, int64_t from_s, int64_t to_s,
                            struct zone_offset **ret_offsets, size_t *ret_count);
/* The same over the text of a zone file. */
MUST_CHECK int zone_offsets_of(struct span file, int64_t from_s, int64_t to_s,
                               struct zone_offset **ret_offsets, size_t *ret_count);
