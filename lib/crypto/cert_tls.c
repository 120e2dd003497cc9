#include "lib/crypto/cert_internal.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

/* OpenSSL repeats the leaf in the list on one side of a connection and not on the other. */
static int chain_collect(X509 *leaf, STACK_OF(X509) *rest, struct chain **ret_chain)
{
    AUTO(chain_freep) struct chain *c = NULL;
    int r;

    if (!leaf)
        return -ENOENT;
    c = chain_new();
    if (!c)
        return -ENOMEM;
    r = chain_add(c, leaf);
    for (int i = 0; i < sk_X509_num(rest) && r == 0; i++) {
        X509 *cert = sk_X509_value(rest, i);

        if (X509_cmp(cert, leaf) != 0)
            r = chain_add(c, cert);
    }
    if (r)
        return r;
    *ret_chain = TAKE(c);
    return 0;
}

int chain_from_store_ctx(struct x509_store_ctx_st *ctx, struct chain **ret_chain)
{
    return chain_collect(X509_STORE_CTX_get0_cert(ctx), X509_STORE_CTX_get0_untrusted(ctx),
                         ret_chain);
}

int chain_install(const struct chain *c, const struct key *k, struct ssl_ctx_st *ctx)
{
    int ok;

    if (!key_is_private(k) || !chain_has_key(c, k))
        return -EINVAL;
    SSL_CTX_clear_chain_certs(ctx);
    ok = SSL_CTX_use_cert_and_key(ctx, c->certs[0], key_openssl(k), NULL, 1);
    for (size_t i = 1; i < c->n && ok == 1; i++)
        ok = (int)SSL_CTX_add1_chain_cert(ctx, c->certs[i]);
    ERR_clear_error();
    return ok == 1 ? 0 : -EINVAL;
}
