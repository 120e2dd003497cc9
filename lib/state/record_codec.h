#pragma once
#include "lib/policy/record.h"
#include "lib/state/document.h"
/*
 * record_codec.h - records as lines, by one table of fields for both ways.
 *
 * Shape      "+<kind> <id> <json object>\n" puts, "-<kind> <id>\n" removes.
 * Errors     DOCUMENT_E_REJECTED with the field, DOCUMENT_E_TOO_NEW where only a newer program
 *            knows it; -ENOMEM; -ENOBUFS.
 * Threads    pure but for memory.
 * Source     schema/state.md: every field, type and range.
 */
#define RECORD_LINE_MAX ((size_t)1 << 20)

/* The object of the record's fields. */
MUST_CHECK int record_encode(const struct record *r, struct buf *out);
MUST_CHECK int record_decode(enum record_kind kind, struct span id, struct span json,
                             struct record **ret_record, struct state_error *reterr);
/* Whole lines. */
MUST_CHECK int record_put_line(const struct record *r, struct buf *out);
MUST_CHECK int record_remove_line(enum record_kind kind, struct span id, struct buf *out);

/* For documentation and tests: the keys of a kind; false past the last. */
bool record_field_at(enum record_kind kind, size_t i, const char **ret_key, bool *ret_is_required);
