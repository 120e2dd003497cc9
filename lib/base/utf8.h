#pragma once
#include "lib/base/buf.h"
/*
 * utf8.h - checking text and quoting it the JSON way.
 *
 * Source     RFC 3629 (no overlong forms, no surrogates), RFC 8259 section 7.
 */
#define UTF8_BAD 0

/* Length (1..4) of the first character of `s`, which is not empty; UTF8_BAD when it is none. */
size_t utf8_len(struct span s);
bool utf8_is_valid(struct span s);
/* "text" with quotes; control characters (C0, DEL, C1, line and paragraph separator) and
 * quotes escaped, bytes that are not UTF-8 replaced by U+FFFD. */
void utf8_put_quoted(struct buf *out, struct span s);
