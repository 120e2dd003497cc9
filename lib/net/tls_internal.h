#pragma once
#include "lib/net/tls.h"
#include <openssl/ssl.h>
/*
 * tls_internal.h - what conn.c needs of a TLS context.
 */

/* A new SSL of this context, its role set; NULL: no memory. */
SSL *tls_ctx_ssl(struct tls_ctx *ctx);
bool tls_ctx_is_server(const struct tls_ctx *ctx);
