#include "agent/look/look.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct look {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;                      /* the SSL's */
    char name[DIAGNOSIS_TEXT_MAX + 1];
    bool is_address, is_done;
    char failure[DIAGNOSIS_TEXT_MAX + 1];
};

/* --- certificates ------------------------------------------------------------------------------ */

static void put_name(const X509_NAME *name, char dst[DIAGNOSIS_TEXT_MAX + 1])
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long n = -1;

    dst[0] = 0;
    if (bio && X509_NAME_print_ex(bio, name, 0, (XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB)) >= 0)
        n = BIO_get_mem_data(bio, &text);
    if (n > 0)
        diagnosis_text(dst, DIAGNOSIS_TEXT_MAX + 1, span_of(text, (size_t)n));
    BIO_free(bio);
}

static void put_time(const ASN1_TIME *at, char dst[24])
{
    struct tm tm;

    if (!ASN1_TIME_to_tm(at, &tm) || !strftime(dst, 24, "%Y-%m-%dT%H:%M:%SZ", &tm))
        dst[0] = 0;
}

static bool put_address(const ASN1_OCTET_STRING *ip, char *dst)
{
    const unsigned char *p = ASN1_STRING_get0_data(ip);
    struct addr addr;

    if (ASN1_STRING_length(ip) == 4)
        addr = addr_v4(p[0], p[1], p[2], p[3]);
    else if (ASN1_STRING_length(ip) == 16)
        memcpy(addr.ip, p, 16);
    else
        return false;
    addr_format(&addr, dst);
    return true;
}

/* False: a kind of name that nobody dials. */
static bool put_alternative(const GENERAL_NAME *name, char dst[DIAGNOSIS_TEXT_MAX + 1])
{
    const ASN1_STRING *text;

    if (name->type == GEN_IPADD)
        return put_address(name->d.iPAddress, dst);
    if (name->type != GEN_DNS && name->type != GEN_URI && name->type != GEN_EMAIL)
        return false;
    text = name->d.ia5;
    diagnosis_text(dst, DIAGNOSIS_TEXT_MAX + 1,
                   span_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
    return true;
}

static void put_alternatives(const X509 *x, struct diagnosis_certificate *c)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (c->name_count == DIAGNOSIS_NAMES_MAX)
            c->names_left_out++;
        else
            c->name_count += put_alternative(sk_GENERAL_NAME_value(names, i), c->names[c->name_count]);
    }
    GENERAL_NAMES_free(names);
}

static void put_fingerprint(const X509 *x, char dst[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (!X509_digest(x, EVP_sha256(), digest, &n))
        n = 0;
    for (unsigned i = 0; i < n && i < 32; i++)
        snprintf(dst + 2 * i, 3, "%02x", digest[i]);
}

static void describe(const X509 *x, struct diagnosis_certificate *ret)
{
    memset(ret, 0, sizeof(*ret));
    put_name(X509_get_subject_name(x), ret->subject);
    put_name(X509_get_issuer_name(x), ret->issuer);
    put_alternatives(x, ret);
    put_time(X509_get0_notBefore(x), ret->not_before);
    put_time(X509_get0_notAfter(x), ret->not_after);
    put_fingerprint(x, ret->fingerprint);
}

bool look_certificate(struct span der, struct diagnosis_certificate *ret_certificate)
{
    const unsigned char *p = (const unsigned char *)der.p;
    X509 *x = d2i_X509(NULL, &p, (long)der.n);

    if (x)
        describe(x, ret_certificate);
    X509_free(x);
    ERR_clear_error();
    return x != NULL;
}

/* --- the handshake ----------------------------------------------------------------------------- */

/* Whatever the other side has: what it is gets said. */
static SSL_CTX *make_ctx(void)
{
    static const unsigned char alpn[] = "\x02h2\x08http/1.1";
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx)
        return NULL;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_LEGACY_SERVER_CONNECT);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION) && SSL_CTX_set_cipher_list(ctx, "ALL:!aNULL:!eNULL") &&
        SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) == 0)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static int set_up(struct look *l)
{
    l->ctx = make_ctx();
    l->ssl = l->ctx ? SSL_new(l->ctx) : NULL;
    if (!l->ssl)
        return -ENOMEM;
    l->in = BIO_new(BIO_s_mem());
    l->out = BIO_new(BIO_s_mem());
    if (!l->in || !l->out) {
        BIO_free(l->in);
        BIO_free(l->out);
        return -ENOMEM;
    }
    BIO_set_mem_eof_return(l->in, -1);      /* empty is "not yet" */
    SSL_set_bio(l->ssl, l->in, l->out);
    SSL_set_connect_state(l->ssl);
    return l->is_address || SSL_set_tlsext_host_name(l->ssl, l->name) ? 0 : -ENOMEM;
}

int look_new(const char *name, struct look **ret_look)
{
    AUTO(look_freep) struct look *l = calloc(1, sizeof(*l));
    struct addr addr;
    int r;

    if (!l)
        return -ENOMEM;
    if (!span_copy(span_str(name), l->name, sizeof(l->name)))
        return -EINVAL;
    l->is_address = addr_parse(span_str(name), &addr);
    r = set_up(l);
    ERR_clear_error();
    if (!r)
        *ret_look = TAKE(l);
    return r;
}

void look_free(struct look *l)
{
    SSL_free(l->ssl);
    SSL_CTX_free(l->ctx);
    free(l);
}

static void take_output(struct look *l, struct buf *out)
{
    char *bytes;
    long n = BIO_get_mem_data(l->out, &bytes);

    if (n > 0)
        buf_put(out, bytes, (size_t)n);
    (void)BIO_reset(l->out);
}

static enum look_state fail(struct look *l, const char *text)
{
    diagnosis_text(l->failure, sizeof(l->failure), span_str(text));
    return LOOK_FAILED;
}

static enum look_state go_on(struct look *l)
{
    int r = SSL_do_handshake(l->ssl);
    const char *text;

    if (r == 1) {
        l->is_done = true;
        SSL_shutdown(l->ssl);
        return LOOK_DONE;
    }
    if (SSL_get_error(l->ssl, r) == SSL_ERROR_WANT_READ)
        return LOOK_GOES_ON;
    text = ERR_reason_error_string(ERR_peek_error());
    return fail(l, text ? text : "the handshake failed");
}

enum look_state look_step(struct look *l, struct span in, struct buf *out)
{
    enum look_state state;

    ERR_clear_error();
    if (in.n && BIO_write(l->in, in.p, (int)in.n) != (int)in.n)
        return fail(l, "out of memory");
    state = go_on(l);
    take_output(l, out);
    ERR_clear_error();
    return state;
}

const char *look_failure(const struct look *l)
{
    return l->failure;
}

/* --- judging ----------------------------------------------------------------------------------- */

static bool expect_name(const struct look *l, X509_STORE_CTX *ctx)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    if (l->is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(param, l->name);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, l->name, 0);
}

/* NULL: this machine takes the chain as proof of the name; else why not. */
static const char *verify(const struct look *l)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(l->ssl);
    const char *why = "out of memory";

    if (!chain || !sk_X509_num(chain))
        why = "no certificate was shown";
    else if (store && ctx && X509_STORE_set_default_paths(store) &&
             X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) && expect_name(l, ctx))
        why = X509_verify_cert(ctx) == 1 ? NULL : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return why;
}

static void put_chain(const struct look *l, struct diagnosis *d)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(l->ssl);

    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (d->certificate_count == DIAGNOSIS_CERTIFICATES_MAX)
            d->certificates_left_out++;
        else
            describe(sk_X509_value(chain, i), &d->certificates[d->certificate_count++]);
    }
}

static void put_parameters(const struct look *l, struct diagnosis *d)
{
    const unsigned char *alpn;
    unsigned alpn_len;

    diagnosis_text(d->version, sizeof(d->version), span_str(SSL_get_version(l->ssl)));
    diagnosis_text(d->cipher, sizeof(d->cipher), span_str(SSL_get_cipher_name(l->ssl)));
    SSL_get0_alpn_selected(l->ssl, &alpn, &alpn_len);
    diagnosis_text(d->alpn, sizeof(d->alpn), span_of(alpn, alpn_len));
}

void look_judge(const struct look *l, struct diagnosis *d)
{
    struct diagnosis_outcome *step = &d->step[DIAGNOSIS_TLS];
    const char *why;

    memcpy(d->server_name, l->name, sizeof(d->server_name));
    put_chain(l, d);
    if (!l->is_done) {
        step->reason = REASON_TLS_FAILED;
        memcpy(step->detail, l->failure, sizeof(step->detail));
        return;
    }
    put_parameters(l, d);
    why = verify(l);
    d->is_verified = !why;
    step->reason = why ? REASON_TLS_UNVERIFIED : REASON_NONE;
    diagnosis_text(step->detail, sizeof(step->detail), span_str(why));
}
