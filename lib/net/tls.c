#include "lib/net/tls_internal.h"

#include "lib/base/addr.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define READ_BUFFER_BYTES 65536

struct tls_ctx {
    atomic_uint refs;
    struct tls_config config;   /* chain and key: see below */
    bool is_by_name;            /* peers are known by name, below the CAs of a file */
    char alpn[TLS_ALPN_MAX + 1];        /* length byte first */
    pthread_mutex_t lock;       /* of the three below */
    X509 *leaf;
    STACK_OF(X509) *issuers;
    EVP_PKEY *key;
    SSL_CTX *ssl_ctx;           /* for conns; holds no reference on us */
};

struct seen {                   /* hangs on each SSL whose peer showed a certificate */
    struct identity peer;
    enum reason refusal;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int ssl_index, ctx_index, note_index;

static void free_seen(void *parent, void *p, CRYPTO_EX_DATA *d, int index, long argl, void *argp)
{
    (void)parent, (void)d, (void)index, (void)argl, (void)argp;
    free(p);
}

static void free_ctx(void *parent, void *p, CRYPTO_EX_DATA *d, int index, long argl, void *argp)
{
    (void)parent, (void)d, (void)index, (void)argl, (void)argp;
    tls_ctx_unref(p);
}

static void make_indexes(void)
{
    ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_seen);
    ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_ctx);
    note_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* --- verification -------------------------------------------------------------------- */
static enum cert_kind only_kind(unsigned kinds)
{
    for (unsigned kind = 0; kind < CERT_KIND_COUNT; kind++)
        if (kinds == TLS_KIND(kind))
            return (enum cert_kind)kind;
    return CERT_KIND_COUNT;
}

static enum reason judge(const struct tls_config *config, const struct chain *chain,
                         struct identity *ret_peer)
{
    enum cert_kind kind = only_kind(config->kinds);
    int64_t now_s = time(NULL);
    enum reason why;

    if (!config->trust.cluster[0])
        why = chain_verify_pin(chain, config->trust.pin, kind, now_s, ret_peer);
    else if (kind != CERT_KIND_COUNT)
        why = chain_verify(chain, &config->trust, kind, now_s, config->expiry, ret_peer);
    else
        why = chain_verify_any(chain, &config->trust, now_s, config->expiry, ret_peer);
    if (why)
        return why;
    if (!(config->kinds & TLS_KIND(ret_peer->kind)))
        return REASON_BAD_CERTIFICATE;
    if (config->peer_id.text[0] && !span_eq(ulid_span(&config->peer_id), ulid_span(&ret_peer->id)))
        return REASON_BAD_CERTIFICATE;
    return REASON_NONE;
}

static int on_verify(X509_STORE_CTX *store, void *arg)
{
    struct tls_ctx *ctx = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(freep) struct seen *seen = calloc(1, sizeof(*seen));
    struct seen *old = SSL_get_ex_data(ssl, ssl_index);
    enum reason why, *note;

    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    if (!seen)
        return 0;
    why = REASON_BAD_CERTIFICATE;
    if (!chain_from_store_ctx(store, &chain))
        why = judge(&ctx->config, chain, &seen->peer);
    seen->refusal = why;
    note = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), note_index);
    if (note && why)
        *note = why;
    if (!SSL_set_ex_data(ssl, ssl_index, seen))
        return 0;
    free(old);
    seen = NULL;
    /* This picks the alert that tells the peer. */
    if (why == REASON_NONE || why == REASON_CERTIFICATE_EXPIRED)
        X509_STORE_CTX_set_error(store, why ? X509_V_ERR_CERT_HAS_EXPIRED : X509_V_OK);
    return why == REASON_NONE;
}

bool tls_peer_of(const SSL *ssl, struct identity *ret_peer)
{
    const struct seen *seen = SSL_get_ex_data(ssl, ssl_index);

    if (!seen || seen->refusal)
        return false;
    *ret_peer = seen->peer;
    return true;
}

enum reason tls_refusal_of(const SSL *ssl)
{
    const struct seen *seen = SSL_get_ex_data(ssl, ssl_index);

    return seen ? seen->refusal : REASON_NONE;
}

/* --- our own certificate ------------------------------------------------------------- */
static X509 *parse_der(const struct chain *chain, size_t i)
{
    unsigned char memory[8192];
    const unsigned char *p = memory;
    struct buf der;

    buf_init_fixed(&der, memory, sizeof(memory));
    if (chain_der(chain, i, &der))
        return NULL;
    return d2i_X509(NULL, &p, (long)der.len);
}

static int parse_chain(const struct chain *chain, X509 **ret_leaf, STACK_OF(X509) **ret_issuers)
{
    X509 *leaf = parse_der(chain, 0);
    STACK_OF(X509) *issuers = sk_X509_new_null();
    bool is_good = leaf && issuers;

    for (size_t i = 1; is_good && i < chain_length(chain); i++) {
        X509 *x = parse_der(chain, i);

        is_good = x && sk_X509_push(issuers, x);
        if (!is_good)
            X509_free(x);
    }
    if (!is_good) {
        X509_free(leaf);
        sk_X509_pop_free(issuers, X509_free);
        return -ENOMEM;
    }
    *ret_leaf = leaf;
    *ret_issuers = issuers;
    return 0;
}

int tls_ctx_set_certificate(struct tls_ctx *ctx, struct chain *chain, struct key *key)
{
    STACK_OF(X509) *issuers, *old_issuers;
    X509 *leaf, *old_leaf;
    EVP_PKEY *old_key;
    int r;

    if (!chain_has_key(chain, key))
        return -EINVAL;
    r = parse_chain(chain, &leaf, &issuers);
    if (r)
        return r;
    EVP_PKEY_up_ref(key_openssl(key));
    pthread_mutex_lock(&ctx->lock);
    old_leaf = ctx->leaf;
    old_issuers = ctx->issuers;
    old_key = ctx->key;
    ctx->leaf = leaf;
    ctx->issuers = issuers;
    ctx->key = key_openssl(key);
    pthread_mutex_unlock(&ctx->lock);
    X509_free(old_leaf);
    sk_X509_pop_free(old_issuers, X509_free);
    EVP_PKEY_free(old_key);
    return 0;
}

static int on_cert_wanted(SSL *ssl, void *arg)
{
    struct tls_ctx *ctx = arg;
    int is_good;

    pthread_mutex_lock(&ctx->lock);
    is_good = ctx->leaf ? SSL_use_cert_and_key(ssl, ctx->leaf, ctx->key, ctx->issuers, 1)
                        : !ctx->config.is_server;
    pthread_mutex_unlock(&ctx->lock);
    return is_good;
}

/* --- contexts ------------------------------------------------------------------------ */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    const struct tls_ctx *ctx = arg;
    unsigned char *chosen;

    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, (const unsigned char *)ctx->alpn,
                              (unsigned)strlen(ctx->alpn), in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void set_verify(struct tls_ctx *ctx, SSL_CTX *c)
{
    int mode = SSL_VERIFY_NONE;

    if (ctx->config.verify != TLS_VERIFY_NONE)
        mode = SSL_VERIFY_PEER;
    if (ctx->config.verify == TLS_VERIFY_REQUIRED)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(c, mode, NULL);
    if (mode == SSL_VERIFY_NONE)
        return;
    if (!ctx->is_by_name)
        SSL_CTX_set_cert_verify_callback(c, on_verify, ctx);
    /* A resumed session would bring no certificate to check. */
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(c, 0);
}

static int set_up(struct tls_ctx *ctx, SSL_CTX *c)
{
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                               | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_clear_options(c, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(c, 1);
    SSL_CTX_set_default_read_buffer_len(c, READ_BUFFER_BYTES);
    SSL_CTX_set_max_early_data(c, 0);
    if (!SSL_CTX_set_min_proto_version(c, ctx->config.is_public ? TLS1_2_VERSION : TLS1_3_VERSION)
        || !SSL_CTX_set_ciphersuites(
            c, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256")
        || !SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20")
        || !SSL_CTX_set1_groups_list(c, "X25519:P-256"))
        return -EINVAL;
    SSL_CTX_set_cert_cb(c, on_cert_wanted, ctx);
    set_verify(ctx, c);
    if (!ctx->alpn[0])
        return 0;
    if (ctx->config.is_server)
        SSL_CTX_set_alpn_select_cb(c, on_alpn, ctx);
    else if (SSL_CTX_set_alpn_protos(c, (unsigned char *)ctx->alpn, (unsigned)strlen(ctx->alpn)))
        return -ENOMEM;
    return 0;
}

int tls_ctx_apply(struct tls_ctx *ctx, SSL_CTX *c)
{
    int r = set_up(ctx, c);

    if (r)
        return r;
    /* libcurl looks at SSL_pending() only: with read-ahead it would wait for bytes that are
     * read already. */
    SSL_CTX_set_read_ahead(c, 0);
    if (!SSL_CTX_set_ex_data(c, ctx_index, tls_ctx_ref(ctx))) {
        tls_ctx_unref(ctx);
        return -ENOMEM;
    }
    return 0;
}

int tls_ctx_apply_noting(struct tls_ctx *ctx, SSL_CTX *c, enum reason *note)
{
    int r = tls_ctx_apply(ctx, c);

    if (r)
        return r;
    return SSL_CTX_set_ex_data(c, note_index, note) ? 0 : -ENOMEM;
}

static int check_config(const struct tls_config *config)
{
    bool is_verifying = config->verify != TLS_VERIFY_NONE;

    if (config->ca_file)
        return config->is_server || config->verify != TLS_VERIFY_REQUIRED ? -EINVAL : 0;
    if (config->is_server && !config->chain)
        return -EINVAL;
    if (!config->is_server && !is_verifying)
        return -EINVAL;         /* a client that takes anybody is not made here */
    if (is_verifying && (!config->trust.pin[0] || !config->kinds))
        return -EINVAL;
    if (is_verifying && !config->trust.cluster[0] && only_kind(config->kinds) == CERT_KIND_COUNT)
        return -EINVAL;
    return config->alpn && strlen(config->alpn) >= TLS_ALPN_MAX ? -EINVAL : 0;
}

static int load_cas(SSL_CTX *c, const char *file)
{
    int is_loaded = span_eq(span_str(file), SPAN("system")) ? SSL_CTX_set_default_verify_paths(c)
                                                            : SSL_CTX_load_verify_file(c, file);

    ERR_clear_error();
    return is_loaded ? 0 : -EINVAL;
}

int tls_ctx_new(const struct tls_config *config, struct tls_ctx **ret_ctx)
{
    AUTO(tls_ctx_unrefp) struct tls_ctx *ctx = NULL;
    int r = check_config(config);

    if (r)
        return r;
    pthread_once(&once, make_indexes);
    ctx = calloc(1, sizeof(*ctx));
    if (!ctx)
        return -ENOMEM;
    atomic_init(&ctx->refs, 1);
    pthread_mutex_init(&ctx->lock, NULL);
    ctx->config = *config;
    ctx->config.chain = NULL;
    ctx->config.key = NULL;
    ctx->config.alpn = NULL;
    ctx->config.ca_file = NULL;
    ctx->is_by_name = config->ca_file != NULL;
    if (config->alpn) {
        ctx->alpn[0] = (char)strlen(config->alpn);
        memcpy(ctx->alpn + 1, config->alpn, strlen(config->alpn));
    }
    r = config->chain ? tls_ctx_set_certificate(ctx, config->chain, config->key) : 0;
    if (r)
        return r;
    ctx->ssl_ctx = SSL_CTX_new(config->is_server ? TLS_server_method() : TLS_client_method());
    r = ctx->ssl_ctx ? set_up(ctx, ctx->ssl_ctx) : -ENOMEM;
    if (!r && config->ca_file)
        r = load_cas(ctx->ssl_ctx, config->ca_file);
    if (r)
        return r;
    *ret_ctx = TAKE(ctx);
    return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    atomic_fetch_add(&ctx->refs, 1);
    return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
    if (!ctx || atomic_fetch_sub(&ctx->refs, 1) != 1)
        return;
    SSL_CTX_free(ctx->ssl_ctx);
    X509_free(ctx->leaf);
    sk_X509_pop_free(ctx->issuers, X509_free);
    EVP_PKEY_free(ctx->key);
    pthread_mutex_destroy(&ctx->lock);
    free(ctx);
}

SSL *tls_ctx_ssl(struct tls_ctx *ctx)
{
    SSL *ssl = SSL_new(ctx->ssl_ctx);

    if (!ssl)
        return NULL;
    ctx->config.is_server ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
    return ssl;
}

int tls_ctx_expect(const struct tls_ctx *ctx, SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct addr literal;
    bool is_addr = name && addr_parse(span_str(name), &literal);

    if (ctx->config.is_server)
        return 0;
    if (name && !is_addr && !SSL_set_tlsext_host_name(ssl, name))
        return -ENOMEM;
    if (!ctx->is_by_name)
        return 0;
    if (!name)
        return -EINVAL;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return (is_addr ? X509_VERIFY_PARAM_set1_ip_asc(param, name) : X509_VERIFY_PARAM_set1_host(param, name, 0))
           ? 0 : -ENOMEM;
}
