#include "agent/look/look.h"
#include "lib/check/check.h"
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* An authority that this machine knows, and servers with certificates of it and of nobody. */
struct world {
    EVP_PKEY *key;
    X509 *authority;
    char file[64];
};

static void add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* issuer NULL: it signs itself. */
static X509 *certificate(const struct world *w, const char *cn, const char *names, X509 *issuer, long from_s,
                         long until_s)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7 + until_s % 1000);
    X509_gmtime_adj(X509_getm_notBefore(x), from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), until_s);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
    X509_set_pubkey(x, w->key);
    add_extension(x, NID_basic_constraints, names ? "CA:FALSE" : "critical,CA:TRUE");
    if (names)
        add_extension(x, NID_subject_alt_name, names);
    assert_true(X509_sign(x, w->key, EVP_sha256()) > 0);
    return x;
}

static void world_open(struct world *w)
{
    FILE *f;

    w->key = EVP_EC_gen("P-256");
    assert_non_null(w->key);
    w->authority = certificate(w, "Corp CA", NULL, NULL, -1000, 86400);
    snprintf(w->file, sizeof(w->file), "/tmp/adit-look-test-%d.pem", getpid());
    f = fopen(w->file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, w->authority), 1);
    fclose(f);
    setenv("SSL_CERT_FILE", w->file, 1);
}

static void world_close(struct world *w)
{
    unlink(w->file);
    X509_free(w->authority);
    EVP_PKEY_free(w->key);
}

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n,
                     void *arg)
{
    (void)ssl, (void)arg;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_n, (const unsigned char *)"\x02h2", 3, in, in_n) ==
                   OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

struct server {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
};

static void server_open(struct server *s, const struct world *w, X509 *shown, int version)
{
    s->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_security_level(s->ctx, 0);
    SSL_CTX_set_min_proto_version(s->ctx, version);
    SSL_CTX_set_max_proto_version(s->ctx, version);
    SSL_CTX_set_alpn_select_cb(s->ctx, choose_h2, NULL);
    assert_int_equal(SSL_CTX_use_certificate(s->ctx, shown), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, w->key), 1);
    s->ssl = SSL_new(s->ctx);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(s->in, -1);
    SSL_set_bio(s->ssl, s->in, s->out);
    SSL_set_accept_state(s->ssl);
}

static void server_close(struct server *s)
{
    SSL_free(s->ssl);
    SSL_CTX_free(s->ctx);
}

static void serve(struct server *s, struct buf *wire)
{
    char *bytes;
    long n;

    BIO_write(s->in, wire->data, (int)wire->len);
    buf_clear(wire);
    SSL_do_handshake(s->ssl);
    n = BIO_get_mem_data(s->out, &bytes);
    if (n > 0)
        buf_put(wire, bytes, (size_t)n);
    (void)!BIO_reset(s->out);
}

static enum look_state shake(struct look *l, struct server *s)
{
    AUTO(buf_deinit) struct buf out, in;
    enum look_state state;

    buf_init_heap(&out, LOOK_OUT_MAX);
    buf_init_heap(&in, 1 << 20);
    state = look_step(l, SPAN_NONE, &out);
    for (int i = 0; i < 10 && state == LOOK_GOES_ON; i++) {
        serve(s, &out);
        buf_clear(&in);
        buf_put_span(&in, buf_span(&out));
        buf_clear(&out);
        state = look_step(l, buf_span(&in), &out);
    }
    return state;
}

static void test_servers(void **state)
{
    enum { BY_AUTHORITY, BY_ITSELF };
    static const struct {
        const char *it, *name, *names;
        int issuer;
        long until_s;
        int version;
        enum reason why;
        const char *detail, *said;
    } rows[] = {
        { "takes a certificate of a known authority", "wiki.test", "DNS:wiki.test", BY_AUTHORITY, 3600, TLS1_3_VERSION, REASON_NONE, "", "TLSv1.3" },
        { "takes a wildcard", "wiki.corp.test", "DNS:*.corp.test,DNS:other", BY_AUTHORITY, 3600, TLS1_3_VERSION, REASON_NONE, "", "TLSv1.3" },
        { "takes an address", "10.1.2.3", "IP:10.1.2.3", BY_AUTHORITY, 3600, TLS1_2_VERSION, REASON_NONE, "", "TLSv1.2" },
        { "says that it has expired", "wiki.test", "DNS:wiki.test", BY_AUTHORITY, -10, TLS1_3_VERSION, REASON_TLS_UNVERIFIED, "expired", "TLSv1.3" },
        { "says that nobody vouches for it", "wiki.test", "DNS:wiki.test", BY_ITSELF, 3600, TLS1_3_VERSION, REASON_TLS_UNVERIFIED, "self", "TLSv1.3" },
        { "says that it is of another name", "wiki.test", "DNS:mail.test", BY_AUTHORITY, 3600, TLS1_3_VERSION, REASON_TLS_UNVERIFIED, "ostname mismatch", "TLSv1.3" },
        { "says that it is of another address", "10.1.2.3", "IP:10.1.2.4", BY_AUTHORITY, 3600, TLS1_3_VERSION, REASON_TLS_UNVERIFIED, "IP address mismatch", "TLSv1.3" },
        { "looks at a server of an old version", "wiki.test", "DNS:wiki.test", BY_AUTHORITY, 3600, TLS1_VERSION, REASON_NONE, "", "TLSv1" },
    };
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(freep) struct diagnosis *d = calloc(1, sizeof(*d));
        AUTO(look_freep) struct look *l = NULL;
        X509 *shown = certificate(&w, "the server", rows[i].names, rows[i].issuer == BY_AUTHORITY ? w.authority : NULL,
                                  -100, rows[i].until_s);
        struct server s;

        check_row(rows[i].it);
        server_open(&s, &w, shown, rows[i].version);
        assert_int_equal(look_new(rows[i].name, &l), 0);
        assert_int_equal(shake(l, &s), LOOK_DONE);
        look_judge(l, d);
        assert_int_equal(d->step[DIAGNOSIS_TLS].reason, rows[i].why);
        assert_int_equal(d->is_verified, rows[i].why == REASON_NONE);
        assert_non_null(strstr(d->step[DIAGNOSIS_TLS].detail, rows[i].detail));
        assert_string_equal(d->version, rows[i].said);
        assert_string_equal(d->alpn, "h2");
        assert_true(d->cipher[0] != 0);
        assert_int_equal(d->certificate_count, 1);
        assert_string_equal(d->certificates[0].subject, "CN=the server");
        assert_string_equal(d->certificates[0].issuer, rows[i].issuer == BY_AUTHORITY ? "CN=Corp CA" : "CN=the server");
        assert_true(d->certificates[0].name_count >= 1);
        assert_int_equal(strlen(d->certificates[0].fingerprint), 64);
        assert_int_equal(strlen(d->certificates[0].not_after), 20);
        server_close(&s);
        X509_free(shown);
    }
    world_close(&w);
}

static void test_no_tls(void **state)
{
    static const struct {
        const char *it, *says;
    } rows[] = {
        { "says that a web server without TLS has none", "HTTP/1.1 400 Bad Request\r\n\r\n" },
        { "says that a mail server has none", "220 mail.test ESMTP\r\n" },
        { "says that an alert came", "\x15\x03\x01\x00\x02\x02\x28" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(freep) struct diagnosis *d = calloc(1, sizeof(*d));
        AUTO(look_freep) struct look *l = NULL;
        AUTO(buf_deinit) struct buf out;
        size_t n = rows[i].says[0] == 0x15 ? 7 : strlen(rows[i].says);

        check_row(rows[i].it);
        buf_init_heap(&out, LOOK_OUT_MAX);
        assert_int_equal(look_new("wiki.test", &l), 0);
        assert_int_equal(look_step(l, SPAN_NONE, &out), LOOK_GOES_ON);
        assert_true(out.len > 0);
        assert_int_equal(look_step(l, span_of(rows[i].says, n), &out), LOOK_FAILED);
        look_judge(l, d);
        assert_int_equal(d->step[DIAGNOSIS_TLS].reason, REASON_TLS_FAILED);
        assert_true(d->step[DIAGNOSIS_TLS].detail[0] != 0);
        assert_false(d->is_verified);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_servers), cmocka_unit_test(test_no_tls) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
