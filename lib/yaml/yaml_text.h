#pragma once
#include "lib/json/json.h"
/*
 * yaml_text.h - a YAML document as JSON, and a JSON value as YAML.
 *
 * Meaning    mappings, sequences and scalars.  A plain scalar is null (nothing, ~, null), true or
 *            false, or a decimal integer of at most 18 digits; everything else, "no", "1.5" and
 *            "010" too, is text.  Quoted scalars are text.
 * Refused    anchors and aliases (a few lines of them can stand for gigabytes), tags, a second
 *            document, keys that are no scalars; what json.h refuses (a key that stands twice, NUL).
 * Limits     depth 32; what comes out is bounded by the caller's buffer, and never much longer than
 *            what goes in.
 * Errors     -EINVAL with "line 3: …" in reterr; -ENOBUFS; -ENOMEM.
 * Threads    any.
 */

/* JSON text behind what `out` holds.  An empty document is null. */
MUST_CHECK int yaml_to_json(struct span text, struct buf *out, struct buf *reterr);
/* Both steps: a tree.  `max` bounds its JSON text. */
MUST_CHECK int yaml_parse(struct span text, size_t max, struct json_value **ret_value, struct buf *reterr);
/* In block style, with a line end at the end. */
void yaml_print(const struct json_value *value, struct buf *out);
