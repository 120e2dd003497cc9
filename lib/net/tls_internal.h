#pragma once
#include "lib/net/tls.h"
#include <openssl/ssl.h>
/*
 * tls_internal.h - what conn.c needs of a TLS context.
 */

/* A new SSL of this context, its role set; NULL: no memory. */
SSL *tls_ctx_ssl(struct tls_ctx *ctx);
/* A client's: the peer's certificate must be for `name`, where the context knows peers by name.
 * SNI is sent for names, not for addresses.  NULL: no SNI. */
int tls_ctx_expect(const struct tls_ctx *ctx, SSL *ssl, const char *name);
