#pragma once
#include "lib/crypto/cert.h"
/*
 * tls.h - who we are and whom we take, for TLS connections.
 *
 * A context is made once, shared by threads, and its certificate can be swapped while
 * connections live.  Peers are known by the URI SAN adit://<cluster>/<kind>/<id>, never by
 * a host name; lib/crypto checks the chain up to the pinned root.  One exception: a client with
 * ca_file talks to somebody else's server (a proxy that ends TLS before a relay), and knows it
 * as browsers do: by its name (conn_options.server_name, which must be there), below one of
 * the CAs in that file.
 *
 * Ownership  reference counted; connections hold their own reference.  The config's chain
 *            and key are referenced, its strings copied.
 * Threads    any.
 * Source     RFC 8446; TLS 1.3 between own parts, 1.2 and up at users' doors.
 */
enum tls_verify {
    TLS_VERIFY_NONE,        /* a server: the peer's certificate is not asked for */
    TLS_VERIFY_OPTIONAL,    /* a server: wrong is refused, not shown is taken */
    TLS_VERIFY_REQUIRED,
};
#define TLS_KIND(kind) (1u << (kind))       /* of enum cert_kind */
#define TLS_ALPN_MAX 16

struct tls_config {
    bool is_server;
    bool is_public;             /* TLS 1.2 too: for users' clients, and with ca_file */
    const char *ca_file;        /* a client's, PEM; "system": the machine's; NULL: the pinned root */
    struct chain *chain;        /* own; NULL: a client that shows none */
    struct key *key;
    enum tls_verify verify;
    struct trust trust;         /* cluster "": any cluster (joining by pin alone) */
    unsigned kinds;             /* TLS_KIND()s that are taken */
    struct ulid peer_id;        /* the one id that is taken; "": any */
    enum cert_expiry expiry;
    const char *alpn;           /* one protocol, or NULL */
};

struct tls_ctx;
MUST_CHECK int tls_ctx_new(const struct tls_config *config, struct tls_ctx **ret_ctx);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx);
DEFINE_FREEP(tls_ctx, tls_ctx_unref)
/* Handshakes from now on show this certificate (renewal). */
MUST_CHECK int tls_ctx_set_certificate(struct tls_ctx *ctx, struct chain *chain, struct key *key);

/* For libraries that make the SSL_CTX themselves (libcurl): sets all of the
 * above in it, and keeps a reference until the SSL_CTX is freed. */
MUST_CHECK int tls_ctx_apply(struct tls_ctx *ctx, struct ssl_ctx_st *ssl_ctx);
/* The same; a refusal of the peer is noted in *note, which has to live until the handshake is
 * over or the connection gone. */
MUST_CHECK int tls_ctx_apply_noting(struct tls_ctx *ctx, struct ssl_ctx_st *ssl_ctx,
                                    enum reason *note);
/* The verified peer; false: none was shown. */
bool tls_peer_of(const struct ssl_st *ssl, struct identity *ret_peer);
/* Why the peer was refused; REASON_NONE: it was not. */
enum reason tls_refusal_of(const struct ssl_st *ssl);
