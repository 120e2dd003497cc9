#pragma once
#include "lib/base/buf.h"
/*
 * encode.h - text forms of bytes: hex, base 64, base 64 url.
 *
 * Source     RFC 4648.  Decoders are strict: exact padding (none for url), no white
 *            space, no spare bits set.
 * Errors     decoders answer false and may have written part of the output.
 */
void hex_encode(struct span bytes, struct buf *out);
bool hex_decode(struct span text, struct buf *out);
void base64_encode(struct span bytes, struct buf *out);         /* padded */
bool base64_decode(struct span text, struct buf *out);
void base64url_encode(struct span bytes, struct buf *out);      /* not padded */
bool base64url_decode(struct span text, struct buf *out);
