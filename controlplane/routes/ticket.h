#pragma once
#include "lib/base/buf.h"
#include "lib/crypto/seal.h"
/*
 * ticket.h - words that we give away and believe when they come back.
 *
 * Shape      base64url(payload) "." base64url(HMAC-SHA-256), under a key of the purpose's own made of
 *            the sealing key: what was made for one purpose is nothing for another.  Not secret.
 * Errors     -EBADMSG: not ours, or changed; -ENOBUFS, -ENOMEM.
 * Threads    pure but for memory.
 */
MUST_CHECK int ticket_write(const struct kek *kek, const char *purpose, struct span payload, struct buf *out);
MUST_CHECK int ticket_read(const struct kek *kek, const char *purpose, struct span ticket, struct buf *ret_payload);
/* 32 bytes that nobody else can work out, as 43 characters of base64url with their NUL. */
#define TICKET_DERIVED_MAX 44
void ticket_derive(const struct kek *kek, const char *purpose, struct span from, char ret_text[TICKET_DERIVED_MAX]);
